"""`make bench`: instructions and throughput of one pixels ChaosNet, beside the torch model in the same run.

Instruction counts are emulated, exact and the same on every machine: they are compared with `baseline.json`, and a
count that grew fails the run. Wall times are measured here and printed as ratios of two programs on the same core.
`--update` writes the baseline anew. The model is pixels 784-64-10, T = 10 (`benchmarks/pixels.safetensors` and `.ecm`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.files import write_atomic

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
BOARD = "mps2-an386"
BATCH = 256
ROUNDS = 7
COUNTED_ITEMS = 100
PLAN = FaultPlan((Omission(rate=0.5), DeadNeurons(rate=0.2, seed=1)))
"""What the throughput of the host library and of torch is compared under: the same masks for both."""


def counts(graph: IntegerGraph, codes: NDArray[np.int8]) -> dict[str, dict[str, float]]:
    """Instructions per inference by kernel, with the mean over the items and the size of the firmware."""
    found: dict[str, dict[str, float]] = {}
    expected = reference.run(graph, codes).logits
    for kernel in ("dense", "event"):
        with tempfile.TemporaryDirectory() as folder:
            built = build(generate(graph, load_board(BOARD), kernel=kernel), folder)  # type: ignore[arg-type]
            with EmulatedDevice(graph, built.elf, BOARD) as device:
                result = device.infer(codes)
                mix = device.counters().instructions
        if result.instructions is None or not np.array_equal(result.logits, expected):
            raise SystemExit(f"kernel '{kernel}' does not compute the reference's integers: no count of it means anything")
        found[kernel] = {
            "instructions": float(result.instructions.mean()),
            **{f"class {name}": count / len(codes) for name, count in sorted(mix.items())},
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
    for kernel, figures in document["counts"].items():
        for name in ("instructions", "flash_bytes"):
            now, then = figures[name], baseline["counts"][kernel][name]
            if now > then:
                worse.append(f"{kernel}: {name} {now:,.0f}, the baseline has {then:,.0f} (x {now / then:.3f})")
    return worse


def show(document: dict[str, Any], baseline: dict[str, Any] | None) -> None:
    """Two tables on stdout."""
    console = Console(width=max(100, Console().width))
    console.print(f"{BOARD}, emulated (counted) over {COUNTED_ITEMS} test images, fault hooks compiled in", style="italic")
    table = Table("kernel", "instructions / inference", "per MAC", "flash, bytes", "vs baseline", box=None)
    for kernel, figures in document["counts"].items():
        ratio = f"x {figures['instructions'] / baseline['counts'][kernel]['instructions']:.3f}" if baseline else ""
        per_mac = figures["instructions"] / document["macs"]
        table.add_row(kernel, f"{figures['instructions']:,.0f}", f"{per_mac:.3f}", f"{figures['flash_bytes']:,.0f}", ratio)
    console.print(table)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--counts-only", action="store_true", help="leave out what is measured in seconds")
    options = parser.parse_args()
    graph = artifact.load(HERE / "pixels.ecm")
    data = load("mnist5k")
    items = data.test_items
    codes = reference.encode(graph, items)
    macs = sum(graph.value(n.weight).size for n in graph.nodes if hasattr(n, "weight"))
    document: dict[str, Any] = {"model_hash": artifact.content_hash(graph), "macs": macs, "counts": counts(graph, codes[:COUNTED_ITEMS])}
    if not options.counts_only:
        document["inferences_per_s"] = throughput(graph, items, codes)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() and not options.update else None
    if options.counts_only:
        print(json.dumps(document, indent=2))
    else:
        show(document, baseline)
    if options.update:
        write_atomic(BASELINE, json.dumps(document, indent=2) + "\n")
        return 0
    worse = compare(document, baseline) if baseline else ["there is no baseline; write it with --update"]
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
