"""Pruning curves: accuracy of the integers against the share removed, by criterion, clean and under faults, with what is saved.

At one share every criterion leaves the same number of neurons per layer (or of weights per matrix). A point without faults has
Wilson's interval over the test items; under a fault, a t interval over masks, each with its own sites and random words. The
control, removal by chance, draws anew for every mask, so that its intervals, clean too, are over draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.data import Dataset
from edgechaos.faults.base import Fault
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Conv, MatMul
from edgechaos.graph.inspect import inspect
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.prune import criteria as prune_criteria
from edgechaos.prune import removal as prune
from edgechaos.prune.criteria import Criterion, NeuronActivity
from edgechaos.quantize.importance import activity, currents
from edgechaos.quantize.pipeline import Method, fake_quantized, measured, to_graph
from edgechaos.support.errors import DataError, UnsupportedError
from edgechaos.support.statistics import Estimate, accuracy_interval, mean_over_masks

if TYPE_CHECKING:
    from edgechaos.models.base import Model

What = Literal["neurons", "weights"]
SHARES = tuple(k / 10 for k in range(10))
CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a curve was measured with. model: a hash of the folded float model. faults: one condition each, its seed the mask's."""

    model: str
    family: str
    dataset: str
    what: What
    method: Method
    epochs: int
    weight_bits: int
    per_channel: bool
    sampling: Sampling
    seed: int
    items: int
    masks: int
    faults: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One share and criterion (None for the whole model).

    left: hidden neurons and channels, or weights that are not 0. accuracy: by condition, "clean" first. flash_bytes: of all
    constants; ram_bytes: the largest alive together; synaptic_operations: MACs per item at measured activity.
    """

    share: float
    criterion: Criterion | None
    left: int
    accuracy: dict[str, Estimate]
    flash_bytes: int
    ram_bytes: int
    synaptic_operations: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """All points measured so far, in the order of shares."""

    settings: Settings
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON objects, the fields by name."""
        return asdict(self)

    def point(self, share: float, criterion: Criterion | None) -> Point | None:
        """The one of that share and criterion; None where it is still to be measured."""
        return next((p for p in self.points if (p.share, p.criterion) == (share, criterion)), None)


def from_json(document: Mapping[str, Any]) -> Curve:
    """The curve of a JSON object. Raises DataError for one that is none."""
    try:
        settings = Settings(**{**document["settings"], "faults": tuple(document["settings"]["faults"])})
        points = (Point(**{**p, "accuracy": {k: Estimate(**v) for k, v in p["accuracy"].items()}}) for p in document["points"])
        return Curve(settings, tuple(points))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"no pruning curve: {error}; give another output file") from error


def label(fault: Mapping[str, Any]) -> str:
    """The name of a condition: "dead 0.25"."""
    return f"{fault['kind']} {fault['rate']:g}"


