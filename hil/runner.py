"""Runs a campaign: plan, ledger, executor, until every trial has an outcome.

Enters: a Campaign, its model, its test items, a ledger's path. Leaves: the results, and a complete ledger. Ctrl-C, a
kill or a full disk at any point leave a ledger that `resume` continues; nothing recorded is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgechaos.artifact import content_hash, to_bytes
from edgechaos.errors import DataError, EdgeChaosError
from edgechaos.graph import IntegerGraph
from edgechaos.hil.config import Campaign
from edgechaos.hil.energy import board_energy
from edgechaos.hil.evaluate import EvaluationSet, Failed, Fatal, Finished, Opened, Opener, Setup
from edgechaos.hil.executor import Executor
from edgechaos.hil.ledger import Identity, Ledger
from edgechaos.hil.plan import CampaignPlan, Group, check_plan, plan_campaign
from edgechaos.hil.pool import PoolExecutor
from edgechaos.hil.results import Results, summarize

Progress = Callable[[int, int], None]
"""Called with (trials that have an outcome, trials)."""
COMMIT_EVERY_S = 0.25
"""Results are committed together, because every commit flushes the disk: a kill costs at most this much work again."""


def run_campaign(
    campaign: Campaign,
    graph: IntegerGraph,
    items: EvaluationSet,
    ledger_path: Path,
    *,
    resume: bool = False,
    workers: int | None = None,
    opener: Opener | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run what the ledger does not hold yet, then summarize it.

    items: at least `campaign.image_count`. opener: by default `edgechaos.devices.registry.open_device`. executor: by
    default worker processes on this machine; then a script that calls this needs `if __name__ == "__main__":`.
    Raises DataError (too few items), ConfigError (a plan the model cannot carry), EdgeChaosError (ledger, disk, device).
    """
    if len(items.codes) < campaign.image_count:
        raise DataError(
            f"campaign '{campaign.name}' needs {campaign.image_count} items, '{items.name}' has {len(items.codes)}; lower images"
        )
    plan = plan_campaign(campaign)
    check_plan(plan, graph)
    if campaign.energy is not None:
        board_energy(campaign.energy.board)  # refused now, not after hours of trials
    with open_ledger(campaign, graph, items, ledger_path, resume=resume) as ledger:
        setup = Setup(to_bytes(graph), items, opener or _default_opener())
        with executor or PoolExecutor(setup, workers=workers, trial_timeout_s=campaign.timeout) as running:
            run_trials(plan, ledger, running, attempts=campaign.attempts, progress=progress or (lambda done, total: None))
        return summarize(campaign, graph, items, plan, ledger)


def open_ledger(campaign: Campaign, graph: IntegerGraph, items: EvaluationSet, path: Path, *, resume: bool) -> Ledger:
    """The campaign's ledger. Raises EdgeChaosError as `Ledger.open` does."""
    identity = Identity(campaign.name, campaign.seed, content_hash(graph), items.name)
    data = {count: items.hash(count) for count in {campaign.images_of(s) for s in campaign.sweep}}
    return Ledger.open(path, identity, data, resume=resume)


def run_trials(plan: CampaignPlan, ledger: Ledger, executor: Executor, *, attempts: int, progress: Progress) -> None:
    """Rounds over what has no outcome yet; each round decides or uses up one attempt of a trial of every group."""
    total = len(plan.trials)
    while groups := ledger.remaining(plan):
        orphans = [t for g in groups if g.baseline is None and not g.trials[0].clean for t in g.trials]
        with ledger.transaction():
            for trial in orphans:
                ledger.abandon(trial, "infrastructure", "its clean run has no result")
        if not orphans:
            _run_round(groups, ledger, executor, attempts, lambda left: progress(total - left, total))
    progress(total, total)


def _run_round(groups: Sequence[Group], ledger: Ledger, executor: Executor, attempts: int, progress: Callable[[int], None]) -> None:
    left = sum(len(g.trials) for g in groups)
    pending: list[Finished] = []

    def flush() -> None:
        if pending:
            with ledger.transaction():
                ledger.finish(pending)
            pending.clear()

    progress(left)
    committed = time.monotonic()
    try:
        for event in executor.run(groups):
            if isinstance(event, Finished):
                pending.append(event)
                left -= 1
                progress(left)
            elif isinstance(event, Fatal):
                raise EdgeChaosError(f"campaign stopped: {event.message}; what was finished is kept: continue with --resume")
            else:
                with ledger.transaction():
                    if isinstance(event, Opened):
                        ledger.record_device(event.device, event.info)
                    elif isinstance(event, Failed):
                        ledger.fail(event, attempts)
            if time.monotonic() - committed >= COMMIT_EVERY_S:
                flush()
                committed = time.monotonic()
    finally:
        flush()


def _default_opener() -> Opener:
    from edgechaos.devices.registry import open_device

    return open_device
