"""What a person may have meant by a name that there is not: for the errors that refuse one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_WORD = 200
"""A longer word is no typing error of a name, and comparing it would take long."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'unicorn'?` where a known name is like the word or begins with it; otherwise nothing. Letter case does not matter.

    Made to stand behind the refused name: f"no device 'unicron'{suggestion('unicron', names)}; there are ...".
    """
    names = {name.casefold(): name for name in known}
    if len(word) > LONGEST_WORD:
        return ""
    folded = word.casefold()
    close = get_close_matches(folded, names, n=1) or [name for name in names if len(folded) > 1 and name.startswith(folded)]
    return f", did you mean '{names[close[0]]}'?" if close else ""
