"""Quantize a trained model: fold, fine-tune or calibrate with Brevitas, lower to integers, measure what came out.

The graph's metadata records data set, normalization, training facts, float and integer accuracy and the activity of every int8
tensor. Of several heads data sets, normalizations and accuracies are given by head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.arithmetic.seeds import check_seed
from edgechaos.data import Dataset
from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.floatgraph.float_nodes import Conv, EmbeddingMean, MatMul, stored_name
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.chaos_layer import Sampling
from edgechaos.prune.criteria import DEFAULT, Criterion
from edgechaos.prune.silent import without_silent
from edgechaos.quantize.heads import CALIBRATION_ITEMS, by_head, calibration
from edgechaos.quantize.importance import pruned
from edgechaos.support.errors import UnsupportedError

if TYPE_CHECKING:
    from edgechaos.models.base import Model
    from edgechaos.quantize.fake_quant import FakeQuantModel
    from edgechaos.train.fit import ProgressCallback, Recipe

Method = Literal["qat", "ptq"]
FINE_TUNE_RATE = 1e-3
OTHERS = "*"
"""Among weight bits by node: those of nodes that are not named."""


def quantize(
    model: Model,
    data: Dataset | Mapping[str, Dataset],
    *,
    method: Method = "qat",
    per_channel: bool = True,
    epochs: int = 5,
    sampling: Sampling = "ticks",
    seed: int = 0,
    weight_bits: int | Mapping[str, int] = 8,
    prune_neurons: float | None = None,
    prune_weights: float | None = None,
    prune_by: Criterion = DEFAULT,
    progress: ProgressCallback | None = None,
) -> IntegerGraph:
    """The integer graph of a trained model.

    data: its data set, or of a model of several heads one per head, by name.
    method: "qat" fine-tunes for `epochs` under the augmentation that the model was trained with, several heads together on all
    their items; "ptq" calibrates on 1,024 training items and leaves weights and biases alone.
    per_channel: one weight scale per neuron or channel, but one per matrix where outputs are compared with each other (readouts) or
    meet one noise (before thermal noise), and for embeddings. False: one per matrix everywhere.
    sampling: how the last spiking layer draws its counts (`edgechaos.graph.kinds.chaos_layer.ChaosLayer`).
    weight_bits: 8, 4 or 2 (ternary), for all nodes with weights or by name; "*" is for those that are not named, 8 without it.
    prune_neurons, prune_weights: shares in [0, 1) to remove before quantization, neurons first (`edgechaos.prune.removal`). With any
    share of neurons, 0 too, those that send nothing in the integers leave after it, which changes no logit (`edgechaos.prune.silent`).
    prune_by: which neurons go first (`edgechaos.prune.criteria`).
    Raises UnsupportedError and AccumulatorOverflow by node name, DataError where items do not fit the model,
    MissingExtra without torch or brevitas.
    """
    described = model.describe()
    datasets = by_head(described, data)
    described = pruned(described, datasets, prune_neurons, prune_weights, prune_by)
    fake = fake_quantized(
        described,
        datasets,
        method=method,
        per_channel=per_channel,
        epochs=epochs,
        sampling=sampling,
        seed=seed,
        weight_bits=weight_bits,
        progress=progress,
    )
    metadata = about(model, datasets, method, per_channel, sampling, weight_bits if isinstance(weight_bits, int) else dict(weight_bits))
    if "pruning" in described.metadata:
        metadata["pruning"] = described.metadata["pruning"]
    graph = to_graph(fake, datasets, sampling, metadata)
    if prune_neurons is not None:
        graph = without_silent(graph, {head: _calibration_codes(graph, of_head, head) for head, of_head in datasets.items()})
    return measured(graph, datasets)


def fake_quantized(
    described: FloatModel,
    data: Dataset | Mapping[str, Dataset],
    *,
    method: Method,
    per_channel: bool,
    epochs: int,
    sampling: Sampling = "ticks",
    seed: int = 0,
    weight_bits: int | Mapping[str, int] = 8,
    progress: ProgressCallback | None = None,
) -> FakeQuantModel:
    """The folded, fake-quantized and fine-tuned (or calibrated) torch model from which integers are read."""
    from edgechaos.quantize.exact import calibrate
    from edgechaos.quantize.fake_quant import FakeQuantModel, quiet
    from edgechaos.quantize.lower import refuse_unsupported

    if method not in ("qat", "ptq"):
        raise UnsupportedError(f"unknown method {method!r}; use 'qat' or 'ptq'")
    check_seed(seed)
    folded = passes.fold(described)
    refuse_unsupported(folded, sampling)
    fake = FakeQuantModel(folded, per_channel, bits=_bits(folded, weight_bits))
    datasets = by_head(folded, data)
    for head, of_head in datasets.items():
        codes, conditions = calibration(fake, of_head, head)
        calibrate(fake, codes, conditions, head)
    if method == "qat":
        from edgechaos.quantize.joint import trainable
        from edgechaos.train.fit import fit

        recipe = fine_tuning(folded, epochs, seed)
        module, inputs, labels = trainable(fake, datasets)
        with quiet():
            fit(module, inputs, labels, recipe, "quantize", progress=progress)
        fake.settle_all()
    return fake.eval()


def fine_tuning(model: FloatModel, epochs: int, seed: int) -> Recipe:
    """The recipe of fine-tuning: the omission and death that training recorded, drawn as there; without a record what the layers lose.

    Dropout and noise of the network itself are in `model.augmentation`.
    """
    from edgechaos.train.fit import Recipe

    facts, layers = model.metadata, model.failing_layers()
    options: dict[str, Any] = {"omission": max((layer.fail_prob for layer in layers), default=0.0), "omission_draw": "fixed"}
    if "omission_draw" in facts:
        options = {"omission": facts["omission"], "omission_draw": facts["omission_draw"]}
    elif "omission" in facts and any(layer.spiking for layer in layers):  # an older record: plain networks noted what they did not do
        options = {"omission": facts["omission"], "omission_draw": "uniform"}
    dead = float(facts.get("dead", 0.0))
    return Recipe(epochs=epochs, learning_rate=FINE_TUNE_RATE, weight_decay=0.0, dead=dead, seed=seed, **options)


def _bits(model: FloatModel, weight_bits: int | Mapping[str, int]) -> dict[str, int]:
    """Per node. Raises UnsupportedError for a node without weights, or a width that no target stores."""
    weighted = (node for node in model.nodes if isinstance(node, MatMul | Conv | EmbeddingMean))
    names = list(dict.fromkeys(stored_name(node) for node in weighted))
    given = {OTHERS: weight_bits} if isinstance(weight_bits, int) else dict(weight_bits)
    bits = dict.fromkeys(names, given.pop(OTHERS, 8)) | given
    for name, width in bits.items():
        if name not in names:
            raise UnsupportedError(f"weight_bits: no node '{name}' has weights; use {', '.join(names)}", name)
        if width not in (8, 4, 2):
            raise UnsupportedError(f"weight_bits: {width} bits of '{name}' cannot be stored; use 8, 4, or 2 for ternary", name)
    return bits


def to_graph(fake: FakeQuantModel, data: Dataset | Mapping[str, Dataset], sampling: Sampling, metadata: Mapping[str, Any]) -> IntegerGraph:
    """Lower, with the membrane scales of stateful layers calibrated on training items."""
    from edgechaos.quantize.exact import exact_tensors
    from edgechaos.quantize.lower import lower

    peaks: dict[str, float] = {}
    for head, of_head in by_head(fake.described, data).items():
        codes, conditions = calibration(fake, of_head, head)
        exact_tensors(fake, codes, replace(conditions, peaks=peaks), head)
    return lower(fake, peaks, sampling, metadata)


def about(
    model: Model,
    datasets: Mapping[str, Dataset],
    method: Method,
    per_channel: bool,
    sampling: Sampling,
    weight_bits: int | dict[str, int] = 8,
) -> dict[str, Any]:
    """The metadata of a graph, JSON: what the model was, how it was trained, how it was quantized."""
    summary = model.summary()
    noisy = summary.get("float", {}).get("noise_std", 0.0) > 0 and bool(model.spiking_layers())
    return {
        "family": model.family,
        **_origins(model, datasets),
        "noise": "none" if not noisy else "table_gaussian" if sampling == "ticks" else "dropped",
        **summary,
        "training": dict(model.facts),
        "quantization": {"method": method, "per_channel": per_channel, "weight_bits": weight_bits, "sampling": sampling},
    }


def _origins(model: Model, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """`dataset` and `normalization` of a model of one head; `datasets` and `normalizations` by head of one of several."""
    normalization = model.normalizations()
    if len(datasets) == 1:
        return {"dataset": next(iter(datasets.values())).record, "normalization": next(iter(normalization.values()))}
    return {"datasets": {head: data.record for head, data in datasets.items()}, "normalizations": normalization}


def measured(graph: IntegerGraph, data: Dataset | Mapping[str, Dataset]) -> IntegerGraph:
    """The graph with `accuracy` of the integers on the test items and `activity` on calibration items in its metadata.

    accuracy: {"integer", "items", "float" where the training recorded it}; of several heads {"heads": {head: the same}}.
    activity: {tensor: fraction of nonzero codes} of every int8 tensor, ticks included.
    """
    datasets = {graph.head().name: data} if isinstance(data, Dataset) else data
    trained = graph.metadata.get("training", {}).get("accuracy", {})
    activity: dict[str, float] = {}
    accuracy: dict[str, Any] = {}
    for head, of_head in datasets.items():
        activity |= _activity(graph, of_head, head)
        labels = reference.run(graph, reference.encode(graph, of_head.test_items, head), head=head).labels
        known = trained if len(graph.heads) == 1 else trained.get("heads", {}).get(head, {})
        accuracy[head] = {**known, "integer": float((labels == of_head.test_labels).mean()), "items": len(labels)}
    recorded = {"heads": accuracy} if len(graph.heads) > 1 else next(iter(accuracy.values()))
    return replace(graph, metadata={**graph.metadata, "accuracy": recorded, "activity": activity}).validate()


def _calibration_codes(graph: IntegerGraph, data: Dataset, head: str) -> NDArray[Any]:
    return reference.encode(graph, data.train_items[:CALIBRATION_ITEMS], head)


def _activity(graph: IntegerGraph, data: Dataset, head: str) -> dict[str, float]:
    names = tuple(n.output for n in graph.path(head) if graph.tensors[n.output].dtype == "int8")
    codes = _calibration_codes(graph, data, head)
    seen = {graph.head(head).input: codes, **reference.run(graph, codes, head=head, keep=names).tensors}
    return {name: round(float(np.count_nonzero(value) / value.size), 6) for name, value in seen.items()}
