"""Which options each kind of model takes, and which of them change nothing beside others. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

NEURON = ("ticks", "mode", "threshold", "noise_std", "decay", "refractory_decay", "fail_prob", "signed")
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pixels": ("hidden", *NEURON),
        "vision": ("hidden", *NEURON, "channels", "embed", "average"),
        "language": ("hidden", *NEURON, "embed"),
        "shared": ("hidden", *NEURON, "channels", "embed", "average"),
        "dlm": ("hidden", "temperature", "temperature_max", "current_strength", "dissipation", "injection"),
        "tnn": ("hidden", "sparsity", "softness"),
        "mlp": ("hidden", "residual", "dropout", "noise_std"),
        "cnn": ("channels", "residual", "dropout", "noise_std"),
    }
)
"""Fields of a kind's configuration that a user may set and that the kind reads."""
SPIKING = ("pixels", "vision", "language", "shared")


def unknown_option(kind: str, option: str) -> str | None:
    """Why a kind does not take an option, with the kinds that do; None where it takes it."""
    if option in OPTIONS[kind]:
        return None
    takers = [other for other, options in OPTIONS.items() if option in options]
    return f"model '{kind}' has no option '{option}'" + (f"; it is one of {', '.join(takers)}" if takers else "")


def without_effect(kind: str, options: Mapping[str, Any]) -> dict[str, str]:
    """{option: why it changes nothing}: what a kind does not take, and what the other options given leave without effect."""
    reasons = {option: why for option in options if (why := unknown_option(kind, option)) is not None}
    if options.get("mode", "parallel") == "parallel":
        for option in ("decay", "refractory_decay"):
            if option in options:
                reasons.setdefault(option, "acts in stateful mode alone, as parallel ticks start from zero state; add mode stateful")
    if options.get("signed") and len(options.get("hidden", ())) < 2:
        reasons.setdefault("signed", "concerns the matrix between two spiking layers; give two hidden layers")
    return reasons
