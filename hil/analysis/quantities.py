"""Numbers as the report and the terminal print them: significant digits that the interval supports, SI prefixes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"), (1e-18, "a"), (1e-21, "z"))


def joules(energy_j: float, digits: int = 3) -> str:
    """An energy with its SI prefix: 1.6e-5 -> "16.0 µJ"."""
    if energy_j <= 0:
        return "0 J"
    factor, prefix = next(((f, p) for f, p in _PREFIXES if energy_j >= f * 0.99995), _PREFIXES[-1])
    return f"{_significant(energy_j / factor, digits)} {prefix}J"


def milliseconds(seconds: float) -> str:
    """Three significant digits of milliseconds, without the unit: 0.000236 -> "0.236"."""
    return _significant(seconds * 1e3, 3)


def percent(share: float) -> str:
    """A share in percent to one decimal, without the unit; negative with a true minus sign."""
    return f"{share * 100:.1f}".replace("-", "−").replace("−0.0", "0.0")


def fine(share: float) -> str:
    """A share in percent to three significant digits, without the unit: what single faults do is rare."""
    return f"{share * 100:.3g}".replace("-", "−")


def fine_interval(estimate: Any) -> str:
    """`[0.0123, 0.0456]` in percent, of an Estimate or its JSON; a share is not below 0."""
    low, high = (estimate["low"], estimate["high"]) if isinstance(estimate, Mapping) else (estimate.low, estimate.high)
    return f"[{fine(max(0.0, low))}, {fine(high)}]"


def interval(estimate: Any) -> str:
    """`[93.1, 94.4]` in percent, of an Estimate or its JSON."""
    low, high = (estimate["low"], estimate["high"]) if isinstance(estimate, Mapping) else (estimate.low, estimate.high)
    return f"[{percent(low)}, {percent(high)}]"


def points(share: float) -> str:
    """A difference of shares in percentage points, signed."""
    text = percent(share)
    return text if text.startswith("−") or text == "0.0" else f"+{text}"


def rate(share: float) -> str:
    """A fault rate in percent with the digits it was given."""
    return f"{share * 100:.10g}"


def swept(value: float, field: str = "rate") -> str:
    """The value of a swept field, without its unit: a rate in percent, any other as it is."""
    return rate(value) if field == "rate" else f"{value:.10g}"


def setting(value: float, field: str = "rate") -> str:
    """The same to stand in a sentence: "50 %", "factor 0.9"."""
    return f"{value * 100:.3g} %" if field == "rate" else f"{field} {value:.10g}"


def head(field: str) -> str:
    """The same over a column: "rate (%)", "factor"."""
    return "rate (%)" if field == "rate" else field


def integer(value: float) -> str:
    """A count with thousands separated by thin spaces."""
    return f"{round(value):,}".replace(",", "\u202f")


def times(value: float) -> str:
    """A ratio: "3.1 × 10⁹"."""
    exponent = math.floor(math.log10(value)) if value > 0 else 0
    if abs(exponent) < 4:
        return _significant(value, 2)
    return f"{value / 10**exponent:.1f} × 10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def size(count: int) -> str:
    """A number of bytes in KiB or MiB."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{_significant(count / (1 << 20), 3)} MiB"


def _significant(value: float, digits: int) -> str:
    value = float(f"{value:.{digits - 1}e}")  # 0.9996 is 1.00, not 1.000
    decimals = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{decimals}f}"


FILTERS: Mapping[str, Callable[..., str]] = {
    f.__name__: f
    for f in (joules, milliseconds, interval, fine, fine_interval, percent, points, rate, swept, setting, head, integer, times, size)
}
"""For templates."""
