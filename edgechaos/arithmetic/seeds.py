"""The one rule for seeds: a seed is a uint32, wherever it enters.

Random words are functions of 32 bits (docs/semantics.md, "Random words"): a seed beyond them would silently draw what its low 32 bits
draw, on some targets and not on others.
"""

from __future__ import annotations

import operator

from edgechaos.support.errors import SeedError

MAX_SEED = 2**32 - 1


def check_seed(seed: object) -> int:
    """The seed as a Python int. Raises SeedError for what is not a whole number in 0..2^32 - 1; a bool is no number."""
    try:
        value = None if isinstance(seed, bool) else operator.index(seed)  # type: ignore[arg-type]  # refused below
    except TypeError:
        value = None
    if value is None or not 0 <= value <= MAX_SEED:
        shown = f"of {value.bit_length()} bits" if value is not None and value.bit_length() > 64 else repr(seed)[:40]
        raise SeedError(f"seed {shown} is not a uint32; give a whole number in 0..{MAX_SEED}")
    return value
