"""Runs tests in one private copy of the tree: a process that has imported the libraries forks a child per mutant.

A plain script (`worker.py COPY`), so that it imports nothing of the copy itself. Reads requests and writes answers as JSON
lines. A child that uses up its CPU seconds ends by SIGXCPU: that does not depend on what else the machine does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("numpy", "scipy.stats", "hypothesis", "hypothesis.strategies", "pytest", "cattrs", "safetensors.numpy", "click", "rich.table"),
    *("jinja2", "cobs.cobs", "serial", "filelock", "platformdirs", "sqlite3", "ctypes", "xml.etree.ElementTree", "multiprocessing.pool"),
    *("pytest_timeout", "xdist", "importlib.metadata", "concurrent.futures", "_hypothesis_pytestplugin", "hypothesis.extra.numpy"),
)
MEMORY_BYTES = 6 << 30
WALL_S = 1800.0
"""A last guard for a test that waits for ever without using CPU; pytest-timeout ends such a test long before."""


class Report:
    """The pytest plug-in that remembers the first failure, and the CPU seconds of each argument."""

    def __init__(self, tests: list[str]) -> None:
        self.first = ""
        self.tests = 0
        self.cpu_s = dict.fromkeys(tests, 0.0)
        self._before = 0.0

    def pytest_runtest_logstart(self) -> None:
        self._before = sum(os.times()[:4])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        (argument,) = (test for test in self.cpu_s if nodeid.startswith(test))
        self.cpu_s[argument] += sum(os.times()[:4]) - self._before

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.tests += report.when == "call"
        if report.failed and not self.first:
            self.first = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.first:
            self.first = f"{report.nodeid} (collection)"


def run_tests(tests: list[str], cpu_s: float, log: Path, write_bytecode: bool) -> None:
    """The child: never returns. Exit code as pytest's; the first failure is in `log`."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.dont_write_bytecode = not write_bytecode
    with log.with_suffix(".out").open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import hypothesis
    import pytest

    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutation")
    report = Report(tests)
    code = pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[report])
    log.write_text(json.dumps({"first": report.first, "tests": report.tests, "of_tests": report.cpu_s}))
    sys.stdout.flush()
    os._exit(int(code))


def wait(child: int) -> tuple[int, resource.struct_rusage]:
    """The child's status and what it used, its own children included; killed where the last guard is passed."""
    end = time.monotonic() + WALL_S
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)


def answer(copy: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Applies the change, runs the tests, takes it back."""
    file = copy / request["file"] if request["file"] else None
    before = file.read_bytes() if file else b""
    log = copy / ".mutation.json"
    for left in (log, log.with_suffix(".out")):
        left.unlink(missing_ok=True)
    try:
        if file:
            file.write_bytes(request["content"].encode())
            # By its time in whole seconds and its size, old bytecode could pass for that of the changed file.
            for stale in file.parent.joinpath("__pycache__").glob(f"{file.stem}.*.pyc"):
                stale.unlink()
        child = os.fork()
        if child == 0:
            try:
                run_tests(request["tests"], request["cpu_s"], log, write_bytecode=file is None)
            finally:
                os._exit(70)
        status, usage = wait(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what a test started and did not end
    finally:
        if file:
            file.write_bytes(before)
    found = json.loads(log.read_text()) if log.exists() else {}
    stopped = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -stopped
    output = log.with_suffix(".out").read_text(errors="replace")[-4000:] if code != 0 else ""
    return {"code": code, "cpu_s": usage.ru_utime + usage.ru_stime, "output": output, **found}


def main(copy: Path) -> None:
    """Answers until the input ends."""
    os.chdir(copy)
    sys.path[0] = str(copy)
    os.environ["PYTHONPATH"] = str(copy)
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(answer(copy, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
