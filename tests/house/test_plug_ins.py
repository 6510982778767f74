"""Executors and kinds of projects come by name; an installed package adds its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgechaos.devices.registry import open_device
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.project import PROJECTS
from edgechaos.graph.artifact import save, to_bytes
from edgechaos.hil.execute.evaluate import Setup
from edgechaos.hil.execute.executors import EXECUTORS, is_local, open_executor
from edgechaos.hil.execute.pool import PoolExecutor
from edgechaos.support.errors import ConfigError
from tests.helpers.campaigns import GRAPH, items
from tests.helpers.extend import install, run
from tests.helpers.graphs import chaos_graph

SETUP = Setup(to_bytes(GRAPH), items(), open_device)
PLUG_IN = {
    "lab/__init__.py": "",
    "lab/queue.py": """
from edgechaos.hil.execute.executor import Executor
from edgechaos.hil.execute.pool import PoolExecutor


class Queue(Executor):
    local = False

    def __init__(self, argument, setup, timeout):
        assert argument == "night"
        self.pool = PoolExecutor(setup, workers=1, trial_timeout_s=timeout)

    @classmethod
    def of(cls, argument, setup, trial_timeout_s):
        return cls(argument, setup, trial_timeout_s)

    def run(self, work):
        return self.pool.run(work)

    def close(self):
        self.pool.close()
""",
    "lab/listing.py": """
from edgechaos.firmware_gen.project import Made, Project
from edgechaos.support.files import write_atomic


def make(firmware, folder, compiler):
    path = write_atomic(folder / "files.txt", "\\n".join(sorted(firmware.files)))
    return Made(path, {"files": len(firmware.files)}, (f"{path}: {firmware.board.name}",))


LISTING = Project("a list of the sources", make)
""",
    "pyproject.toml": """
[project]
name = "lab"
version = "0.1"

[project.entry-points."edgechaos.executors"]
queue = "lab.queue:Queue"

[project.entry-points."edgechaos.projects"]
listing = "lab.listing:LISTING"
""",
    "proof.py": """
import numpy as np
from edgechaos import run
from edgechaos.devices.conformance import GRAPHS
from edgechaos.hil.campaign.reading import read_campaign
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.runner import run_campaign

graph = GRAPHS["parallel"]
codes = np.random.default_rng(0).integers(0, 128, (4, 70)).astype(np.int8)
items = EvaluationSet("noise", codes, run(graph, codes).labels.astype(np.int64))
found = [run_campaign(read_campaign("campaign.toml"), graph, items, f"{k}.sqlite", executor=e) for k, e in enumerate(("queue:night", None))]
assert found[0].to_json() == found[1].to_json()
""",
    "campaign.toml": """
name = "queued"
devices = ["fake"]
masks = 2
images = { count = 4 }
sweep = [{ fault = "dead", rates = [0.5] }]
""",
}


def test_a_package_adds_an_executor_and_a_kind_of_project(tmp_path: Path) -> None:
    install(PLUG_IN, tmp_path)
    campaign = run(tmp_path)
    assert campaign.returncode == 0, campaign.stderr
    save(chaos_graph(), tmp_path / "model.ecm")
    built = run(tmp_path, "-m", "edgechaos", "build", "model.ecm", "--project", "listing", "-o", "out")
    assert built.stdout.splitlines()[-1] == "out/files.txt: mps2-an386", built.stderr
    assert json.loads((tmp_path / "out" / "build.json").read_text())["files"] == len((tmp_path / "out" / "files.txt").read_text().split())


def test_executors_by_name() -> None:
    assert (is_local("pool"), is_local("pool:3"), is_local("dask:tcp://a:1")) == (True, True, False)
    with open_executor("pool:3", SETUP, 7.0) as pool:
        assert isinstance(pool, PoolExecutor)
        assert (pool._count, pool._timeout_s) == (3, 7.0)
    assert EXECUTORS.names()[:2] == ("pool", "dask")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pol", "no executor 'pol', did you mean 'pool'\\?; there are pool, dask"),
        ("pool:0", "'pool:0': not a number of workers; write pool:4"),
        ("pool:many", "'pool:many': not a number of workers"),
        ("dask", "'dask' needs a scheduler's address; write dask:tcp://host:8786"),
    ],
)
def test_executors_that_there_are_not(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_executor(spec, SETUP, 7.0)


def test_projects_of_this_host(tmp_path: Path) -> None:
    assert PROJECTS.names()[:3] == ("elf", "library", "server")
    firmware = generate(chaos_graph(), None)
    for name, file in (("library", "libtiny.so"), ("server", "tiny-server")):
        project = PROJECTS.load(name)
        assert not project.for_board
        made = project.make(firmware, tmp_path, "zig")
        assert made.path == tmp_path / file
        assert made.record["firmware_hash"] == firmware.firmware_hash
        with pytest.raises(ConfigError, match="what runs on this host is built by zig, not by 'gcc'"):
            project.make(firmware, tmp_path, "gcc")
    with pytest.raises(ConfigError, match="no project 'elv', did you mean 'elf'"):
        PROJECTS.load("elv")
