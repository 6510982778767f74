"""`make bench`: instructions of the models of `models/manifest.toml`, and throughput of one of them beside torch in the same run.

Instruction counts are emulated, exact and the same on every machine: means over the first 100 test items, firmware of zig at -O2 without
fault hooks, and with hooks that no fault uses. They are compared with `baseline.json`; what grew by more than 2 % fails the run. `share` is
of the first table that there was, which the file keeps. Wall times are measured here and printed as ratios of two programs on the same
core. `--update` writes the baseline anew; `--only MODEL` counts that model and nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgechaos import reference
from edgechaos.data import load
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.host import HostDevice
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.weighted import Summing
from edgechaos.support.files import write_atomic
from edgechaos.support.settings import read_toml, structure

HERE = Path(__file__).parent
MANIFEST = HERE / "models" / "manifest.toml"
BASELINE = HERE / "baseline.json"
HOOKS = ("out", "idle")
TOLERANCE = 0.02
BOARD = "mps2-an386"
BATCH = 256
ROUNDS = 7
COUNTED_ITEMS = 100
PLAN = FaultPlan((Omission(rate=0.5), DeadNeurons(rate=0.2, seed=1)))
"""What the throughput of the host library and of torch is compared under: the same masks for both."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the manifest, whose comments say what the fields mean."""

    artifact: str
    hash: str
    trained: str
    items: str
    kernel: Choice = "auto"

    def load(self, name: str) -> tuple[IntegerGraph, NDArray[Any]]:
        """The graph and the codes of the items. Raises SystemExit where the file is another model."""
        graph = artifact.load(MANIFEST.parent / self.artifact)
        if artifact.content_hash(graph) != self.hash:
            raise SystemExit(f"{self.artifact} is not the model '{name}' of {MANIFEST}: its hash is {artifact.content_hash(graph)}")
        if self.items.endswith(".npz"):
            with np.load(MANIFEST.parent / self.items) as file:
                return graph, file["codes"][:COUNTED_ITEMS]
        return graph, reference.encode(graph, load(self.items).test_items[:COUNTED_ITEMS])


def manifest() -> dict[str, Entry]:
    """The models by name."""
    return {name: structure(fields, Entry, f"{MANIFEST}: [{name}]") for name, fields in read_toml(MANIFEST, "manifest").items()}


def counts(name: str, entry: Entry) -> dict[str, Any]:
    """Instructions per inference by hooks, with the mean over the items by class and the size of the firmware."""
    graph, codes = entry.load(name)
    expected = reference.run(graph, codes).logits
    found: dict[str, Any] = {"macs": sum(n.macs(graph) for n in graph.weighted() if isinstance(n, Summing))}
    for hooks in HOOKS:
        with tempfile.TemporaryDirectory() as folder:
            built = build(generate(graph, load_board(BOARD), kernel=entry.kernel, faults=hooks == "idle"), folder)
            with EmulatedDevice(graph, built.elf, BOARD) as device:
                result = device.infer(codes)
                mix = device.counters().instructions
        if result.instructions is None or not np.array_equal(result.logits, expected):
            raise SystemExit(f"{name}, hooks {hooks}: not the reference's integers: no count of it means anything")
        found[hooks] = {
            "instructions": float(result.instructions.mean()),
            **{f"class {kind}": count / len(codes) for kind, count in sorted(mix.items())},
            "flash_bytes": float(built.flash_bytes),
        }
    return found


def rate(run: Callable[[], object], items: int) -> float:
    """Items per second, the median of some rounds after one to warm up."""
    run()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return items / statistics.median(seconds)


