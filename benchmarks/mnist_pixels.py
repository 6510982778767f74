"""Full MNIST, pixels 784-64-10, 10 parallel ticks: int8 against float, then omission and permanent death, 30 masks each.

    EDGECHAOS_DATA=folder python benchmarks/mnist_pixels.py -o mnist-pixels

Needs the four MNIST files ($EDGECHAOS_DATA/mnist, or --download). Writes `float.safetensors`, `int8.ecm` and `results.json` in the
output folder after every point: a run that is stopped goes on where it was. Float and int8 models meet the same random words and
the same masks, so every difference is paired.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgechaos import data, reference
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.evaluate import evaluate_under
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.files import write_atomic
from edgechaos.support.statistics import mcnemar, mean_over_masks
from edgechaos.train.fit import Progress, Recipe, new_model, train

RECIPE = Recipe(epochs=25, batch=256, learning_rate=5e-3, weight_decay=0.1, omission=0.5)
SEEDS = range(5)
RATES = {"omission": (0.25, 0.5, 0.75, 0.9, 0.95, 0.99), "dead": (0.125, 0.25, 0.5, 0.75, 0.875)}
Z_95 = 1.959963984540054

Predict = Callable[[ResolvedPlan, int], NDArray[np.integer[Any]]]
"""Classes (images,) under a plan and a seed of the random words."""


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("mnist-pixels"))
    parser.add_argument("--download", action="store_true", help="fetch MNIST into the cache")
    parser.add_argument("--masks", type=int, default=30)
    parser.add_argument("--device", default="reference", help="'reference' (NumPy) or the name of a device, such as 'host'")
    options = parser.parse_args()
    mnist = data.load("mnist", download=options.download)
    model = trained(options.output / "float.safetensors", mnist)
    graph = quantized(options.output / "int8.ecm", model, mnist)
    results = Results(options.output / "results.json", artifact.content_hash(graph))
    with integer_predict(graph, mnist.test_items, options.device) as integer:
        report(results, mnist, graph, {"float": float_predict(model, mnist.test_items), "int8": integer}, options.masks)


def trained(path: Path, mnist: data.Dataset, recipe: Recipe = RECIPE) -> Model:
    """The float model of this recipe on this data, from the file where it is there already."""
    if path.exists():
        model = checkpoint.load(path)
        if model.facts["recipe"] == asdict(recipe) and model.facts["dataset"]["hash"] == mnist.content_hash:
            return model
    model = new_model(mnist, hidden=(64,), ticks=10, mode="parallel")
    return train(model, mnist, recipe, output=path, progress=show)


def quantized(path: Path, model: Model, mnist: data.Dataset) -> IntegerGraph:
    """Its int8 graph by quantization-aware training, from the file where it is there and of this model."""
    if path.exists():
        graph = artifact.load(path)
        if graph.metadata["training"] == model.facts:
            return graph
    graph = quantize(model, mnist, method="qat", epochs=5, progress=show)
    artifact.save(graph, path)
    return graph


def show(progress: Progress) -> None:
    """One line per epoch on stderr."""
    print(f"{progress.stage} {progress.done}/{progress.total} {progress.last}", file=sys.stderr)


def float_predict(model: Model, items: NDArray[np.uint8]) -> Predict:
    """The torch model, one thread."""
    torch.set_num_threads(1)
    return lambda plan, seed: evaluate_under(model, items, plan, seed).argmax(axis=1)


@contextmanager
def integer_predict(graph: IntegerGraph, items: NDArray[np.uint8], device: str) -> Iterator[Predict]:
    """The integer graph on the NumPy reference or on a device."""
    codes = reference.encode(graph, items)
    if device == "reference":
        from edgechaos.faults.plan import apply

        yield lambda plan, seed: reference.run(apply(graph, plan), codes, seed=seed).labels
        return
    from edgechaos.devices.registry import open_device

    with open_device(device, graph) as opened:

        def predict(plan: ResolvedPlan, seed: int) -> NDArray[np.integer[Any]]:
            opened.inject(plan)
            return opened.infer(codes, seed=seed).labels

        yield predict


class Results:
    """A JSON object on disk, by key; what is there for the same model is not computed again."""

    def __init__(self, path: Path, model_hash: str) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.values: dict[str, Any] = stored if stored.get("model") == model_hash else {"model": model_hash}

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The stored value, or the computed one, stored."""
        if key not in self.values:
            self.values[key] = compute()
            write_atomic(self.path, json.dumps(self.values, indent=1))
        return self.values[key]


