"""What a curve is made of: the points of one fault kind at one site on one device, each with its intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from edgechaos.hil.energy.model import EnergyEstimate
from edgechaos.support.limits import MOST, Count, Share, Wrong, within
from edgechaos.support.statistics import Estimate, NonInferiority

FAR = within(-1e7, 1e7)
"""A t interval over two masks may reach far beyond 0 and 1: t(1) is 636,620 at the smallest alpha that a campaign may have."""
UNIT = within(0, 1)
Positive = Annotated[int, within(1, MOST)]
OverMasks = Annotated[Estimate, Wrong(value=UNIT, low=FAR, high=FAR)]
OverImages = Annotated[Estimate, Wrong(value=UNIT, low=UNIT, high=UNIT)]


@dataclass(frozen=True, slots=True)
class Point:
    """One rate of one curve, over the `masks` pairs that have both results (`lost`: those that the infrastructure cost).

    accuracy, clean, difference: shares, over masks, the images fixed; accuracy_over_images, clean_over_images: the same means with the
    interval over images, the masks fixed. harmed: share of masks that lose more than the margin.
    outcomes: images x masks per outcome. instructions: per inference, mean over masks, by class, with what the emulator
    counts beside the classes; energy: of that mix. per_mask: columns of equal length, one entry per pair: `mask`, the right answers
    `correct` and `clean`, the images of every outcome that occurred, and `inferred`, those that were not run, where there are any; what
    two campaigns are compared by.
    """

    rate: float
    masks: Positive
    lost: Count
    accuracy: OverMasks
    accuracy_over_images: OverImages
    clean: OverMasks
    clean_over_images: OverImages
    difference: Annotated[Estimate, Wrong(value=FAR, low=FAR, high=FAR)]
    no_harm: NonInferiority
    harmed: Annotated[Estimate, Wrong(value=UNIT)]
    worst_mask: int
    worst_accuracy: Share
    outcomes: dict[str, Count]
    instructions: dict[str, Annotated[float, within(0, MOST)]]
    energy: EnergyEstimate | None
    per_mask: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def inferred(self) -> int:
        """Masks whose outcome was inferred, not run."""
        return sum(count > 0 for count in self.per_mask.get("inferred", ()))


@dataclass(frozen=True, slots=True)
class Curve:
    """All rates of one fault kind at one site on one device. empty_rates: where fewer than two pairs have results.

    swept: the field of the fault that `rate` is the value of; one called "rate" is a share. options: the sweep's other fields.
    """

    fault: str
    persistence: str
    site: str
    device: str
    images: Positive
    points: tuple[Point, ...]
    empty_rates: tuple[float, ...]
    swept: str = "rate"
    options: dict[str, Any] = field(default_factory=dict)
