"""Faults per second of campaigns that flip single bits in an emulated Cortex-M4, and of a fresh emulator per fault.

    python benchmarks/memory_flips.py [--faults 10000] [--workers 2]

Half of the faults flip a bit of the first matrix' weights in flash, half one of RAM, at random sites; one fault is one plan, one item, one
inference of pixels 784-64-10 with 10 ticks. Three campaigns: `masks`, where each pair of faults has random words and clean runs of its own;
`sites`, a sample of single faults that share eight of these; `pruned`, the same where def-use pruning infers what need not be run. Wall
time holds everything: processes, resolving, clean runs, the ledger. The other way, that of a tool that starts the emulator anew for each
fault, opens the device, injects, infers and closes it, the clean run known. CPU seconds are those of the whole process tree, the
campaign's own process apart: on a machine that does other work too, they and not the wall say what a quiet one takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.devices.registry import open_device
from edgechaos.faults.kinds.memory_bits import MemoryBits
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.config import Campaign, Images, Sample, Sweep
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.runner import run_campaign
from edgechaos.reference import run
from edgechaos.support.errors import DeviceError

MODEL = Path(__file__).with_name("pixels.ecm")
BOARD = "mps2-an386"
DEVICE = f"unicorn:{BOARD}"
REGIONS = ("cortex0_matmul_weight_rows", ".bss")
FRESH = 20


def main() -> None:
    """Measure every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    graph = artifact.load(MODEL)
    codes = np.random.default_rng(1).integers(0, 128, (1, graph.tensors[graph.heads[0].input].size)).astype(np.int8)
    items = EvaluationSet("noise", codes, run(graph, codes).labels.astype(np.int64))
    open_device(DEVICE, graph).close()  # the firmware is built once, and not measured
    fresh_s, fresh_cpu_s = _fresh(graph, codes)
    print(f"{given.faults:,} faults, {given.workers} workers, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':<8}{'faults/s':>10}{'per core':>10}{'ms CPU each':>13}{'of it parent':>14}{'fresh / this, CPU':>19}{'inferred':>10}")
    for campaign in _campaigns(graph, given.faults):
        with tempfile.TemporaryDirectory() as folder:
            begun, cpu = time.perf_counter(), _cpu_s()
            results = run_campaign(campaign, graph, items, Path(folder) / "ledger.sqlite", workers=given.workers)
            wall_s, (own_s, children_s) = time.perf_counter() - begun, np.subtract(_cpu_s(), cpu)
        faults, each_s = 2 * (given.faults // 2), (own_s + children_s) / (2 * (given.faults // 2))
        inferred = results.about["trials"].get("inferred", 0) / faults
        print(
            f"{campaign.name:<8}{faults / wall_s:>10,.0f}{faults / wall_s / given.workers:>10,.0f}{1e3 * each_s:>13.2f}"
            f"{1e3 * own_s / faults:>14.2f}{fresh_cpu_s / each_s:>19,.0f}{inferred:>10.0%}"
        )
    print(f"{'fresh':<8}{1 / fresh_s:>10,.1f}{1 / fresh_s:>10,.1f}{1e3 * fresh_cpu_s:>13,.0f}")


def _campaigns(graph: IntegerGraph, faults: int) -> list[Campaign]:
    about: dict[str, Any] = {"devices": (DEVICE,), "masks": faults // 2, "images": Images(1)}
    image = load_elf(emulated_firmware(graph, BOARD))
    spans = [(start & ~3, (end - start) // 4) for start, end in map(image.region, REGIONS)]
    sweeps = tuple(Sweep("memory_bits", values=(1.0,), options={"region": region}) for region in REGIONS)
    samples = tuple(Sample("ram_bit_flip", faults // 2, (), options={"address": a, "words": n}) for a, n in spans)
    return [
        Campaign("masks", sweeps, **about),
        Campaign("sites", sample=samples, **about),
        Campaign("pruned", sample=samples, prune=True, **about),
    ]


def _fresh(graph: IntegerGraph, codes: NDArray[np.int8]) -> tuple[float, float]:
    """Seconds of wall and of CPU per fault, an emulator each."""
    begun, cpu = time.perf_counter(), sum(_cpu_s())
    for seed in range(FRESH):
        with open_device(DEVICE, graph) as device:
            device.inject(resolve(graph, FaultPlan((MemoryBits(flips=1, seed=seed, region=REGIONS[seed % 2]),))))
            try:
                device.infer(codes)
            except DeviceError:
                continue
    return (time.perf_counter() - begun) / FRESH, (sum(_cpu_s()) - cpu) / FRESH


def _cpu_s() -> tuple[float, float]:
    """Of this process, and of its children that have ended."""
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


if __name__ == "__main__":
    main()
