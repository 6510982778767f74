"""A small campaign over in-process devices or real worker processes, for the tests of campaigns, ledgers and pools."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgechaos import reference
from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import Campaign, Images, Sweep
from edgechaos.hil.campaign.plan import Work
from edgechaos.hil.execute.evaluate import Bench, EvaluationSet, Event, Finished, Setup
from edgechaos.hil.execute.executor import Executor
from edgechaos.hil.runner import run_campaign
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.hil_devices import open_device

GRAPH = chaos_graph(sizes=(12, 16, 4), fail_q=6554, noise=True)
SWEEPS = (Sweep("omission", (0.0, 0.25, 0.75)), Sweep("dead", (0.0, 0.25, 0.5)))

SCRIPT = """
import signal, sys
from pathlib import Path
from edgechaos.hil.runner import run_campaign
from tests.helpers.campaigns import GRAPH, campaign, items
from tests.helpers.hil_devices import open_device
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would its children
spec = campaign(devices=("scripted:slow",), masks=25)
run_campaign(spec, GRAPH, items(), Path(sys.argv[1]), resume=True, workers=2, opener=open_device)
"""
"""A campaign in a process of its own, resumed where its ledger exists; argument: the ledger. No guard: workers do not run it again."""


def items(count: int = 24, graph: IntegerGraph = GRAPH) -> EvaluationSet:
    """Codes whose labels are the graph's own clean answers, one in five wrong."""
    codes = codes_for(graph, count)
    labels = reference.run(graph, codes, seed=99).labels.astype(np.int64)
    labels[::5] = (labels[::5] + 1) % 4
    return EvaluationSet("drawn", codes, labels)


def campaign(**changes: Any) -> Campaign:
    base = Campaign("test", SWEEPS, devices=("plain",), masks=4, images=Images(24), timeout=30.0)  # type: ignore[arg-type]
    return replace(base, **changes)


class InProcess(Executor):
    """Groups in this process: what the pool does, without processes. stop_after: results before a simulated kill."""

    def __init__(self, setup: Setup, stop_after: int | None = None) -> None:
        self.bench, self.left, self.seen = Bench(setup), stop_after, 0

    def run(self, work: Sequence[Work]) -> Iterator[Event]:
        for group in work:
            for event in self.bench.evaluate(group):
                if self.left is not None and self.seen >= self.left:
                    raise KeyboardInterrupt
                self.seen += isinstance(event, Finished)
                yield event

    def close(self) -> None:
        self.bench.close()


def run(
    tmp_path: Path, spec: Campaign | None = None, *, stop_after: int | None = None, graph: IntegerGraph = GRAPH, **options: Any
) -> Results:
    data = items(graph=graph)
    executor = InProcess(Setup(to_bytes(graph), data, open_device), stop_after)
    return run_campaign(spec or campaign(), graph, data, tmp_path / "ledger.sqlite", executor=executor, opener=open_device, **options)


def run_pool(tmp_path: Path, device: str, *, workers: int = 1, **changes: Any) -> Results:
    spec = campaign(devices=(device,), masks=2, sweep=(Sweep("dead", (0.5,)),), **changes)
    return run_campaign(spec, GRAPH, items(), tmp_path / "ledger.sqlite", workers=workers, opener=open_device)


def rows(path: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT model, plan, seed, device, data, images, attempts, outcome, result, correct_bits, baseline FROM trials ORDER BY 1,2,3,4,5,6"
    ).fetchall()
    connection.close()
    return found


def children(parent: int | None = None) -> list[int]:
    """Processes that a process, by default this one, has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(ppid) == (parent or os.getpid()) and state != "Z":
            found.append(int(stat.parent.name))
    return found
