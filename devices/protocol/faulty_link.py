"""A link with faults between any other link and its host: what a plan says happens to bytes and requests on their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgechaos.arithmetic import random_bits
from edgechaos.devices.protocol.client import Link
from edgechaos.faults.injections import Wire


class FaultyLink(Link):
    """Passes on what the link below gives and takes. The client writes one request at a time."""

    def __init__(self, below: Link, wires: Sequence[Wire]) -> None:
        self.below = below
        self.depth = below.depth
        self._wires = tuple(wires)
        self._drawn: Counter[Wire] = Counter()
        self._late = b""

    def write(self, data: bytes) -> None:
        """A request, as the faults let it pass."""
        late, self._late = self._late, b""
        for wire in self._wires:
            if wire.what == "bits":
                data = self._flipped(wire, data)
            elif self._words(wire, 1)[0] < wire.rate * 2**32:
                if wire.what == "drop":
                    data = b""
                elif wire.what == "duplicate":
                    data = data + data
                elif wire.what == "delay":
                    data, self._late = b"", data
                else:
                    self.below.write(late + data[: len(data) // 2])
                    self.below.hard_reset()
                    late = data = b""
        if late + data:
            self.below.write(late + data)

    def read(self, timeout_s: float) -> bytes:
        """What came, with its bit errors."""
        data = self.below.read(timeout_s)
        for wire in self._wires:
            data = self._flipped(wire, data) if wire.what == "bits" else data
        return data

    def now(self) -> float:
        """The clock of the link below."""
        return self.below.now()

    def hard_reset(self) -> None:
        """Of the link below."""
        self.below.hard_reset()

    def close(self) -> None:
        """Close the link below."""
        self.below.close()

    def _flipped(self, wire: Wire, data: bytes) -> bytes:
        if not data:
            return data
        errors = np.packbits(self._words(wire, 8 * len(data)) < wire.rate * 2**32)
        return (np.frombuffer(data, np.uint8) ^ errors).tobytes()

    def _words(self, wire: Wire, count: int) -> random_bits.U32:
        """The next draws of a fault: none is given twice."""
        self._drawn[wire] += 1
        return random_bits.words(wire.seed, wire.stream, [self._drawn[wire]], 1, count)[0, 0]
