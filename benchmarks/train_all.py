"""Every kind of model on its full data: training time, float and int8 accuracy, flash, instructions and modelled joules.

    EDGECHAOS_DATA=folder python benchmarks/train_all.py -o train-all

Needs MNIST and AG News ($EDGECHAOS_DATA, or --download). Writes, per kind, a checkpoint, an int8 artifact (quantization-aware
training) and a JSON file of figures, and Markdown tables on stdout. Each kind runs in a process of its own, one after another,
torch on one thread. What is finished is not done again; training that was stopped goes on after its last epoch, and its seconds add
up. --tables prints what is there and trains nothing; --recount emulates again what is there, for firmware that changed.

Seconds are of training and fine-tuning alone, CPU time of the process and wall time. Float and int8 models meet the same random words,
so that their difference is paired. The plain MLP comes in several sizes: the second table takes the one whose int8 accuracy is nearest
to that of the pixels ChaosNet. What faults cost is compared by fault_comparison.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from mnist_pixels import float_predict, integer_predict, paired_accuracy

from edgechaos import data, reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.injections import CLEAN
from edgechaos.graph import artifact
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.energy.model import board_energy, energy_per_inference
from edgechaos.models import checkpoint
from edgechaos.models.build import build as build_model
from edgechaos.models.build import recipe_for
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.files import write_atomic
from edgechaos.support.statistics import proportion
from edgechaos.train.fit import Progress, Recipe, train

BOARD = "mps2-an386"
ENERGY_BOARD = "stm32l4r5"
COUNTED_ITEMS = 20
EQUAL = 0.003
"""How near the accuracies of two networks must be to be compared at equal accuracy."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One line of the table. options: of the model; recipe: what differs from the kind's own; fine_tuning: epochs."""

    model: str
    options: Mapping[str, Any]
    epochs: int
    dataset: str = "mnist"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    fine_tuning: int = 2


PIXELS: Mapping[str, Any] = {"batch": 256, "learning_rate": 5e-3, "weight_decay": 0.1}
VISION: Mapping[str, Any] = {"embed": 16, "hidden": (64,), "channels": (16, 32), "ticks": 10}
SMALL_VISION: Mapping[str, Any] = {"embed": 8, "hidden": (32,), "channels": (16, 32), "ticks": 15, "average": True}
PLAIN_SIZES = (16, 20, 24, 32, 64)
"""Hidden units of the plain MLPs: about as accurate as the pixels ChaosNet, and, the last, as many as it has."""

SETUPS: Mapping[str, Setup] = MappingProxyType(
    {
        "pixels": Setup("pixels", {"hidden": (64,), "ticks": 10}, 15, recipe=PIXELS),
        "mlp": Setup("mlp", {"hidden": (128,)}, 10),
        "tnn": Setup("tnn", {"hidden": (256,), "sparsity": 0.05}, 10),
        **{f"mlp-{size}": Setup("mlp", {"hidden": (size,)}, 12) for size in PLAIN_SIZES},
        "language": Setup("language", {"hidden": (64,), "embed": 16, "ticks": 10}, 10, dataset="ag_news"),
        "dlm": Setup("dlm", {"hidden": (256,)}, 6),
        "cnn": Setup("cnn", {"channels": (8, 16)}, 4),
        "vision-parallel": Setup("vision", VISION, 2, fine_tuning=1),
        "vision-stateful": Setup("vision", {**VISION, "mode": "stateful"}, 2, fine_tuning=1),
        "vision-256": Setup("vision", SMALL_VISION, 5, recipe={"learning_rate": 1e-2}, fine_tuning=1),
        "pixels-2-layers": Setup("pixels", {"hidden": (64, 64), "ticks": 10}, 6, recipe=PIXELS, fine_tuning=1),
        "pixels-512": Setup("pixels", {"hidden": (512,), "ticks": 5}, 5, recipe=PIXELS, fine_tuning=1),
    }
)


