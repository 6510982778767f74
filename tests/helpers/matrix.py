"""The exactness matrix: every kind of model at every weight width, on real items, on every backend, clean and under faults.

A Cell has how many integers were compared, which differ, and the reference's accuracy, which tells a living network from one that
says the same of every item. Shared by tests/export/test_matrix.py and benchmarks/matrix.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgechaos import reference
from edgechaos.cli.verify_command import opened_backends
from edgechaos.continual.sequence import train_in_sequence
from edgechaos.data import DATA_FOLDER, Dataset, load
from edgechaos.export.plans import standard_plans
from edgechaos.export.verify import Verification, combine, verify
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models.base import Model
from edgechaos.models.build import build, recipe_for
from edgechaos.models.shared import SharedChaosNet
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import VerificationError
from edgechaos.train.fit import Recipe, train

WIDTHS = (8, 4, 2)
BACKENDS = ("onnxruntime-off", "onnxruntime-on", "host", "unicorn")
CLEAN_ITEMS = 500
FAULTY_ITEMS = 50
TRAINING_ITEMS = 4000
SEED = 7
TEMPERATURE = 1.0
"""Of thermal noise at run time; models train at another, so that a backend which ignores the parameter is found."""
PLANS: Mapping[str, str] = {
    "omission": "omission 0.5",
    "dead": "dead 0.5",
    "stuck_at_1": "stuck at 1 0.1",
    "weight_bit_flip": "weight sign bits, every matrix",
}
"""Of the standard plans, one per fault kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: a model of `edgechaos.models.build`, its options, its data set, and for how many epochs it trains."""

    model: str
    options: Mapping[str, Any]
    data: str = "mnist5k"
    epochs: int = 4


PIXELS: Mapping[str, Any] = {"hidden": (64,), "ticks": 10}
VISION: Mapping[str, Any] = {**PIXELS, "channels": (2, 4), "embed": 16}
KINDS: Mapping[str, Kind] = {
    "pixels": Kind("pixels", PIXELS),
    "two-layer": Kind("pixels", {**PIXELS, "hidden": (32, 32)}, epochs=8),
    "vision-parallel": Kind("vision", VISION),
    "vision-stateful": Kind("vision", {**VISION, "mode": "stateful"}),
    "language": Kind("language", PIXELS, data="ag_news"),
    "dlm": Kind("dlm", {"hidden": (64,)}),
    "tnn": Kind("tnn", {"hidden": (64,), "sparsity": 0.1}),
    "mlp": Kind("mlp", {"hidden": (64,)}),
    "mlp-residual": Kind("mlp", {"hidden": (32, 32, 32), "residual": True}),
    "cnn": Kind("cnn", {"channels": (2, 4)}),
}
SHARED = "shared"
TASKS: Mapping[str, tuple[str, str]] = {"mnist": ("mnist5k", "dense"), "digits": ("digits8x8", "vision")}
"""The heads of one shared cortex: data set and front-end by task."""


def available() -> tuple[str, ...]:
    """The kinds whose data is here: AG News only where $EDGECHAOS_DATA holds it."""
    folder = os.environ.get(DATA_FOLDER)
    here = {"mnist5k"} | ({"ag_news"} if folder and (Path(folder) / "ag_news").is_dir() else set())
    return (*(name for name, kind in KINDS.items() if kind.data in here), SHARED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind at one width: a verification per head, the right labels of the reference, the plans that change no integer."""

    kind: str
    bits: int
    verifications: tuple[Verification, ...]
    correct: int
    items: int
    silent: tuple[str, ...]

    @property
    def integers(self) -> int:
        """Compared, over all backends and plans."""
        return sum(v.integers for v in self.verifications)

    @property
    def mismatches(self) -> int:
        """Integers in which a backend differs from the reference."""
        return sum(c.mismatches for v in self.verifications for c in v.comparisons)

    @property
    def failures(self) -> list[str]:
        """One line per head that does not agree: kind, width, backend, plan and the first difference."""
        lines = []
        for verification in self.verifications:
            try:
                verification.require()
            except VerificationError as error:
                lines.append(f"{self.kind}, {self.bits} bits, head '{verification.head}': {error}")
        return lines


