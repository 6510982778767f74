"""Runs a campaign: plan, ledger, executor, until every trial has an outcome.

What cannot run is refused before anything runs. After that, only a defect, a full disk or a device that never worked in this campaign
stops it; Ctrl-C, a kill or a full disk at any point leave a ledger that `resume` continues, and nothing recorded is run again.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgechaos.devices.registry import check_specs
from edgechaos.graph.artifact import content_hash, to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.analysis.live import Watch
from edgechaos.hil.analysis.results import Results, summarize
from edgechaos.hil.analysis.stopping import first_plan, next_plan, whole_plan
from edgechaos.hil.campaign.config import Campaign
from edgechaos.hil.campaign.plan import CampaignPlan, Probe, Work, check_devices, check_plan
from edgechaos.hil.campaign.reading import refuse
from edgechaos.hil.energy.model import board_energy
from edgechaos.hil.execute.evaluate import EvaluationSet, Event, Failed, Fatal, Finished, NotBegun, Opened, Opener, Setup
from edgechaos.hil.execute.executor import Executor
from edgechaos.hil.execute.executors import is_local, open_executor
from edgechaos.hil.execute.ledger import INFRASTRUCTURE, Identity, Ledger
from edgechaos.reference import check_inputs, check_parameters
from edgechaos.support.errors import DataError, EdgeChaosError

Progress = Callable[[int, int], None]
"""Called with (trials that have an outcome, trials)."""
Notice = Callable[[str], None]
LEFT_AFTER = 10
"""A device that worked before and does not open so often in a row is left to a later run; the others go on."""
COMMIT_EVERY_S = 0.25
"""Results are committed together, because every commit flushes the disk: a kill costs at most this much work again."""


def run_campaign(
    campaign: Campaign,
    graph: IntegerGraph,
    items: EvaluationSet,
    ledger_path: str | os.PathLike[str],
    *,
    resume: bool = False,
    workers: int | None = None,
    opener: Opener | None = None,
    executor: Executor | str | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    notice: Notice | None = None,
) -> Results:
    """Run what the ledger does not hold yet, then summarize it.

    items: at least `campaign.image_count`. opener: by default `edgechaos.devices.registry.open_device`; workers import it by name.
    executor: its name (`edgechaos.hil.execute.executors`), by default "pool": worker processes on this machine, `workers` of them; or
    one of your own, with the opener of its setup.
    watch: hears every plan and result. notice: hears what a user should know, by default as a warning.
    Raises DataError (too few items), ConfigError (an impossible value, a device that there is not, a plan that the model or a device
    cannot carry), EdgeChaosError (ledger, disk, a device that does not open).
    """
    refuse(campaign)
    if len(items.codes) < campaign.image_count:
        raise DataError(
            f"campaign '{campaign.name}' needs {campaign.image_count} items, '{items.name}' has {len(items.codes)}; lower images"
        )
    _check_inputs(graph, items)
    chosen = executor or f"pool:{workers or ''}"
    _check_devices_named(campaign, opener, is_local(chosen) if isinstance(chosen, str) else chosen.local)
    progress = progress or (lambda done, total: None)
    whole = whole_plan(campaign, graph)
    check_plan(whole, graph)
    plan = first_plan(campaign, graph, whole)
    progress(0, len(plan.trials))
    if campaign.energy is not None:
        board_energy(campaign.energy.board)  # refused now, not after hours of trials
    with open_ledger(campaign, graph, items, Path(ledger_path), resume=resume) as ledger:
        for text in ledger.notices:
            (notice or _warn)(text)
        setup = Setup(to_bytes(graph), items, opener or _default_opener(), campaign.prune)
        with open_executor(chosen, setup, campaign.timeout) if isinstance(chosen, str) else chosen as running:
            more: CampaignPlan | None = plan
            while more is not None:
                plan = more
                run_trials(plan, graph, ledger, running, attempts=campaign.attempts, progress=progress, watch=watch)
                more = next_plan(campaign, graph, plan, ledger.result)
        return summarize(campaign, graph, items, plan, ledger)


def _check_inputs(graph: IntegerGraph, items: EvaluationSet) -> None:
    """Head, shape and parameters, as every device will check them."""
    check_inputs(graph, graph.head(items.head), items.codes, None, 0)
    check_parameters(graph, items.parameters)
    if len(items.labels) != len(items.codes):
        raise DataError(f"'{items.name}' has {len(items.codes)} items but {len(items.labels)} labels; give one for each")


def _check_devices_named(campaign: Campaign, opener: Opener | None, local: bool) -> None:
    """Every device's name, before the first of them is opened; an opener of one's own may have a `check` of its own."""
    devices = campaign.every_device
    if opener is None:
        check_specs(devices, local=local)
    else:
        check: Callable[[Iterable[str]], None] = getattr(opener, "check", lambda specs: None)
        check(devices)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def open_ledger(campaign: Campaign, graph: IntegerGraph, items: EvaluationSet, path: Path, *, resume: bool) -> Ledger:
    """The campaign's ledger. Raises EdgeChaosError as `Ledger.open` does."""
    identity = Identity(campaign.name, campaign.seed, content_hash(graph), items.name)
    data = {count: items.hash(count) for count in campaign.image_counts}
    return Ledger.open(path, identity, data, resume=resume)