def main() -> None:
    """Parse; run every kind in its own process, then print, or be such a process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("train-all"))
    parser.add_argument("--only", metavar="KIND", action="append", choices=SETUPS, help=f"repeatable; kinds: {', '.join(SETUPS)}")
    parser.add_argument("--download", action="store_true", help="fetch the data into the cache")
    parser.add_argument("--tables", action="store_true", help="print the tables of what is there")
    parser.add_argument("--recount", action="store_true", help="count the instructions of what is there anew; trains nothing")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    failed = []
    for name in () if options.tables else options.only or SETUPS:
        path = options.output / f"{name}.json"
        if options.recount:
            if path.exists():
                write_atomic(path, json.dumps(json.loads(path.read_text()) | recounted(name, options.output), indent=1))
        elif options.here:
            write_atomic(path, json.dumps(figures(name, options.output, options.download), indent=1))
        elif not path.exists():
            own = [sys.executable, __file__, "--here", "--only", name, "-o", str(options.output)]
            if subprocess.run([*own, *(["--download"] if options.download else [])], check=False).returncode:
                failed.append(name)
    if not options.here:
        found = {name: json.loads(path.read_text()) for name in SETUPS if (path := options.output / f"{name}.json").exists()}
        print("\n".join([*table(found), "", *equal_table(found)]))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; the same command tries them again")


class Clock:
    """Seconds spent so far, kept in a file after every epoch: a run that was stopped adds to what it had."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def counts(self, stage: str) -> Iterator[Any]:
        """Yields a progress callback; CPU and wall seconds go to `<stage>_cpu_s` and `<stage>_wall_s`."""
        last = [time.process_time(), time.perf_counter()]

        def tick() -> None:
            now = [time.process_time(), time.perf_counter()]
            for key, before, after in zip((f"{stage}_cpu_s", f"{stage}_wall_s"), last, now, strict=True):
                self.seconds[key] = round(self.seconds.get(key, 0.0) + after - before, 3)
            last[:] = now
            write_atomic(self.path, json.dumps(self.seconds))

        def progress(at: Progress) -> None:
            print(f"{at.stage} {at.done}/{at.total} {at.last}", file=sys.stderr, flush=True)
            tick()

        yield progress
        tick()


def figures(name: str, output: Path, download: bool) -> dict[str, Any]:
    """Train, quantize and measure one kind; what is in the output folder already is used."""
    setup, path, clock = SETUPS[name], output / f"{name}.safetensors", Clock(output / f"{name}.seconds")
    items = data.load(setup.dataset, download=download)
    recipe = Recipe(**{**recipe_for(setup.model), "epochs": setup.epochs, **setup.recipe})
    if not path.exists():
        with clock.counts("train") as progress:
            train(build_model(setup.model, items, **setup.options), items, recipe, output=path, progress=progress)
    model = checkpoint.load(path)
    if not path.with_suffix(".ecm").exists():
        with clock.counts("quantize") as progress:
            graph = quantize(model, items, method="qat", epochs=setup.fine_tuning, progress=progress)
        artifact.save(graph, path.with_suffix(".ecm"))
    graph = artifact.load(path.with_suffix(".ecm"))
    with integer_predict(graph, items.test_items, "host") as integer:
        predict = {"float": float_predict(model, items.test_items), "int8": integer}
        document: dict[str, Any] = {
            "model": setup.model,
            "options": setup.options,
            "dataset": {"name": items.name, "hash": items.content_hash, "training_items": len(items.train_items)},
            "recipe": model.facts["recipe"],
            "fine_tuning_epochs": setup.fine_tuning,
            "seconds": clock.seconds,
            "paired": paired_accuracy(items.test_labels, predict),
            **{
                who: asdict(proportion(int((run(CLEAN, 0) == items.test_labels).sum()), len(items.test_labels)))
                for who, run in predict.items()
            },
        }
    return document | costs(graph, items)