def sized(name: str) -> Dataset:
    """A data set with 4,000 training items at most and 500 test items, the missing ones taken from the training part."""
    data = load(name)
    cut = len(data.train_items) - max(0, CLEAN_ITEMS - len(data.test_items))
    train_part = slice(min(cut, TRAINING_ITEMS))
    return replace(
        data,
        train_items=data.train_items[train_part],
        train_labels=data.train_labels[train_part],
        test_items=np.concatenate([data.train_items[cut:], data.test_items])[:CLEAN_ITEMS],
        test_labels=np.concatenate([data.train_labels[cut:], data.test_labels])[:CLEAN_ITEMS],
    )


def trained(kind: str) -> tuple[Model, dict[str, Dataset]]:
    """The float model, trained briefly, and the data of every head."""
    if kind == SHARED:
        return trained_tasks()
    about = KINDS[kind]
    data, rates = sized(about.data), dict[str, Any](recipe_for(about.model))
    model = build(about.model, data, **about.options)
    return train(model, data, Recipe(epochs=about.epochs, omission=0.2, **rates)), {"main": data}


def trained_tasks() -> tuple[Model, dict[str, Dataset]]:
    """One cortex trained on one task after another, with rehearsal."""
    data = {task: sized(name) for task, (name, _) in TASKS.items()}
    model = build(SHARED, data, fronts={task: front for task, (_, front) in TASKS.items()}, **VISION)
    assert isinstance(model, SharedChaosNet)
    return train_in_sequence(model, data, Recipe(epochs=8, omission=0.2, weight_decay=0.01), strategy="rehearsal"), data


def plans(graph: IntegerGraph) -> tuple[tuple[str, FaultPlan], ...]:
    """One standard plan for every fault kind that the graph carries; what they put in place of another kind is left out."""
    standard = dict(standard_plans(graph))
    chosen = ((kind, name, standard[name]) for kind, name in PLANS.items())
    return tuple((name, plan) for kind, name, plan in chosen if {f.kind for f in plan.faults} == {kind})


def row(kind: str) -> list[Cell]:
    """The cells of a kind, which is trained once."""
    model, data = trained(kind)
    return [cell(kind, bits, model, data) for bits in WIDTHS]


def quantized(kind: str, bits: int, model: Model, data: Mapping[str, Dataset]) -> IntegerGraph:
    """The integers of a cell."""
    return replace(quantize(model, data, method="ptq", weight_bits=bits), name=f"{kind.replace('-', '_')}_{bits}bit")


def hot(graph: IntegerGraph) -> dict[str, int]:
    """Run-time parameters at another temperature than that of training."""
    return {node.name: node.parameter_at(graph, TEMPERATURE) for node in graph.nodes if node.parameter() is not None}


def cell(kind: str, bits: int, model: Model, data: Mapping[str, Dataset]) -> Cell:
    """Quantize (PTQ) and compare: 500 items clean, 50 under each plan, every head."""
    graph = quantized(kind, bits, model, data)
    verifications, right, silent = [], 0, []
    with opened_backends(BACKENDS, graph) as backends:
        for head in graph.heads:
            codes = reference.encode(graph, data[head.name].test_items, head.name)
            draws: dict[str, Any] = {"seed": SEED, "head": head.name, "parameters": hot(graph)}
            clean = verify(graph, codes, backends, **draws)
            faulty = verify(graph, codes[:FAULTY_ITEMS], backends, plans(graph), **draws)
            verifications.append(combine(clean, faulty))
            result = reference.run(graph, codes, **draws)
            right += int((result.labels == data[head.name].test_labels).sum())
            for name, plan in plans(graph):
                broken = reference.run(apply(graph, plan), codes[:FAULTY_ITEMS], **draws)
                silent += [name] if np.array_equal(broken.logits, result.logits[:FAULTY_ITEMS]) else []
    return Cell(kind, bits, tuple(verifications), right, CLEAN_ITEMS * len(graph.heads), tuple(silent))
