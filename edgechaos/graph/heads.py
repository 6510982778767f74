"""The tasks of a graph: where raw items enter as codes, where logits and class leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos.graph import signals
from edgechaos.graph.tokenizer import Text


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the host turns one raw item into the codes that enter a head.

    "pixels": uint8 0..255 enter as x >> 1, int8, so that 0 stays 0. "codes": the item is the input's codes already.
    "tokens": the item is a text; `text` turns it into uint16 ids. Ids themselves are accepted too.
    "signals": sensor samples, float32 or int16, (channels, time); mean and reach, one float32 per channel (`edgechaos.graph.signals`).
    """

    kind: Literal["pixels", "codes", "tokens", "signals"] = "codes"
    text: Text | None = None
    mean: tuple[float, ...] = ()
    reach: tuple[float, ...] = ()

    def codes(self, items: NDArray[Any]) -> NDArray[Any]:
        """The codes of raw arrays, shape kept: int8 x >> 1 of uint8 pixels, scaled signals, or the items themselves."""
        if self.kind == "signals":
            samples = items.astype(np.float32).reshape(len(items), len(self.mean), -1)
            return signals.codes(samples, self.mean, self.reach).reshape(items.shape)
        return (items >> 1).astype(np.int8) if self.kind == "pixels" else items


@dataclass(frozen=True, slots=True)
class Head:
    """One task of the graph: where its input enters, where its logits and its class leave."""

    name: str
    input: str
    logits: str
    label: str
    classes: tuple[str, ...]
    encoding: Encoding = Encoding()
