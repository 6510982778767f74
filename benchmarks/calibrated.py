"""What default calibration (PTQ) costs: int8 against float for every published form, several training seeds, and published checkpoints.

    EDGECHAOS_DATA=folder python benchmarks/calibrated.py -o train-all --seeds 3

Needs MNIST and AG News in $EDGECHAOS_DATA. Floats are those of train_all.py where its output folder is given (its seed is 0);
others are trained with the same recipe and kept there; published weights are read where $EDGECHAOS_CHECKPOINTS names their folder.
Writes `calibrated.json` in that folder after every network, so that a run that is stopped goes on where it was, and a Markdown
table on stdout. Exit code 1 where a network loses more than LIMIT on average. The difference is on all test items, paired: float
and int8 meet the same random words, each item averaged over five seeds of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mnist_pixels import Results, float_predict, integer_predict, paired_accuracy
from train_all import SETUPS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests are not installed with the package

from edgechaos import data
from edgechaos.data import Dataset
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.build import build as build_model
from edgechaos.models.build import recipe_for
from edgechaos.models.importers import load_published
from edgechaos.quantize.pipeline import quantize
from edgechaos.train.fit import Recipe, train
from tests.helpers.published import CHECKPOINTS, PLAIN, PUBLISHED

LIMIT = 0.005
FORMS = ("vision-256", "pixels-512", "vision-parallel", "vision-stateful", "language", "dlm", "tnn", "mlp", "cnn")
"""Of train_all.py: the sizes in which each kind is published."""


def main() -> int:
    """Parse, run what is missing, print; 1 where a network loses too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("train-all"))
    parser.add_argument("--seeds", type=int, default=3, help="training seeds of every form")
    parser.add_argument("--only", metavar="FORM", action="append", choices=FORMS, help=f"repeatable; forms: {', '.join(FORMS)}")
    options = parser.parse_args()
    results = Results(options.output / "calibrated.json", "ptq, defaults")
    runs: dict[str, Callable[[], tuple[Model, Dataset]]] = {}
    for form in options.only or FORMS:
        for seed in range(options.seeds):
            runs[f"{form}, seed {seed}"] = partial(trained, form, seed, options.output)
    if CHECKPOINTS.is_dir() and not options.only:
        runs |= {f"{name}, published": partial(published, name) for name in (*PUBLISHED, *PLAIN)}
    print("| network | n | float | int8 | int8 - float, points |", "|---|---|---|---|---|", sep="\n")
    lost = []
    for name, network in runs.items():
        found = results.get(name, partial(measured, network))
        low, high = (100 * end for end in found["interval_95"])
        difference = f"{100 * found['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
        print(f"| {name} | {found['images']:,} | {100 * found['float']:.2f} | {100 * found['int8']:.2f} | {difference} |", flush=True)
        lost += [name] if found["difference"] < -LIMIT else []
    print(f"\nlost more than {100 * LIMIT:g} points: {', '.join(lost) or 'none'}, of {len(runs)} networks")
    return 1 if lost else 0


def trained(form: str, seed: int, output: Path) -> tuple[Model, Dataset]:
    """The float network of a form and a training seed, from its file where it is there, and its data."""
    setup, path = SETUPS[form], output / (f"{form}.safetensors" if seed == 0 else f"{form}-{seed}.safetensors")
    items = data.load(setup.dataset)
    if not path.exists():
        recipe = Recipe(**{**recipe_for(setup.model), "epochs": setup.epochs, **setup.recipe, "seed": seed})
        train(build_model(setup.model, items, seed=seed, **setup.options), items, recipe, output=path)
    return checkpoint.load(path), items


def published(name: str) -> tuple[Model, Dataset]:
    """A published checkpoint and its data as it reads it."""
    items = data.load("ag_news" if "agnews" in name else "mnist")
    model = load_published(CHECKPOINTS / f"{name}.pt", classes=items.classes, **{**PUBLISHED, **PLAIN}[name])
    text = getattr(model.config, "text", None)
    return model, items if text is None else items.tokenized(text, model.config.inputs)


def measured(network: Callable[[], tuple[Model, Dataset]]) -> dict[str, Any]:
    """Calibrate with the defaults and compare on all test items. The measurement that ends a quantization is left to this comparison."""
    model, items = network()
    few = replace(items, test_items=items.test_items[:1], test_labels=items.test_labels[:1])
    graph = quantize(model, few, method="ptq")
    with integer_predict(graph, items.test_items, "host") as integer:
        return paired_accuracy(items.test_labels, {"float": float_predict(model, items.test_items), "int8": integer})


if __name__ == "__main__":
    sys.exit(main())
