"""Trained against permanent death: the same network and epochs with other augmentation, int8, under the same 30 masks of dead neurons.

    EDGECHAOS_DATA=folder python benchmarks/permanent_death.py -o permanent-death

Enters: the four MNIST files ($EDGECHAOS_DATA/mnist, or --download). Leaves: a checkpoint and an artifact per recipe and
`results.json` in the output folder, written after every point: a run that is stopped goes on where it was. The network is that of
mnist_pixels.py, 784-64-10 with 10 parallel ticks; its recipe, which loses spikes alone, is the baseline. All models meet the same
masks and random words, so every difference is paired by mask; each recipe is trained once, with one seed.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from mnist_pixels import RECIPE, Predict, Results, integer_predict, quantized, trained
from numpy.typing import NDArray

from edgechaos import artifact, data
from edgechaos.faults import CLEAN, DeadNeurons, FaultPlan, resolve
from edgechaos.graph import IntegerGraph
from edgechaos.statistics import Estimate, mean_over_masks, paired_difference, proportion

RECIPES = {
    "omission": RECIPE,
    "death": replace(RECIPE, omission=0.0, dead=0.75),
    "both": replace(RECIPE, dead=0.75),
    "neither": replace(RECIPE, omission=0.0),
}
BASELINE = "omission"
RATES = (0.25, 0.5, 0.75)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("permanent-death"))
    parser.add_argument("--download", action="store_true", help="fetch MNIST into the cache")
    parser.add_argument("--masks", type=int, default=30)
    parser.add_argument("--device", default="host", help="'reference' (NumPy) or the name of a device: the same integers")
    options = parser.parse_args()
    mnist = data.load("mnist", download=options.download)
    accuracy = {name: measured(name, mnist, options.output, options.device, options.masks) for name in RECIPES}
    report(accuracy, len(mnist.test_labels), options.masks)


def measured(name: str, mnist: data.Dataset, output: Path, device: str, masks: int) -> dict[str, Any]:
    """{"clean": accuracy, rate: accuracy per mask} of the integers of one recipe; what the output folder has is not computed again."""
    model = trained(output / f"{name}.safetensors", mnist, RECIPES[name])
    graph = quantized(output / f"{name}.ecm", model, mnist)
    results = Results(output / f"{name}.json", artifact.content_hash(graph))
    with integer_predict(graph, mnist.test_items, device) as predict:
        results.get("clean", lambda: float((predict(CLEAN, 0) == mnist.test_labels).mean()))
        for rate in RATES:
            results.get(f"{rate} {masks}", lambda r=rate: under_masks(graph, mnist.test_labels, predict, r, masks))
    return results.values


def under_masks(graph: IntegerGraph, labels: NDArray[np.int64], predict: Predict, rate: float, masks: int) -> list[float]:
    """Accuracy per mask of exactly round(rate * 64) dead neurons."""
    plans = (resolve(graph, FaultPlan((DeadNeurons(rate=rate, seed=mask),))) for mask in range(masks))
    return [float((predict(plan, 0) == labels).mean()) for plan in plans]


def report(accuracy: dict[str, dict[str, Any]], items: int, masks: int) -> None:
    """Wilson's interval over items where there is no mask, else t intervals over masks; differences to the baseline are paired."""
    print(f"int8, {items:,} test images, {masks} masks, 95 % intervals")
    for name, values in accuracy.items():
        recipe = asdict(RECIPES[name])
        print(f"trained with omission 0..{recipe['omission']}, death 0..{recipe['dead']} ({name})")
        print(f"  clean      {line(proportion(round(values['clean'] * items), items))}")
        for rate in RATES:
            mine, baseline = values[f"{rate} {masks}"], accuracy[BASELINE][f"{rate} {masks}"]
            gain = "" if name == BASELINE else f"   minus {BASELINE}: {line(paired_difference(mine, baseline), sign=True)}"
            print(f"  dead {rate:.2f}  {line(mean_over_masks(mine))} worst {min(mine):.2%}{gain}")


def line(e: Estimate, sign: bool = False) -> str:
    """An estimate in percent, with its sign where it is a difference."""
    one = "{:+.2f}" if sign else "{:.2f}"
    value, low, high = (one.format(100 * v) for v in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
