"""Every kind of network at its best against permanent death: int8, three training seeds, the same masks of dead units.

    EDGECHAOS_DATA=folder python benchmarks/fault_comparison.py -o fault-comparison

Needs the four MNIST files ($EDGECHAOS_DATA/mnist, or --download). Writes `results.json` in the output folder after every run, so
that a comparison that is stopped goes on where it was, and Markdown tables on stdout. --tables prints what is there.

**Tuning**, the same effort for every kind: one training per augmentation of GRID, on the first TUNING_ITEMS training images with the
epochs of the kind, measured in floats on the last VALIDATION_ITEMS training images, clean and with half and three quarters of the units
dead, 5 masks each. The augmentation of the highest mean of the three is taken. Networks that have dropout get one more, with dropout.
**Comparison**: that augmentation, the first COMPARISON_ITEMS training images, three seeds of weights, order and augmentation; 8 bits by
fine-tuning under the same augmentation; 10,000 test images on the host library, 30 masks, the same for every seed. Intervals are over
masks and seeds, crossed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mnist_pixels import Results, integer_predict
from train_all import PIXELS, costs

from edgechaos import data
from edgechaos.arithmetic.streams import UNIT_STREAM
from edgechaos.data import Dataset
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.faults.sites import nested_sites, stored_words
from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.build import build as build_model
from edgechaos.models.build import recipe_for
from edgechaos.models.evaluate import evaluate_under
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.statistics import Estimate, mean_over, mean_over_masks_and_seeds
from edgechaos.train.fit import Recipe, train

TUNING_ITEMS, TUNING_MASKS, VALIDATION_ITEMS = 10_000, 5, 5_000
COMPARISON_ITEMS = 20_000
"""The first of the 60,000: fifteen trainings and fine-tunings in minutes."""
SEEDS, MASKS, FINE_TUNING = range(3), range(30), 2
RATES = (0.5, 0.75)
GRID: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "none": {},
        "omission 0.5": {"omission": 0.5},
        "death 0.5": {"dead": 0.5},
        "death 0.75": {"dead": 0.75},
        "death 1": {"dead": 1.0},
        "omission 0.5, death 0.75": {"omission": 0.5, "dead": 0.75},
        "omission 0.5, death 1": {"omission": 0.5, "dead": 1.0},
    }
)
DROPOUT: Mapping[str, Mapping[str, float]] = MappingProxyType({"dropout 0.5": {"dropout": 0.5}})


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table. options: of the model; recipe: what differs from the kind's own."""

    model: str
    options: Mapping[str, Any]
    epochs: int
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def grid(self) -> dict[str, Mapping[str, float]]:
        """The augmentations that are tried."""
        return {**GRID, **(DROPOUT if self.model in ("mlp", "cnn") else {})}


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "pixels": Kind("pixels", {"hidden": (64,), "ticks": 10}, 12, PIXELS),
        "mlp": Kind("mlp", {"hidden": (64,)}, 12),
        "tnn": Kind("tnn", {"hidden": (64,), "sparsity": 0.25}, 10),
        "dlm": Kind("dlm", {"hidden": (64,)}, 8),
        "cnn": Kind("cnn", {"channels": (8, 16)}, 4),
    }
)
"""Four of as many hidden units and weights, and a convolutional network, of whose 8 and 16 channels a mask silences shares."""