def recounted(name: str, output: Path) -> dict[str, Any]:
    """The costs of a finished kind under the firmware of today."""
    return costs(artifact.load(output / f"{name}.ecm"), data.load(SETUPS[name].dataset))


def costs(graph: IntegerGraph, items: data.Dataset) -> dict[str, Any]:
    """Flash, MACs, synaptic operations, and the instructions and modelled joules of one inference, emulated on a few test items.

    Raises SystemExit where the emulated firmware does not compute the reference's integers.
    """
    codes = reference.encode(graph, items.test_items[:COUNTED_ITEMS])
    about = inspect(graph)
    with EmulatedDevice(graph, emulated_firmware(graph, BOARD, faults=False), BOARD) as device:
        result = device.infer(codes)
        mix = {kind: count / len(codes) for kind, count in device.counters().instructions.items()}
    if result.instructions is None or not np.array_equal(result.logits, reference.run(graph, codes).logits):
        raise SystemExit("the firmware does not compute the reference's integers: no count of it means anything")
    energy = energy_per_inference(mix, board_energy(ENERGY_BOARD))
    return {
        "model_hash": about.content_hash,
        "constants_bytes": about.flash_bytes,
        "macs": about.macs,
        "synaptic_operations": about.synaptic_operations,
        "instructions": float(result.instructions.mean()),
        "instructions_items": len(codes),
        "energy_j": [energy.low_j, energy.energy_j, energy.high_j],
        "energy": f"{energy.origin}, {ENERGY_BOARD}",
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown: one line per kind."""
    lines = [
        "| kind | epochs + fine-tuning | CPU s (wall s) | n | float [95 %] | int8 [95 %] | int8 - float, paired | flash B | MACs | "
        "synaptic ops | instructions | µJ, modelled |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, f in found.items():
        seconds, paired = f["seconds"], f["paired"]
        cpu, wall = (sum(v for key, v in seconds.items() if key.endswith(end)) for end in ("cpu_s", "wall_s"))
        low, high = paired["interval_95"]
        lines.append(
            f"| {name} | {f['recipe']['epochs']} + {f['fine_tuning_epochs']} | {cpu:,.0f} ({wall:,.0f}) | {f['int8']['n']:,} | "
            f"{share(f['float'])} | {share(f['int8'])} | {100 * paired['difference']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] | "
            f"{f['constants_bytes']:,} | {f['macs']:,} | {operations(f)} | {f['instructions']:,.0f} | {joules(f)} |"
        )
    return lines


def equal_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown: the pixels ChaosNet, and the plain MLP that is as accurate."""
    sizes = [name for n in PLAIN_SIZES if (name := f"mlp-{n}") in found]
    if "pixels" not in found or not sizes:
        return []
    goal = found["pixels"]["int8"]["value"]
    nearest = min(sizes, key=lambda name: abs(found[name]["int8"]["value"] - goal))
    lines = ["| kind | int8 [95 %] | flash B | instructions | µJ, modelled |", "|---|---|---|---|---|"]
    for name in ("pixels", nearest):
        f = found[name]
        near = "" if abs(f["int8"]["value"] - goal) <= EQUAL else f" ({100 * (f['int8']['value'] - goal):+.2f}: not equal)"
        lines.append(f"| {name} | {share(f['int8'])}{near} | {f['constants_bytes']:,} | {f['instructions']:,.0f} | {joules(f)} |")
    return lines


def share(e: Mapping[str, Any]) -> str:
    """An estimate in percent with its interval."""
    return f"{100 * e['value']:.2f} [{100 * e['low']:.2f}, {100 * e['high']:.2f}]"


def operations(f: Mapping[str, Any]) -> str:
    """Synaptic operations, where activity was measured."""
    return "-" if f["synaptic_operations"] is None else f"{f['synaptic_operations']:,.0f}"


def joules(f: Mapping[str, Any]) -> str:
    """Microjoules with their band."""
    low, usual, high = (1e6 * j for j in f["energy_j"])
    return f"{usual:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
