"""Dead units found and made up for: accuracy before and after, 30 masks of permanently dead hidden units, MNIST, int8, host library.

    EDGECHAOS_DATA=folder python benchmarks/repair.py -o repair

Needs the four MNIST files ($EDGECHAOS_DATA/mnist, or --download). Trains three networks (PTQ) with three seeds each; for each mask the
device is damaged, diagnosed from 64 test items, what reads the dead units is fitted on the first FIT_ITEMS training images, sent, compared
bit for bit, and measured on the 10,000 test images before and after. Intervals are over masks, of all trainings; the mean of each training
stands beside them. Writes `results.json` after every mask: a run that is stopped goes on where it was. Exit code 1 where a mean misses its
goal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mnist_pixels import Results

from edgechaos import data, reference
from edgechaos.data import Dataset
from edgechaos.devices.registry import open_device
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.repair import mend
from edgechaos.hil.repair.damaged import DamagedDevice
from edgechaos.hil.repair.diagnose import diagnose
from edgechaos.hil.repair.refit import Items
from edgechaos.models.build import build, recipe_for
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.statistics import mean_over_masks
from edgechaos.train.fit import Recipe, train

FIT_ITEMS, PROBES, MASKS, SEEDS = 20_000, 64, 30, 3
RATES = (0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Net:
    """side: of the image. goals: accuracies after repair, by rate."""

    title: str
    model: str
    side: int
    options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    goals: tuple[float, float]


NETS: Mapping[str, Net] = MappingProxyType(
    {
        "mlp": Net("MLP 784-64, plain", "mlp", 28, {"hidden": (64,)}, {"epochs": 12}, (0.93, 0.82)),
        "pixels": Net(
            "ChaosNet 784-64-10, plain",
            "pixels",
            28,
            {"hidden": (64,), "ticks": 10},
            {"epochs": 12, "batch": 256, "learning_rate": 5e-3, "weight_decay": 0.1},
            (0.93, 0.87),
        ),
        "mlp196": Net("MLP 196-96, trained with death", "mlp", 14, {"hidden": (96,)}, {"epochs": 20, "dead": 0.75}, (0.958, 0.929)),
    }
)


def main() -> int:
    """Run what is missing, print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("repair"))
    parser.add_argument("--download", action="store_true", help="fetch MNIST into the cache")
    parser.add_argument("--masks", type=int, default=MASKS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mnist = data.load("mnist", download=options.download)
    settings = hashlib.sha256(repr((FIT_ITEMS, PROBES, sorted(NETS.items()))).encode()).hexdigest()
    results = Results(options.output / "results.json", settings)
    for name, seed in product(NETS, range(SEEDS)):
        net = NETS[name]
        items = mnist if net.side == 28 else pooled(mnist)
        graph = trained(options.output / f"{name}-{seed}.ecm", net, items, seed)
        for rate, mask in product(RATES, range(options.masks)):
            key = f"{name} {seed} {rate} {mask}"
            results.get(key, partial(mended, graph, items, rate, mask))
            print(f"{key}: {json.dumps(results.values[key])}", file=sys.stderr, flush=True)
    return report(results, options.masks)


def pooled(mnist: Dataset) -> Dataset:
    """The means of 2 x 2 pixels."""

    def smaller(images: Any) -> Any:
        return images.reshape(-1, 14, 2, 14, 2).astype(np.float32).mean(axis=(2, 4)).round().astype(np.uint8)

    return replace(mnist, name="mnist14", train_items=smaller(mnist.train_items), test_items=smaller(mnist.test_items))


def trained(path: Path, net: Net, items: Dataset, seed: int) -> IntegerGraph:
    """The int8 graph, from the file where it is there already."""
    if not path.exists():
        recipe = Recipe(**{**recipe_for(net.model), "omission": 0.0, "seed": seed, **net.recipe})
        path.parent.mkdir(parents=True, exist_ok=True)
        artifact.save(quantize(train(build(net.model, items, seed=seed, **net.options), items, recipe), items, method="ptq"), path)
    return artifact.load(path)


def mended(graph: IntegerGraph, items: Dataset, rate: float, mask: int) -> dict[str, Any]:
    """One mask on the host library: diagnosed, fitted, sent, measured."""
    damage = resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=mask),)))
    head = graph.heads[0].name
    test = Items(reference.encode(graph, items.test_items), items.test_labels, head)
    fit = Items(reference.encode(graph, items.train_items[:FIT_ITEMS]), items.train_labels[:FIT_ITEMS], head)
    device = DamagedDevice(open_device("host", graph), damage)
    with device:
        info = device.open()
        found = diagnose(device, info, graph, test.codes[:PROBES], head=head)
        repair = mend.plan_repair(graph, found, fit)
        got = mend.send(device, info, repair, test)
    truth = {int(u) for mask_ in damage.slots.values() for u in np.flatnonzero(mask_)}
    return {
        "found": found.certain and {*found.layers[-1].dead} == truth,
        "inferences": found.inferences,
        "words": sum(repair.changed.values()),
        "before": got.before.value,
        "after": got.after.value,
    }


def report(results: Results, masks: int) -> int:
    """Print a Markdown table; 1 where a mean misses its goal."""
    print("| network | dead | masks found | before | after | of each training | worst mask after | changed words | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = 0
    for name, net in NETS.items():
        for rate, goal in zip(RATES, net.goals, strict=True):
            trainings = [[results.values[f"{name} {seed} {rate} {mask}"] for mask in range(masks)] for seed in range(SEEDS)]
            runs = [run for training in trainings for run in training]
            before, after = (mean_over_masks([run[key] for run in runs]) for key in ("before", "after"))
            words = np.mean([run["words"] for run in runs])
            cells = [f"{100 * e.value:.2f} [{100 * e.low:.2f}, {100 * e.high:.2f}]" for e in (before, after)]
            reached = "met" if after.low >= goal else "mean met" if after.value >= goal else "missed"
            missed += after.value < goal
            found = f"{sum(run['found'] for run in runs)} of {len(runs)}"
            means = ", ".join(f"{100 * float(np.mean([run['after'] for run in training])):.2f}" for training in trainings)
            worst = f"{100 * min(run['after'] for run in runs):.2f}"
            row = [net.title, f"{rate:.0%}", found, *cells, means, worst, f"{words:.0f}", f"{100 * goal:.1f}: {reached}"]
            print("| " + " | ".join(row) + " |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
