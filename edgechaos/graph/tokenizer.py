"""How a text becomes token ids: the tokenizer and vocabulary that travel inside the artifact.

Ids are uint16: 0 for padding, 1 for a word that the vocabulary has not, then the words. Text is tokenized on the host; the wire and
the firmware take ids. The patterns are a fixed set: a pattern out of a file could run for ever.
Source: the published language models, `re.findall(r"\\w+", text.lower())`, the first L tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN, FIRST_WORD = 0, 1, 2
MAX_WORDS = 65536 - FIRST_WORD
"""Ids are uint16."""
PATTERNS: Mapping[str, str] = MappingProxyType({"words": r"\w+", "spaces": r"\S+"})
"""What a token is: a run of letters, digits and underscores, or whatever stands between spaces."""


@dataclass(frozen=True, slots=True)
class Text:
    r"""Tokenizer and vocabulary of a head. Word number i of `vocabulary` has id i + 2.

    pattern: a name in PATTERNS: "words" is `\w+`, "spaces" is `\S+`. lowercase: the text is lowered first.
    """

    vocabulary: tuple[str, ...]
    pattern: Literal["words", "spaces"] = "words"
    lowercase: bool = True

    def tokens(self, text: str) -> list[str]:
        """The tokens of one text, in order."""
        return re.findall(PATTERNS[self.pattern], text.lower() if self.lowercase else text)

    def ids(self, texts: Sequence[str], length: int) -> NDArray[np.uint16]:
        """(texts, length) uint16: the first `length` tokens of each text, padded with 0 at the end."""
        ids = np.zeros((len(texts), length), np.uint16)
        index = _index(self.vocabulary)
        for row, text in zip(ids, texts, strict=True):
            found = [index.get(token, UNKNOWN) for token in self.tokens(text)[:length]]
            row[: len(found)] = found
        return ids


@lru_cache(maxsize=8)
def _index(vocabulary: tuple[str, ...]) -> Mapping[str, int]:
    return {word: i for i, word in enumerate(vocabulary, FIRST_WORD)}
