"""One check word for every 64 words of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgechaos.arithmetic.check_words import PARITY, Code
from edgechaos.harden.guards import Guard


@dataclass(frozen=True, slots=True)
class Parity(Guard):
    """A wrong word ends the inference with a status in place of wrong logits."""

    kind: ClassVar[str] = "parity"
    title: ClassVar[str] = "Parity of stored words"
    effect: ClassVar[str] = "an odd number of wrong bits in a bit position of 64 words is detected: a status in place of logits"
    code: ClassVar[Code] = PARITY
    word_instructions: ClassVar[float] = 2.6
    note: ClassVar[str] = "detects, gives no answer"
