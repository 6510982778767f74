"""Random words that are all the same, have bits that never change, begin anew too soon, or are those of other items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from edgechaos.faults.base import ALL, Fault
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import carriers
from edgechaos.graph.analysis import Analysis
from edgechaos.support.limits import within


@dataclass(frozen=True, slots=True)
class GeneratorFault(Fault):
    """A fault of the generator of random words. layer: the name of a node that draws, a ChaosLayer or a ThermalNoise, or "*": all."""

    uniform = True

    layer: str = ALL

    @property
    def place(self) -> str:
        return "random words, all layers" if self.layer == ALL else f"random words of {self.layer}"

    def broken(self, analysis: Analysis, **words: int) -> Iterator[SetSlot]:
        """Words of the generator of each node, by slot without its "draw_"."""
        for slot, value in words.items():
            for node, _ in carriers(analysis, self.kind, f"draw_{slot}", self.layer, "node that draws random words", plain=True):
                yield SetSlot(node.name, f"draw_{slot}", np.zeros(1, np.intp), np.array([value], np.int64))


@dataclass(frozen=True, slots=True)
class GeneratorStuck(GeneratorFault):
    """A permanently stuck generator: every word it gives is `value`."""

    kind = "generator_stuck"
    title = "Stuck random generator"
    axis = "the word that it gives"
    phrase = "as every one of the"
    swept = "value"
    limits = (0, 2**32 - 1)
    neutral = None

    value: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.broken(analysis, clear=~self.value & 0xFFFFFFFF, set=self.value)


@dataclass(frozen=True, slots=True)
class GeneratorBiased(GeneratorFault):
    """A permanently biased generator: the highest `bits` bits of both halves of every word are `value`, 0 or 1.

    The low half decides what is lost, the high one how large noise is: with 0 more is lost, with 1 less.
    """

    kind = "generator_biased"
    title = "Biased random generator"
    axis = "bits of each half-word that are stuck"
    phrase = "bits stuck in both halves of the"
    swept = "bits"
    limits = (0, 16)
    neutral = 0

    bits: int = 0
    value: Annotated[int, within(0, 1)] = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        mask = ((0xFFFF << 16 - self.bits) & 0xFFFF) * 0x10001
        return self.broken(analysis, **{"set" if self.value else "clear": mask})


@dataclass(frozen=True, slots=True)
class GeneratorPeriod(GeneratorFault):
    """A generator with a permanently short period: after `period` words of an inference, tick by tick and neuron by neuron, the first
    follows again. 0: never."""

    kind = "generator_period"
    title = "Short period of the random generator"
    axis = "words after which the generator begins anew"
    phrase = "words until they begin anew, of the"
    swept = "period"
    limits = (0, 2**32 - 1)
    neutral = 0

    period: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.broken(analysis, period=self.period)


@dataclass(frozen=True, slots=True)
class GeneratorRepeated(GeneratorFault):
    """A permanently repeated seed: only `seeds` different ones are ever given, item by item in turn, and 1 gives every item the same
    words. 0: as many as there are items."""

    kind = "generator_repeated"
    title = "Repeated seeds of the random generator"
    axis = "different seeds"
    phrase = "different seeds of the"
    swept = "seeds"
    limits = (0, 2**32 - 1)
    neutral = 0

    seeds: int = 0

    def resolve(self, analysis: Analysis) -> Iterable[SetSlot]:
        return self.broken(analysis, repeat=self.seeds)
