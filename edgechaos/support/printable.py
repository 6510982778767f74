"""Text from outside as a terminal may show it: file names, names in files, what a board says of itself.

An escape character in a name could move the cursor, change colors or the window's title; a line break could forge a line of ours.
The command line passes everything that it prints through here.
"""

from __future__ import annotations

import re

LONGEST_LINE = 2000
"""Characters of one message: what is said of a hostile file must not be as long as the file."""
# C0, DEL and C1 controls, line and paragraph separators, what turns the direction of writing, and lone surrogates (of file names that
# are no UTF-8), which no output takes.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""The text with every control character written out: "\x1b[31m" as the seven characters `\x1b[31m`."""
    return _UNSAFE.sub(lambda found: _SHORT.get(found[0]) or _escaped(ord(found[0])), text)


def message_line(text: str) -> str:
    """`printable`, and not longer than LONGEST_LINE: the middle of a longer text is left out, and the line says so."""
    if len(text) > LONGEST_LINE:
        left_out = len(text) - LONGEST_LINE
        text = f"{text[: LONGEST_LINE * 3 // 4]} [... {left_out:,} characters left out ...] {text[-LONGEST_LINE // 4 :]}"
    return printable(text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
