"""A campaign on a local Dask cluster: the same results, boards where they are, workers that die."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from edgechaos.graph.artifact import to_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.config import Campaign, Sweep
from edgechaos.hil.execute.dask_executor import PLUGIN, DaskExecutor
from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.runner import run_campaign
from edgechaos.support.errors import EdgeChaosError
from tests.helpers.campaigns import GRAPH, campaign, items, rows, run
from tests.helpers.graphs import chaos_graph
from tests.helpers.hil_devices import open_device

pytestmark = pytest.mark.slow

BOARD = "serial:/dev/serial/by-id/board"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "resources": {f"board:{BOARD}": 1}}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


def _pools(dask_scheduler: Any) -> int:
    return sum(name.startswith(PLUGIN) for name in dask_scheduler.worker_plugins)


def _campaign(folder: Path, client: Any, graph: IntegerGraph, spec: Campaign) -> Results:
    data = items(graph=graph)
    executor = DaskExecutor(Setup(to_bytes(graph), data, open_device), client)
    return run_campaign(spec, graph, data, folder / "ledger.sqlite", executor=executor, opener=open_device)


def run_dask(tmp_path: Path, client: Any, *devices: str, **changes: Any) -> Results:
    return _campaign(tmp_path, client, GRAPH, campaign(devices=devices, **changes))


def test_results_are_those_of_one_process(tmp_path: Path, client: Any) -> None:
    results = run_dask(tmp_path / "dask", client, "plain", BOARD)
    assert results.to_json() == run(tmp_path / "one", campaign(devices=("plain", BOARD))).to_json()


def test_two_campaigns_at_once_keep_their_own_models(tmp_path: Path, client: Any) -> None:
    """Each evaluates its own graph, whoever's plug-in came last, and goes on where the other ends."""
    other = chaos_graph(sizes=(12, 16, 4), fail_q=6554, noise=True, seed=8)
    spec = campaign(devices=("plain",))
    with Client(client.scheduler.address) as second, ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(_campaign, tmp_path / f"{i}", c, g, spec) for i, (c, g) in enumerate(((client, GRAPH), (second, other)))]
        got = [job.result().to_json() for job in jobs]
    assert got == [run(tmp_path / f"alone{i}", spec, graph=g).to_json() for i, g in enumerate((GRAPH, other))]
    assert got[0]["about"]["model"] != got[1]["about"]["model"]


def test_a_campaign_ends_the_pools_of_those_that_were_killed(tmp_path: Path, client: Any) -> None:
    """A client that is gone without closing its campaign leaves a process that holds devices: the next campaign ends it."""
    with Client(client.scheduler.address) as gone:
        executor = DaskExecutor(Setup(to_bytes(GRAPH), items(), open_device), gone)
        executor._prepare()
    assert client.run_on_scheduler(_pools) == 1
    run_dask(tmp_path, client, "plain")
    assert client.run_on_scheduler(_pools) == 0


def test_a_board_that_no_worker_holds_is_refused(tmp_path: Path, client: Any) -> None:
    with pytest.raises(
        EdgeChaosError, match=r'no Dask worker holds serial:elsewhere; start one with --resources "board:serial:elsewhere=1"'
    ):
        run_dask(tmp_path, client, "serial:elsewhere")


def test_a_device_that_crashes_takes_no_worker_with_it(tmp_path: Path, client: Any) -> None:
    spec = {"masks": 2, "sweep": (Sweep("dead", (0.5,)),), "attempts": 2}
    workers = set(client.scheduler_info(n_workers=-1)["workers"])
    results = run_dask(tmp_path / "dask", client, "scripted:segfault", **spec)
    assert results.about["trials"] == {"planned": 4, "with_result": 2, "retried": 2, "without_result": {"crash": 2}}
    assert set(client.scheduler_info(n_workers=-1)["workers"]) == workers


def test_a_worker_that_dies_is_charged_to_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAOS_TEST_MARKER", str(tmp_path / "marker"))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        results = run_dask(tmp_path / "dask", client, "scripted:worker-dies-once", masks=2, sweep=(Sweep("dead", (0.5,)),), attempts=1)
    # The first group, a clean run and a mask, is run again; its device crashes in a process apart, so that this was not a trial's doing.
    assert results.about["trials"] == {"planned": 4, "with_result": 4, "retried": 0, "without_result": {}}


def test_a_device_that_does_not_open_is_refused_before_anything_runs(tmp_path: Path, client: Any) -> None:
    with pytest.raises(EdgeChaosError, match="campaign stopped: absent: no such port"):
        run_dask(tmp_path, client, "plain", "absent")
    assert rows(tmp_path / "ledger.sqlite") == []


def test_an_opener_that_workers_cannot_load_is_refused(tmp_path: Path, client: Any) -> None:
    executor = DaskExecutor(Setup(to_bytes(GRAPH), items(), lambda spec, graph: open_device(spec, graph)), client)
    with pytest.raises(EdgeChaosError, match=r"Dask workers cannot load the campaign .*cannot travel to workers"):
        run_campaign(campaign(devices=("host",)), GRAPH, items(), tmp_path / "ledger.sqlite", executor=executor, opener=open_device)


def test_no_scheduler() -> None:
    with pytest.raises(EdgeChaosError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        DaskExecutor(Setup(to_bytes(GRAPH), items(), open_device), "tcp://127.0.0.1:9", connect_timeout_s=0.5)
