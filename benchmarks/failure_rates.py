"""How far spikes and neurons can fail: 0 to 99.9 % of them, in evaluation alone and in training too, int8, three training seeds.

    EDGECHAOS_DATA=folder python benchmarks/failure_rates.py -o failure-rates

Needs MNIST and AG News ($EDGECHAOS_DATA, or --download). Writes `results.json` in the output folder after every model, so that a run
that is stopped goes on where it was, and Markdown tables on stdout. --tables prints what is there; --only takes some of the models.

**Evaluated at each rate**: pixels 784-512-10 (T = 5), vision (channels 16 and 32, embed 16, 64 neurons, T = 10) and language (embed 16,
64 neurons, T = 10), trained as train_all.py does, under omission of 0 to 50 %. Every rate is then a fault: intermittent omission, a fresh
draw per item, tick and neuron, or permanent death, the same neurons for every item.
**Trained at each rate**: one network per rate, which acts in training and in evaluation, as published; each is measured without any
failure too. 8 bits by fine-tuning under the same augmentation, all test items on the host library. Intervals are over masks (or draws) and
training seeds, crossed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

import torch
from fault_comparison import percent
from mnist_pixels import Predict, Results, integer_predict
from train_all import SETUPS, Setup

from edgechaos import data
from edgechaos.data import Dataset
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models.build import build as build_model
from edgechaos.models.build import recipe_for
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.statistics import mean_over, mean_over_masks_and_seeds
from edgechaos.train.fit import Recipe, train

RATES = (0.0, 0.5, 0.9, 0.99, 0.999)
SEEDS = range(3)
MASKS = 10
LARGE_LANGUAGE = Setup("language", {"hidden": (512,), "embed": 64, "ticks": 5}, 10, dataset="ag_news")
LANGUAGE_RATES = (0.0, 0.97, 0.99, 0.999)
"""Each in few epochs too: a network that nothing disturbs learns its texts by heart in many."""


@dataclass(frozen=True, slots=True)
class Trainings:
    """One network, trained once per seed and rate. rates: of omission, fixed in training; None: as the setup has it."""

    setup: Setup
    title: str
    rates: Sequence[float | None] = (None,)


MODELS: Mapping[str, Trainings] = MappingProxyType(
    {
        "pixels": Trainings(SETUPS["pixels-512"], "MNIST, pixels 784-512-10"),
        "vision": Trainings(SETUPS["vision-parallel"], "MNIST, vision"),
        "language": Trainings(SETUPS["language"], "AG News, language"),
        "pixels at each rate": Trainings(SETUPS["pixels-512"], "MNIST, pixels 784-512-10", RATES),
        **{
            f"language at each rate, {epochs} epochs": Trainings(
                replace(LARGE_LANGUAGE, epochs=epochs), f"AG News, language, embed 64, 512 neurons, T = 5, {epochs} epochs", LANGUAGE_RATES
            )
            for epochs in (10, 2)
        },
    }
)


def main() -> None:
    """Parse, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("failure-rates"))
    parser.add_argument("--only", metavar="MODEL", action="append", choices=MODELS, help=f"repeatable; models: {', '.join(MODELS)}")
    parser.add_argument("--download", action="store_true", help="fetch the data into the cache")
    parser.add_argument("--tables", action="store_true", help="print the tables of what is there")
    options = parser.parse_args()
    identity = hashlib.sha256(json.dumps([MASKS, {k: asdict(v) for k, v in MODELS.items()}], default=dict).encode()).hexdigest()
    results = Results(options.output / "results.json", identity)
    torch.set_num_threads(1)
    for seed in () if options.tables else SEEDS:
        for name in options.only or MODELS:
            for rate in MODELS[name].rates:
                key = f"{name}, {rate}, seed {seed}"
                results.get(key, partial(measured, MODELS[name], rate, seed, options.download))
                print(key, file=sys.stderr, flush=True)
    print("\n".join([*evaluated_table(results), "", *trained_table(results)]))


