"""Draws mutants by a seed, runs the tests against each, and says which survive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import click

from tests.helpers.places import ROOT
from tests.mutation.draw import drawn, equivalents
from tests.mutation.mutants import OPERATORS, Mutant
from tests.mutation.targets import Target

Status = Literal["killed", "timed out", "survived", "not applicable"]
SPARE_S, FACTOR = 10.0, 4.0
"""A mutant may use FACTOR times the CPU seconds of the unchanged code, and SPARE_S more."""
DOES_NOT_COMPILE = "the compiler refused the sources"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one mutant. by: the test that failed first."""

    mutant: Mutant
    status: Status
    cpu_s: float
    by: str = ""


class Worker:
    """A process with a private copy of the tree."""

    def __init__(self, folder: Path) -> None:
        self.copy = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, listed.split("\0")):
            source, to = ROOT / name, folder / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink() or source.exists():
                shutil.copy2(source, to, follow_symlinks=False)
        command = [sys.executable, str(ROOT / "tests" / "mutation" / "worker.py"), str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, tests: tuple[str, ...], cpu_s: float, mutant: Mutant | None = None) -> dict[str, Any]:
        """Run the tests, against the mutant or the unchanged tree."""
        content = mutant.applied((ROOT / mutant.file).read_bytes()).decode() if mutant else ""
        request = {"file": mutant.file if mutant else "", "content": content, "tests": tests, "cpu_s": cpu_s}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a worker ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process and its copy."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(jobs: int) -> Iterator[list[Worker]]:
    """One private copy each, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="edgechaos-mutation-") as folder:
        started = [Worker(Path(folder) / str(k)) for k in range(jobs)]
        try:
            yield started
        finally:
            for worker in started:
                worker.close()


class Campaign:
    """Runs mutants on a pool of workers; what the unchanged code needs is measured once per file of tests."""

    def __init__(self, started: list[Worker], say: bool) -> None:
        self.say = say
        self.free: SimpleQueue[Worker] = SimpleQueue()
        for worker in started:
            self.free.put(worker)
        self.cpu_s: dict[str, float] = {}
        self.start_s = 0.0

    def limit(self, tests: tuple[str, ...]) -> float:
        """CPU seconds that a mutant may use."""
        return FACTOR * (self.start_s + sum(self.cpu_s[test] for test in tests)) + SPARE_S

    def measure(self, tests: tuple[str, ...]) -> None:
        """The CPU seconds that the unchanged code needs, for each of these and to start at all. Raises RuntimeError where a test fails."""
        worker = self.free.get()
        try:
            answer = worker.ask(tests, 3600.0)
        finally:
            self.free.put(worker)
        if answer["code"] != 0:
            raise RuntimeError(f"the unchanged code fails {answer.get('first') or 'to run'}; mend that first\n{answer['output']}")
        self.cpu_s |= answer["of_tests"]
        self.start_s = max(self.start_s, answer["cpu_s"] - sum(answer["of_tests"].values()))
        if self.say:
            print(f"unchanged: {answer['cpu_s']:.1f} CPU s, {answer['tests']} tests of {len(tests)} files", file=sys.stderr, flush=True)

    def run(self, target: Target, mutant: Mutant) -> Outcome:
        """One mutant."""
        worker = self.free.get()
        try:
            answer = worker.ask(target.tests, self.limit(target.tests), mutant)
        finally:
            self.free.put(worker)
        first, code = answer.get("first", ""), answer["code"]
        status: Status = "killed"
        if code == 0:
            status = "survived"
        elif code in (-24, -9) and not first:  # SIGXCPU, and the hard limit behind it
            status = "timed out"
        elif DOES_NOT_COMPILE in answer["output"] and mutant.file.endswith((".c", ".h")):
            status = "not applicable"
        elif code in (2, 3, 4, 5) and not first:
            raise RuntimeError(f"pytest ended with {code} and no failure\n{answer['output']}")
        outcome = Outcome(mutant, status, answer["cpu_s"], first)
        if self.say:
            by = f"  {first.rpartition('/')[2]}" if first else ""
            print(f"{status:14} {outcome.cpu_s:5.1f} s  {mutant.file}:{mutant.line} {mutant.operator}{by}", file=sys.stderr, flush=True)
        return outcome


def run(
    seed: int, count: int, jobs: int, only: tuple[str, ...] = (), operators: tuple[str, ...] = OPERATORS, say: bool = True
) -> tuple[list[Outcome], list[dict[str, str]]]:
    """The outcomes of `count` mutants that apply, those that do not besides, and the equivalent ones met on the way."""
    known = {(e.file, e.was, e.becomes): e.reason for e in equivalents()}
    left_out: list[dict[str, str]] = []

    def candidates() -> Iterator[tuple[Target, Mutant]]:
        for target, mutant in drawn(seed, only, operators):
            key = (mutant.file, *mutant.lines((ROOT / mutant.file).read_bytes()))
            if key in known:
                left_out.append({"file": key[0], "was": key[1], "becomes": key[2], "reason": known[key]})
            else:
                yield target, mutant

    order, done = candidates(), list[Outcome]()
    with workers(jobs) as started, ThreadPoolExecutor(jobs) as threads:
        campaign = Campaign(started, say)
        while (missing := count - sum(o.status != "not applicable" for o in done)) > 0:
            part = [pair for pair, _ in zip(order, range(missing), strict=False)]
            if not part:
                break
            unknown = sorted({test for target, _ in part for test in target.tests} - campaign.cpu_s.keys())
            list(threads.map(campaign.measure, (tuple(unknown[k::jobs]) for k in range(min(jobs, len(unknown))))))
            done += threads.map(lambda pair: campaign.run(*pair), part)
    return done, left_out


def summary(done: list[Outcome]) -> dict[str, Any]:
    """Figures over all, and per area of code."""
    counts = {status: sum(o.status == status for o in done) for status in ("killed", "timed out", "survived", "not applicable")}
    valid = len(done) - counts["not applicable"]
    killed = counts["killed"] + counts["timed out"]
    return {**counts, "mutants": valid, "killed_share": killed / valid if valid else 1.0, "cpu_s": sum(o.cpu_s for o in done)}


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Mutants that compile.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--only", multiple=True, metavar="WORD", help="An area, or part of a file's name; may be repeated.")
@click.option("--operator", "operators", multiple=True, type=click.Choice(OPERATORS), help="These kinds of change alone.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every outcome there.")
@click.option("--at-least", type=click.FloatRange(0, 1), default=0.95, show_default=True, help="Share killed, else exit code 1.")
def main(
    seed: int, count: int, jobs: int, only: tuple[str, ...], operators: tuple[str, ...], json_path: Path | None, at_least: float
) -> None:
    """Change the code in small ways, one at a time, and see whether the tests notice."""
    begun = time.monotonic()
    done, left_out = run(seed, count, jobs, only, operators or OPERATORS)
    figures = summary(done)
    for outcome in done:
        if outcome.status in ("survived", "timed out"):
            print(f"\n{outcome.status}:\n{outcome.mutant.diff((ROOT / outcome.mutant.file).read_bytes())}")
    if left_out:
        print(f"\nleft out as equivalent, with the reason (tests/mutation/equivalent.toml): {len(left_out)}")
        for entry in left_out:
            print(f"  {entry['file']}: {entry['becomes']}: {entry['reason']}")
    print(
        f"\nseed {seed}: {figures['mutants']} mutants, {figures['killed_share']:.1%} killed: {figures['killed']} by a test, "
        f"{figures['timed out']} by time-out; {figures['survived']} survived; {figures['not applicable']} more did not compile; "
        f"{figures['cpu_s'] / max(len(done), 1):.1f} CPU s each, {time.monotonic() - begun:.0f} s in all"
    )
    if json_path:
        outcomes = [{**asdict(o.mutant), "status": o.status, "cpu_s": o.cpu_s, "by": o.by} for o in done]
        json_path.write_text(json.dumps({"seed": seed, **figures, "equivalent": left_out, "outcomes": outcomes}, indent=1))
    sys.exit(figures["killed_share"] < at_least)


if __name__ == "__main__":
    main()
