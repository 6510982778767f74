"""Faults per second of a campaign that flips single bits in an emulated Cortex-M4, and of a fresh emulator per fault.

    python benchmarks/memory_flips.py [--faults 10000] [--workers 2]

Half of the faults flip a bit of the first matrix' weights in flash, half one of RAM, at random sites; one fault is one plan, one item, one
inference of pixels 784-64-10 with 10 ticks. Wall time holds everything: processes, resolving, clean runs, the ledger. The other way, that
of a tool that starts the emulator anew for each fault, opens the device, injects, infers and closes it, the clean run known. CPU seconds
are those of the whole process tree: on a machine that does other work too, they and not the wall say what a quiet one takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from edgechaos.devices.registry import open_device
from edgechaos.faults.kinds.memory_bits import MemoryBits
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.hil.campaign.config import Campaign, Images, Sweep
from edgechaos.hil.execute.evaluate import EvaluationSet
from edgechaos.hil.runner import run_campaign
from edgechaos.reference import run
from edgechaos.support.errors import DeviceError

MODEL = Path(__file__).with_name("pixels.ecm")
DEVICE = "unicorn:mps2-an386"
REGIONS = ("cortex0_matmul_weight_rows", ".bss")
FRESH = 20


def main() -> None:
    """Measure both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    graph = artifact.load(MODEL)
    codes = np.random.default_rng(1).integers(0, 128, (1, graph.tensors[graph.heads[0].input].size)).astype(np.int8)
    items = EvaluationSet("noise", codes, run(graph, codes).labels.astype(np.int64))
    open_device(DEVICE, graph).close()  # the firmware is built once, and not measured
    sweeps = tuple(Sweep("memory_bits", values=(1.0,), options={"region": region}) for region in REGIONS)
    masks = given.faults // len(sweeps)
    campaign = Campaign("memory flips", sweeps, devices=(DEVICE,), masks=masks, images=Images(1))
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu = time.perf_counter(), _cpu_s()
        results = run_campaign(campaign, graph, items, Path(folder) / "ledger.sqlite", workers=given.workers)
        wall_s, cpu_s = time.perf_counter() - begun, _cpu_s() - cpu
    faults = masks * len(sweeps)
    begun, cpu = time.perf_counter(), _cpu_s()
    for seed in range(FRESH):
        with open_device(DEVICE, graph) as device:
            device.inject(resolve(graph, FaultPlan((MemoryBits(flips=1, seed=seed, region=REGIONS[seed % 2]),))))
            try:
                device.infer(codes)
            except DeviceError:
                continue
    fresh_wall_s, fresh_cpu_s = (time.perf_counter() - begun) / FRESH, (_cpu_s() - cpu) / FRESH
    print(f"{faults:,} faults, {given.workers} workers, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(
        f"campaign: {faults / wall_s:,.0f} faults/s of wall, {faults / cpu_s:,.0f} per CPU second ({1e3 * cpu_s / faults:.2f} ms CPU each)"
    )
    print(f"fresh emulator per fault: {1 / fresh_wall_s:,.1f} faults/s of wall, {1 / fresh_cpu_s:,.1f} per CPU second")
    print(f"ratio: {fresh_cpu_s / (cpu_s / faults):,.0f} times in CPU seconds")
    print(*results.statements(), sep="\n")


def _cpu_s() -> float:
    """Of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
