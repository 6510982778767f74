"""What a campaign has found so far, while it runs: outcomes, and the interval of the point that moved last.

The interval is a confidence sequence: who watches it and stops when it pleases has not spoiled it.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from edgechaos.hil.analysis.quantities import interval, percent, setting
from edgechaos.hil.campaign.plan import CampaignPlan, Cell, Place, Trial
from edgechaos.hil.execute.evaluate import TrialResult
from edgechaos.support.sequences import SEQUENTIAL

SHOWN = 3
"""Outcomes, the most frequent ones."""


class Watch(Protocol):
    """Hears what a campaign plans and what its trials give, from the ledger or just now; in the campaign's own process."""

    def planned(self, plan: CampaignPlan) -> None:
        """A plan begins; a campaign that stops by itself has several, each with more masks. Its known results follow."""

    def finished(self, trial: Trial, result: TrialResult) -> None:
        """A trial has a result."""


class Live:
    """A Watch that sums up in one line."""

    def __init__(self, confidence: float = 0.95) -> None:
        self._confidence = confidence
        self._cells: dict[Trial, list[Cell]] = {}
        self._seen: set[Trial] = set()
        self._shares: dict[Place, list[float]] = {}
        self._outcomes: Counter[str] = Counter()
        self._last: Cell | None = None

    def planned(self, plan: CampaignPlan) -> None:
        """See Watch."""
        self._cells = {}
        for cell in plan.cells:
            for trial in cell.trials:
                self._cells.setdefault(trial, []).append(cell)

    def finished(self, trial: Trial, result: TrialResult) -> None:
        """See Watch."""
        if trial not in self._seen:
            self._seen.add(trial)
            self._outcomes.update(result.outcomes)
            for cell in self._cells.get(trial, ()):
                self._shares.setdefault(cell.place, []).append(result.correct / trial.images)
                self._last = cell

    def text(self) -> str:
        """`masked 62.1 %, sdc critical 4.0 %; dead 50 % on host: 93.1 % [91.9, 94.3], 12 masks`."""
        total = sum(self._outcomes.values())
        shares = [f"{name.replace('_', ' ')} {percent(n / total)} %" for name, n in self._outcomes.most_common(SHOWN)]
        return "; ".join(part for part in (", ".join(shares), self._point()) if part)

    def _point(self) -> str:
        cell = self._last
        values = self._shares.get(cell.place, []) if cell else []
        if cell is None or len(values) < 2:
            return ""
        estimate = SEQUENTIAL.mean(values, self._confidence)
        where = f"{cell.sweep.fault.replace('_', ' ')} {setting(cell.rate, cell.sweep.pattern.swept)} on {cell.device}"
        return f"{where}: {percent(estimate.value)} % {interval(estimate)}, {len(values)} masks"
