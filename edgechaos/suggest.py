"""What a person may have meant by a name that there is not: for the errors that refuse one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_WORD = 200
"""A longer word is no typing error of a name, and comparing it would take long."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'unicorn'?` where a known name is like the word; otherwise nothing. Letter case does not matter.

    Made to stand behind the refused name: f"no device 'unicron'{suggestion('unicron', names)}; there are ...".
    """
    names = {name.casefold(): name for name in known}
    if len(word) > LONGEST_WORD:
        return ""
    close = get_close_matches(word.casefold(), names, n=1)
    return f", did you mean '{names[close[0]]}'?" if close else ""
