"""Eight check words for every 88 words of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgechaos.arithmetic.check_words import SECDED, Code
from edgechaos.harden.guards import Guard


@dataclass(frozen=True, slots=True)
class SecDed(Guard):
    """A wrong word is corrected: a weight's product after the sum, any other table in RAM, where it then lies."""

    kind: ClassVar[str] = "secded"
    title: ClassVar[str] = "SEC-DED of stored words"
    effect: ClassVar[str] = "one wrong bit in each bit position of 88 words is corrected, two are detected: a status in place of logits"
    code: ClassVar[Code] = SECDED
    word_instructions: ClassVar[float] = 6.7