def measured(model: Trainings, rate: float | None, seed: int, download: bool) -> dict[str, Any]:
    """Train and quantize one network; accuracies by fault, rate and mask, and the neurons that each rate kills."""
    setup = model.setup
    items = data.load(setup.dataset, download=download)
    augmentation: dict[str, Any] = {} if rate is None else {"omission": rate, "omission_draw": "fixed"}
    recipe = Recipe(**{**recipe_for(setup.model), **setup.recipe, "epochs": setup.epochs, "seed": seed, **augmentation})
    network = train(build_model(setup.model, items, seed=seed, **setup.options), items, recipe)
    graph = quantize(network, items, method="qat", epochs=setup.fine_tuning, seed=seed)
    with integer_predict(graph, items.test_items, "host") as predict:
        if rate is not None:
            return {"omission": {str(r): omitted(graph, items, predict, r) for r in sorted({0.0, rate})}}
        found: dict[str, Any] = {"omission": {str(r): omitted(graph, items, predict, r) for r in RATES}, "dead": {}, "killed": {}}
        for r in RATES:
            found["dead"][str(r)], found["killed"][str(r)] = killed(graph, items, predict, r)
    return {**found, "neurons": sum(layer.units for layer in network.failing_layers())}


def omitted(graph: IntegerGraph, items: Dataset, predict: Predict, rate: float) -> list[float]:
    """Accuracy by draw of the lost spikes."""
    plan = resolve(graph, FaultPlan((Omission(rate=rate),)))
    return [float((predict(plan, draw) == items.test_labels).mean()) for draw in range(MASKS)]


def killed(graph: IntegerGraph, items: Dataset, predict: Predict, rate: float) -> tuple[list[float], int]:
    """Accuracy by mask of dead neurons, and how many are dead in each."""
    plans = [resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=mask),))) for mask in range(MASKS)]
    count = sum(int(dead.sum()) for dead in plans[0].slot("dead").values())
    return [float((predict(plan, 0) == items.test_labels).mean()) for plan in plans], count


def evaluated_table(results: Results) -> list[str]:
    """Markdown: a line per network and fault, a column per rate."""
    lines = [f"| network | fault | {' | '.join(f'{100 * r:g} %' for r in RATES)} |", f"|{'---|' * (len(RATES) + 2)}"]
    for name, model in MODELS.items():
        runs = done(results, name, None)
        if len(runs) >= 2:
            for fault, words in (("omission", "spikes lost"), ("dead", "neurons dead")):
                cells = [percent(mean_over_masks_and_seeds([run[fault][str(r)] for run in runs])) for r in RATES]
                if fault == "dead":
                    cells = [f"{c}, {runs[0]['killed'][str(r)]} of {runs[0]['neurons']}" for c, r in zip(cells, RATES, strict=True)]
                lines.append(f"| {model.title} | {words} | {' | '.join(cells)} |")
    return lines


def trained_table(results: Results) -> list[str]:
    """Markdown: a line per rate of a network trained at it; the last column is paired with the network trained without failures."""
    lines = [
        "| network | trained at | evaluated at it | without failures | at its rate - trained and evaluated at 0 % |",
        "|---|---|---|---|---|",
    ]
    for name, model in MODELS.items():
        base = done(results, name, 0.0)
        for rate in model.rates:
            runs = done(results, name, rate)
            if rate is not None and min(len(runs), len(base)) >= 2:
                own, without = ([run["omission"][str(r)] for run in runs] for r in (rate, 0.0))
                paired = zip(own, (run["omission"]["0.0"] for run in base), strict=False)
                gain = mean_over("seeds", [mean(a) - mean(b) for a, b in paired]) if rate else None
                difference = f"{100 * gain.value:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]" if gain else "-"
                cells = (percent(mean_over_masks_and_seeds(own)), percent(mean_over_masks_and_seeds(without)), difference)
                lines.append(f"| {model.title} | {100 * rate:g} % | {' | '.join(cells)} |")
    return lines


def done(results: Results, name: str, rate: float | None) -> list[dict[str, Any]]:
    """What is measured of a network, by seed."""
    return [results.values[key] for seed in SEEDS if (key := f"{name}, {rate}, seed {seed}") in results.values]


if __name__ == "__main__":
    main()