def report(results: Results, mnist: data.Dataset, graph: IntegerGraph, predict: dict[str, Predict], masks: int) -> None:
    """Compute what is missing and print it."""
    paired = results.get("paired", lambda: paired_accuracy(mnist.test_labels, predict))
    print(f"{paired['images']:,} test images, mean of {paired['seeds']} seeds of the random words")
    print(f"  float {paired['float']:.2%}   int8 {paired['int8']:.2%}")
    low, high = paired["interval_95"]
    print(f"  int8 - float: {100 * paired['difference']:+.2f} points, 95 % paired interval [{100 * low:+.2f}, {100 * high:+.2f}]")
    print(f"  McNemar (seed 0): {paired['only_float']} only float, {paired['only_int8']} only int8, p = {paired['mcnemar_p']:.3f}")
    for kind, rates in RATES.items():
        print(f"{kind} ({masks} masks, {len(mnist.test_labels):,} images; mean, 95 % t interval over masks, worst mask)")
        for rate in rates:
            point = results.get(f"{kind} {rate} {masks}", partial(curve_point, graph, mnist.test_labels, predict, kind, rate, masks))
            line = "   ".join(f"{who} {e['value']:.2%} [{e['low']:.2%}, {e['high']:.2%}] {e['worst']:.2%}" for who, e in point.items())
            print(f"  {rate:5.3f}  {line}", flush=True)


def paired_accuracy(labels: NDArray[np.int64], predict: dict[str, Predict]) -> dict[str, Any]:
    """Clean accuracies, and the normal interval of the per-image difference, each image averaged over the seeds."""
    right = {who: np.array([run(CLEAN, seed) == labels for seed in SEEDS]) for who, run in predict.items()}
    difference = right["int8"].mean(axis=0) - right["float"].mean(axis=0)
    mean, half = float(difference.mean()), Z_95 * float(difference.std(ddof=1)) / math.sqrt(len(labels))
    only_float, only_int8 = (int((right[a][0] & ~right[b][0]).sum()) for a, b in (("float", "int8"), ("int8", "float")))
    return {
        "images": len(labels),
        "seeds": len(SEEDS),
        "float": float(right["float"].mean()),
        "int8": float(right["int8"].mean()),
        "difference": mean,
        "interval_95": [mean - half, mean + half],
        "only_float": only_float,
        "only_int8": only_int8,
        "mcnemar_p": mcnemar(only_float, only_int8),
    }


def curve_point(
    graph: IntegerGraph, labels: NDArray[np.int64], predict: dict[str, Predict], kind: str, rate: float, masks: int
) -> dict[str, Any]:
    """Accuracy of both models under the same masks. Omission draws anew by seed; a death mask keeps the seed at 0."""
    accuracy: dict[str, list[float]] = {who: [] for who in predict}
    for mask in range(masks):
        fault = Omission(rate=rate) if kind == "omission" else DeadNeurons(rate=rate, seed=mask)
        plan, seed = resolve(graph, FaultPlan((fault,))), mask if kind == "omission" else 0
        for who, run in predict.items():
            accuracy[who].append(float((run(plan, seed) == labels).mean()))
    return {who: {**asdict(mean_over_masks(values)), "worst": min(values)} for who, values in accuracy.items()}


if __name__ == "__main__":
    main()
