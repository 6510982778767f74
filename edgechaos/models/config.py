"""What the configurations of all families share, and how they refuse what no network can have. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from edgechaos.support.errors import ConfigError

Rule = tuple[str, bool, str]
"""A field, whether it holds what it may, and what it must be."""
C = TypeVar("C", bound="Config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """inputs: elements of one item. mean, std: of the pixels / 255, or of signals in their own units, one per channel (channels first).

    signals: whether items are windows of sensor samples (`edgechaos.graph.signals`), not pixels.
    """

    called: ClassVar[str] = "network"

    inputs: int
    classes: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    signals: bool = False

    def rules(self) -> tuple[Rule, ...]:
        """What a family asks of its own fields."""
        return ()

    def check(self: C) -> C:
        """Returns self. Raises ConfigError that names the first value that no network can have."""
        shared: tuple[Rule, ...] = (
            ("inputs", self.inputs > 0, "at least 1"),
            ("classes", len(self.classes) > 0, "at least one name"),
            ("mean", len(self.mean) == len(self.std) > 0 and self.inputs % len(self.mean) == 0, "one value per channel, as many as std"),
            ("std", all(s > 0 for s in self.std), "above 0"),
        )
        for key, good, wanted in (*shared, *self.rules()):
            if not good:
                raise ConfigError(f"{self.called}: {key} = {getattr(self, key)!r}, but must be {wanted}", key)
        return self