def main() -> None:
    """Parse, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("fault-comparison"))
    parser.add_argument("--download", action="store_true", help="fetch MNIST into the cache")
    parser.add_argument("--tables", action="store_true", help="print the tables of what is there")
    options = parser.parse_args()
    settings = [TUNING_ITEMS, VALIDATION_ITEMS, TUNING_MASKS, COMPARISON_ITEMS, FINE_TUNING, [asdict(k) for k in KINDS.values()]]
    identity = hashlib.sha256(json.dumps(settings, sort_keys=True, default=dict).encode()).hexdigest()
    results = Results(options.output / "results.json", identity)
    if not options.tables:
        torch.set_num_threads(1)
        mnist = data.load("mnist", download=options.download)
        for name in KINDS:
            tuned(name, mnist, results)
        few = replace(mnist, train_items=mnist.train_items[:COMPARISON_ITEMS], train_labels=mnist.train_labels[:COMPARISON_ITEMS])
        for seed in SEEDS:
            for name in KINDS:
                results.get(f"{name}, seed {seed}", partial(measured, name, seed, few, best(results, name), options.output))
                print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    print("\n".join([*tuning_table(results), "", *comparison_table(results)]))


def tuned(name: str, mnist: Dataset, results: Results) -> None:
    """Train and validate every augmentation of a kind that is not validated yet."""
    for label, augmentation in KINDS[name].grid().items():
        results.get(f"{name}, {label}", partial(validated, name, augmentation, mnist))
        print(f"{name}, {label}: {results.values[f'{name}, {label}']}", file=sys.stderr, flush=True)


def trained(name: str, augmentation: Mapping[str, float], items: Dataset, seed: int, output: Path | None = None) -> Model:
    """One training. Omission is off unless the augmentation says otherwise."""
    kind = KINDS[name]
    options = {**kind.options, **({"dropout": augmentation["dropout"]} if "dropout" in augmentation else {})}
    faults = {"omission": 0.0, **{key: value for key, value in augmentation.items() if key != "dropout"}}
    recipe = Recipe(**{**recipe_for(kind.model), **kind.recipe, "epochs": kind.epochs, "seed": seed, **faults})
    return train(build_model(kind.model, items, seed=seed, **options), items, recipe, output=output)


def validated(name: str, augmentation: Mapping[str, float], mnist: Dataset) -> dict[str, float]:
    """Accuracy of the float model on validation images: clean, and by rate the mean over masks of dead units."""
    items = replace(
        mnist,
        train_items=mnist.train_items[:TUNING_ITEMS],
        train_labels=mnist.train_labels[:TUNING_ITEMS],
        test_items=mnist.train_items[-VALIDATION_ITEMS:],
        test_labels=mnist.train_labels[-VALIDATION_ITEMS:],
    )
    model = trained(name, augmentation, items, 0)

    def accuracy(plan: ResolvedPlan) -> float:
        return float((evaluate_under(model, items.test_items, plan).argmax(axis=1) == items.test_labels).mean())

    found = {"clean": accuracy(CLEAN)}
    for rate in RATES:
        found[str(rate)] = float(np.mean([accuracy(dead(model, rate, mask)) for mask in range(TUNING_MASKS)]))
    return found


def dead(model: Model, rate: float, mask: int) -> ResolvedPlan:
    """A share of the units of every layer of a float model dead."""
    masks = {}
    for k, layer in enumerate(model.failing_layers()):
        masks[layer.name] = np.zeros(layer.units, bool)
        masks[layer.name][nested_sites(mask, UNIT_STREAM + k, layer.units, rate)] = True
    return ResolvedPlan.of(dead=masks)


def score(found: Mapping[str, float]) -> float:
    """What tuning maximizes: the mean of clean, half dead and three quarters dead."""
    return float(np.mean([found["clean"], *(found[str(rate)] for rate in RATES)]))


def best(results: Results, name: str) -> str:
    """The augmentation of the highest score."""
    return max(KINDS[name].grid(), key=lambda label: score(results.values[f"{name}, {label}"]))


def measured(name: str, seed: int, mnist: Dataset, label: str, output: Path) -> dict[str, Any]:
    """Train, quantize and measure a kind with one seed; costs of the first seed."""
    path = output / f"{name}-{seed}.safetensors"
    if not path.exists():
        trained(name, KINDS[name].grid()[label], mnist, seed, path)
    model = checkpoint.load(path)
    graph = quantize(model, mnist, method="qat", epochs=FINE_TUNING, seed=seed)
    artifact.save(graph, path.with_suffix(".ecm"))
    labels, found = mnist.test_labels, {"augmentation": label, "float": model.facts["accuracy"]["float"]}
    with integer_predict(graph, mnist.test_items, "host") as predict:
        found["clean"] = float((predict(CLEAN, 0) == labels).mean())
        for rate in RATES:
            plans = (resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=mask),))) for mask in MASKS)
            found[str(rate)] = [float((predict(plan, 0) == labels).mean()) for plan in plans]
    if seed == 0:
        found |= costs(graph, mnist)
        found["parameters"] = sum(
            graph.constants[words].value.size
            for node in graph.weighted()
            for words in (stored_words(node, "weight"), stored_words(node, "bias"))
            if words is not None
        )
    return found


def tuning_table(results: Results) -> list[str]:
    """Markdown: the validated score of every kind and augmentation, the best one in bold."""
    labels = [*GRID, *DROPOUT]
    lines = [f"| kind | {' | '.join(labels)} |", f"|{'---|' * (len(labels) + 1)}"]
    for name, kind in KINDS.items():
        if all(f"{name}, {label}" in results.values for label in kind.grid()):
            found = {label: results.values[f"{name}, {label}"] for label in kind.grid()}
            cells = []
            for label in labels:
                text = "-" if label not in found else " / ".join(f"{100 * v:.1f}" for v in found[label].values())
                cells.append(f"**{text}**" if label == best(results, name) else text)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def comparison_table(results: Results) -> list[str]:
    """Markdown: one line per kind, of the seeds that are there, two at least."""
    lines = [
        "| kind | trained with | parameters | clean | 50 % dead | 75 % dead | worst at 75 % | instructions | µJ, modelled |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in KINDS:
        runs = [results.values[key] for seed in SEEDS if (key := f"{name}, seed {seed}") in results.values]
        if len(runs) >= 2:
            first = runs[0]
            at = {rate: [run[str(rate)] for run in runs] for rate in RATES}
            cells = (
                name,
                first["augmentation"],
                f"{first['parameters']:,}",
                percent(mean_over("seeds", [run["clean"] for run in runs])),
                *(percent(mean_over_masks_and_seeds(at[rate])) for rate in RATES),
                f"{100 * min(min(run) for run in at[RATES[-1]]):.1f}",
                f"{first['instructions']:,.0f}",
                f"{1e6 * first['energy_j'][1]:.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def percent(e: Estimate) -> str:
    """An estimate in percent with its interval, which ends at 100."""
    return f"{100 * e.value:.2f} [{100 * e.low:.2f}, {100 * min(e.high, 1.0):.2f}]"


if __name__ == "__main__":
    main()
