"""Strikes at symbols, sections and drawn bits, as strikes at addresses of one firmware image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from edgechaos.arithmetic import random_bits
from edgechaos.devices.emulators.firmware_image import FirmwareImage
from edgechaos.faults.injections import Draw, Poke, Strike
from edgechaos.faults.sites import nested_sites
from edgechaos.support.errors import FaultError


def as_strike(poke: Poke) -> Strike:
    """A poke as the strike that it is."""
    return Strike("memory", poke.address, poke.op, poke.mask)


def place_strikes(strikes: Iterable[Strike], image: FirmwareImage) -> Iterator[Strike]:
    """Each strike at the addresses that its names stand for, one per word that it changes. Raises FaultError for an unknown name."""
    for strike in strikes:
        if isinstance(strike.at, str):
            strike = replace(strike, at=image.address(strike.at) & ~1)
        if strike.what == "memory" and isinstance(strike.where, str):
            yield from _words(strike, *image.region(strike.where))
        else:
            yield replace(strike, draw=None)


def _words(strike: Strike, start: int, end: int) -> Iterator[Strike]:
    """The words of a region with the bits that change: drawn, or those of `mask` in its first word."""
    if strike.draw is None:
        sites = [8 * (start % 4) + bit for bit in range(32) if strike.mask >> bit & 1]
    else:
        sites = [8 * (start % 4) + site for site in drawn_bits(strike.draw, 8 * (end - start))]
    masks: dict[int, int] = {}
    for site in sites:
        masks[site // 32] = masks.get(site // 32, 0) | 1 << site % 32
    for word, mask in sorted(masks.items()):
        yield replace(strike, where=(start & ~3) + 4 * word, mask=mask, draw=None)


def drawn_bits(draw: Draw, bits: int) -> list[int]:
    """The bits of a region of so many. A count draws begins of runs, the first so many distinct of one sequence: fewer are among more."""
    if draw.rate:
        return [int(site) for site in nested_sites(draw.seed, draw.stream, bits, draw.rate)]
    if draw.count * draw.burst > bits:
        raise FaultError(f"a region of {bits} bits has no {draw.count} runs of {draw.burst}; lower the count")
    begins: dict[int, None] = {}
    asked = draw.count
    while len(begins) < draw.count:
        word = random_bits.words(draw.seed, draw.stream, [0], 1, asked)[0, 0].astype(np.uint64)
        begins = dict.fromkeys((word * np.uint64(bits - draw.burst + 1) >> np.uint64(32)).tolist()[:asked])
        asked *= 2
    return sorted({begin + k for begin in list(begins)[: draw.count] for k in range(draw.burst)})
