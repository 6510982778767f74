"""What a mutant is: one replaced stretch of one file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

OPERATORS = (
    "comparison",  # another relation: == for !=, > for <
    "boundary",  # < for <=
    "arithmetic",  # - for +
    "bits",  # | for &, >> for <<
    "boolean",  # or for and
    "unary",  # a sign, a not or a ~ left out
    "constant",  # one more or one less
    "condition",  # negated
    "statement",  # left out
    "return",  # another value
    "extreme",  # max for min, all for any
    "slice",  # a bound moved by one
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """Bytes start..end of `file` replaced by `becomes`. line: 1-based."""

    file: str
    operator: str
    line: int
    start: int
    end: int
    becomes: str

    def applied(self, source: bytes) -> bytes:
        """The whole file, changed."""
        return source[: self.start] + self.becomes.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The changed stretch before and after, whole lines, outer space stripped: what names a mutant in equivalent.toml."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        changed = source[first : self.start] + self.becomes.encode() + source[self.end : last]
        return " ".join(source[first:last].decode().split()), " ".join(changed.decode().split())

    def diff(self, source: bytes) -> str:
        """A unified difference without context."""
        before, after = source.decode().splitlines(), self.applied(source).decode().splitlines()
        return "\n".join(difflib.unified_diff(before, after, self.file, f"{self.file} ({self.operator})", lineterm="", n=0))