def prune_curve(
    model: Model,
    data: Dataset,
    *,
    what: What = "neurons",
    criteria: Sequence[Criterion] | None = None,
    shares: Sequence[float] = SHARES,
    faults: Sequence[Fault] | None = None,
    masks: int = 10,
    items: int | None = None,
    method: Method = "ptq",
    epochs: int = 5,
    weight_bits: int = 8,
    per_channel: bool = True,
    sampling: Sampling = "ticks",
    seed: int = 0,
    before: Curve | None = None,
    save: Callable[[Curve], object] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Curve:
    """Quantize and measure at every share by every criterion.

    what: "neurons" (and channels) leave the artifact and others take over, "weights" become 0. criteria: by default all there are.
    faults: by rate, by default `default_faults`. items: the first of the test items, by default all. method, epochs, weight_bits,
    per_channel, sampling, seed: as for `quantize`. before: an earlier curve; where its settings are the same, its points are not
    measured again. save: called with the curve after every point. progress: called with (points done, points). Raises
    UnsupportedError for a share outside [0, 1) or what `quantize` refuses, FaultError for a fault that the model cannot have.
    """
    folded = passes.fold(model.describe())
    data = _first(data, items)
    every = prune_criteria.CRITERIA if what == "neurons" else prune_criteria.OF_WEIGHTS
    compared = tuple(dict.fromkeys(criteria or every))
    conditions = default_faults(folded) if faults is None else tuple(faults)
    if masks < 2 and (conditions or "random" in compared):
        raise UnsupportedError(f"an interval over masks needs two at least, not {masks}; use more masks")
    described = tuple({k: list(v) if isinstance(v, tuple) else v for k, v in FaultPlan((f,)).to_json()[0].items()} for f in conditions)
    tuned = epochs if method == "qat" else 0
    count = len(data.test_items)
    made = (method, tuned, weight_bits, per_channel, sampling, seed)
    settings = Settings(_hash(folded), model.family, data.name, what, *made, count, masks, described)
    bench = _Bench(settings, folded, data, conditions)
    known = before if before is not None and before.settings == settings else Curve(settings, ())
    curve = Curve(settings, ())
    wanted = [(share, c) for share in sorted(set(shares)) for c in ((None,) if share == 0 else compared)]
    for done, (share, criterion) in enumerate(wanted):
        if progress:
            progress(done, len(wanted))
        point = known.point(share, criterion) or bench.measure(share, criterion)
        curve = replace(curve, points=(*curve.points, point))
        if save:
            save(curve)
    if progress:
        progress(len(wanted), len(wanted))
    return curve


def default_faults(model: FloatModel) -> tuple[Fault, ...]:
    """A quarter of all neurons dead, and half of all spikes lost where there are any."""
    dead = DeadNeurons(rate=0.25)
    return (Omission(rate=0.5), dead) if model.spiking_layers() else (dead,)


def _first(data: Dataset, items: int | None) -> Dataset:
    if items is None:
        return data
    if not 1 <= items <= len(data.test_items):
        raise DataError(f"data set '{data.name}' has {len(data.test_items):,} test items, not {items:,}; use another number")
    return replace(data, test_items=data.test_items[:items], test_labels=data.test_labels[:items])


def _hash(model: FloatModel) -> str:
    """Of all that the nodes say."""
    digest = hashlib.sha256()
    for node in model.nodes:
        for f in fields(node):
            value = getattr(node, f.name)
            digest.update(f"{type(node).__name__}.{f.name}=".encode())
            digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


class _Bench:
    """One model and data set under the settings of a curve; activity is measured once, when it is first asked for."""

    def __init__(self, settings: Settings, folded: FloatModel, data: Dataset, faults: Sequence[Fault]) -> None:
        self.settings, self.folded, self.data, self.faults = settings, folded, data, faults
        self._activity: dict[str, NeuronActivity] | None = None
        self._currents: dict[str, NDArray[np.float64]] | None = None

    def measure(self, share: float, criterion: Criterion | None) -> Point:
        """Of one share: once, or by chance with one draw per mask."""
        masks = range(self.settings.masks)
        if criterion == "random":
            models = [self._pruned(share, criterion, draw) for draw in masks]
            graphs = [self._graph(m) for m in models]
            clean = mean_over_masks([g.metadata["accuracy"]["integer"] for g in graphs])
        else:
            models = [self._pruned(share, criterion, 0)]
            graphs = [self._graph(models[0])]
            clean = accuracy_interval(graphs[0].metadata["accuracy"]["integer"], self.settings.items)
        accuracy = {CLEAN: clean}
        for about, fault in zip(self.settings.faults, self.faults, strict=True):
            accuracy[label(about)] = mean_over_masks([self._under(graphs[mask % len(graphs)], fault, mask) for mask in masks])
        costs = [inspect(g) for g in graphs]
        operations = [c.synaptic_operations for c in costs if c.synaptic_operations is not None]
        mean = math.fsum(operations) / len(operations) if operations else None
        return Point(share, criterion, self._left(models[0]), accuracy, costs[0].flash_bytes, costs[0].ram_bytes, mean)

    def _pruned(self, share: float, criterion: Criterion | None, draw: int) -> FloatModel:
        if criterion is None:
            return self.folded
        if self.settings.what == "weights":
            if self._currents is None:
                self._currents = currents(self.folded, self.data)
            return prune.prune_weights(self.folded, share, prune_criteria.weight_scores(self.folded, criterion, self._currents, draw))
        if self._activity is None:
            self._activity = activity(self.folded, self.data)
        scores = prune_criteria.neuron_scores(self.folded, criterion, self._activity, draw)
        return prune.remove_neurons(self.folded, prune.least_neurons(self.folded, scores, share), self._activity)

    def _graph(self, model: FloatModel) -> IntegerGraph:
        s = self.settings
        fake = fake_quantized(
            model,
            self.data,
            method=s.method,
            per_channel=s.per_channel,
            epochs=max(1, s.epochs),
            sampling=s.sampling,
            seed=s.seed,
            weight_bits=s.weight_bits,
        )
        return measured(to_graph(fake, self.data, s.sampling, {}), self.data)

    def _under(self, graph: IntegerGraph, fault: Fault, mask: int) -> float:
        """Accuracy under one mask: its fault sites, its random words."""
        plan = FaultPlan((fault.seeded(mask),))
        codes = reference.encode(graph, self.data.test_items)
        return float((reference.run(apply(graph, plan), codes, seed=mask).labels == self.data.test_labels).mean())

    def _left(self, model: FloatModel) -> int:
        nodes = {n.name: n for n in model.nodes if isinstance(n, MatMul | Conv)}
        if self.settings.what == "weights":
            return sum(int(np.count_nonzero(n.weight)) for n in nodes.values())
        return sum(len(nodes[layer.matrix].weight) for layer in prune_criteria.neuron_layers(model))