def throughput(graph: IntegerGraph, items: NDArray[np.uint8], codes: NDArray[np.int8]) -> dict[str, float]:
    """Inferences per second of the host library, the NumPy reference, the emulator and torch, one thread each."""
    import torch

    from edgechaos.faults.plan import apply
    from edgechaos.models import checkpoint
    from edgechaos.models.evaluate import evaluate_under

    torch.set_num_threads(1)
    model = checkpoint.load(HERE / "pixels.safetensors")
    plan = resolve(graph, PLAN)
    faulty = apply(graph, plan)
    found = {"torch, batch 256": rate(lambda: evaluate_under(model, items, plan, batch=BATCH), len(items))}
    found["NumPy reference"] = rate(lambda: reference.run(faulty, codes), len(codes))
    with HostDevice(graph) as host:
        host.inject(plan)
        found["host library"] = rate(lambda: host.infer(codes), len(codes))
    with tempfile.TemporaryDirectory() as folder:
        built = build(generate(graph, load_board(BOARD)), folder)
        with EmulatedDevice(graph, built.elf, BOARD) as device:
            device.inject(plan)
            found["emulated Cortex-M4"] = rate(lambda: device.infer(codes[:COUNTED_ITEMS]), COUNTED_ITEMS)
    return found


def compare(document: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """What is worse than the baseline: instruction counts and flash only, which do not depend on the machine."""
    worse = []
    for name, found in document["models"].items():
        for hooks in HOOKS:
            for figure in ("instructions", "flash_bytes"):
                now, then = found[hooks][figure], baseline["models"][name][hooks][figure]
                if now > then * (1 + TOLERANCE):
                    worse.append(f"{name}, hooks {hooks}: {figure} {now:,.0f}, the baseline has {then:,.0f} (x {now / then:.3f})")
    return worse


def show(document: dict[str, Any], first: dict[str, float]) -> None:
    """Two tables on stdout."""
    console = Console(width=max(100, Console().width))
    console.print(f"{BOARD}, emulated (counted), means over {COUNTED_ITEMS} test items", style="italic")
    table = Table("model", "hooks out", "per MAC", "share", "hooks idle", "idle / out", "flash, bytes", box=None)
    for name, found in document["models"].items():
        out, idle = (found[hooks]["instructions"] for hooks in HOOKS)
        flash = f"{found['out']['flash_bytes']:,.0f}"
        table.add_row(
            name, f"{out:,.0f}", f"{out / found['macs']:.3f}", f"{out / first[name]:.3f}", f"{idle:,.0f}", f"{idle / out:.3f}", flash
        )
    console.print(table)
    if "inferences_per_s" not in document:
        return
    console.print("\nmeasured here, one thread, same masks (50 % omission, 20 % dead neurons), median of 7 rounds", style="italic")
    table = Table("program", "inferences / s", "vs torch", box=None)
    peer = document["inferences_per_s"]["torch, batch 256"]
    for name, value in document["inferences_per_s"].items():
        table.add_row(name, f"{value:,.0f}", f"x {value / peer:.2f}")
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)


def main() -> int:
    """Measure, show, compare; 1 where a count grew."""
    models = manifest()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--counts-only", action="store_true", help="leave out what is measured in seconds")
    parser.add_argument("--only", action="append", choices=models, metavar="MODEL", help=f"repeatable: {', '.join(models)}")
    options = parser.parse_args()
    document: dict[str, Any] = {"models": {name: counts(name, models[name]) for name in options.only or models}}
    if not options.counts_only and not options.only:
        items = load("mnist5k").test_items
        graph = artifact.load(HERE / "pixels.ecm")
        document["inferences_per_s"] = throughput(graph, items, reference.encode(graph, items))
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"models": {}, "first": {}}
    now = {name: found["out"]["instructions"] for name, found in document["models"].items()}
    first = now | baseline["first"]
    show(document, first)
    if options.update:
        document["models"] = baseline["models"] | document["models"]
        write_atomic(BASELINE, json.dumps(baseline | document | {"first": first}, indent=2) + "\n")
        return 0
    worse = compare(document, baseline) if baseline["models"] else ["there is no baseline; write it with --update"]
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