def run_trials(
    plan: CampaignPlan,
    graph: IntegerGraph,
    ledger: Ledger,
    executor: Executor,
    *,
    attempts: int,
    progress: Progress,
    watch: Watch | None = None,
) -> None:
    """Rounds over what has no outcome yet; each round decides or uses up one attempt of a trial of every group.

    First every device that this campaign has never opened is opened once: one that is absent, holds another model or cannot carry a
    sweep's faults is found before any trial runs.
    """
    run = _Run(ledger, executor, attempts, watch)
    if watch is not None:
        watch.planned(plan)
        for trial in plan.trials:
            if (result := ledger.result(trial)) is not None:
                watch.finished(trial, result)
    devices = tuple(dict.fromkeys(t.device for t in plan.trials))
    check_devices(plan, graph, ledger.devices())
    while new := [d for d in devices if d not in ledger.devices()]:
        run.round([Probe(d) for d in new], lambda left: None)
    check_devices(plan, graph, ledger.devices())
    total = len(plan.trials)
    while groups := ledger.remaining(plan):
        lost = [(t, "its clean run has no result") for g in groups if g.baseline is None and not g.trials[0].clean for t in g.trials]
        lost = lost or [(t, run.given_up[g.device]) for g in groups if g.device in run.given_up for t in g.trials]
        with ledger.transaction():
            for trial, why in lost:
                ledger.abandon(trial, INFRASTRUCTURE, why)
        if not lost:
            run.round(groups, lambda left: progress(total - left, total))
    progress(total, total)


class _Run:
    """One run of a campaign: events become rows of the ledger.

    stalled: by device and allowance, how often in a row no trial could begin. given_up: devices that worked before and no longer open,
    with the reason; their trials are left to a later run.
    """

    def __init__(self, ledger: Ledger, executor: Executor, attempts: int, watch: Watch | None) -> None:
        self._ledger = ledger
        self._watch = watch
        self._executor = executor
        self._attempts = attempts
        self._opened = set(ledger.devices())
        self._worked = ledger.worked()
        self._stalled: dict[str, Counter[int]] = {}
        self.given_up: dict[str, str] = {}

    def round(self, work: Sequence[Work], progress: Callable[[int], None]) -> None:
        """Run everything once. progress: called with the number of trials left. Raises EdgeChaosError where the campaign cannot go on."""
        left = sum(len(w.trials) for w in work)
        pending: list[Finished] = []

        def flush() -> None:
            if pending:
                with self._ledger.transaction():
                    self._ledger.finish(pending)
                pending.clear()

        progress(left)
        committed = time.monotonic()
        try:
            for event in self._executor.run(work):
                if isinstance(event, Finished):
                    self._moves(event.trial.device)
                    self._worked.add(event.trial.device)
                    pending.append(event)
                    left -= 1
                    if self._watch is not None:
                        self._watch.finished(event.trial, event.result)
                    progress(left)
                else:
                    self._take(event)
                if time.monotonic() - committed >= COMMIT_EVERY_S:
                    flush()
                    committed = time.monotonic()
        finally:
            flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, Opened):
            with self._ledger.transaction():
                self._ledger.record_device(event.device, event.info)
            self._opened.add(event.device)
        elif isinstance(event, NotBegun):
            self._not_begun(event)
        elif isinstance(event, Failed):
            self._moves(event.trial.device)
            self._failed(event)
        elif isinstance(event, Fatal):
            raise _stopped(event.message)

    def _moves(self, device: str) -> None:
        self._stalled.pop(device, None)

    def _not_begun(self, event: NotBegun) -> None:
        """Bounded, so that a worker that dies for ever while it starts, or a board that is gone, ends in a clear answer."""
        counts = self._stalled.setdefault(event.device, Counter())
        counts[event.allowed] += 1
        if event.device not in self._opened:
            if counts[event.allowed] >= event.allowed:
                raise _stopped(f"{event.device}: {event.why}")
        elif counts[event.allowed] >= max(event.allowed, LEFT_AFTER):
            self.given_up[event.device] = event.why

    def _failed(self, event: Failed) -> None:
        """A clean model that fails where it never worked stops the campaign; later, the machine is to blame."""
        trial, outcome, why = event.trial, event.outcome, event.detail
        if trial.clean and outcome != INFRASTRUCTURE:
            event = replace(event, outcome=INFRASTRUCTURE, detail=f"clean model, {outcome}: {why}")
        with self._ledger.transaction():
            last = self._ledger.fail(event, self._attempts)
            if last and trial.clean and outcome != INFRASTRUCTURE and trial.device not in self._worked:
                raise _stopped(f"{trial.device}: the clean model does not run ({outcome}): {why}; mend that before injecting faults")


def _stopped(why: str) -> EdgeChaosError:
    return EdgeChaosError(f"campaign stopped: {why}; what was finished is kept: continue with --resume")


def _default_opener() -> Opener:
    from edgechaos.devices.registry import open_device

    return open_device
