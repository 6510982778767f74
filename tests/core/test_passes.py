"""Passes over the float description: same function before and after, refusals by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgechaos.floatgraph import passes
from edgechaos.floatgraph.float_model import FloatHead, FloatModel
from edgechaos.floatgraph.float_nodes import ChaosLayer, FloatNode, MatMul, Normalize, Readout
from edgechaos.graph.heads import Encoding
from edgechaos.support.errors import GraphError, UnsupportedError

RNG = np.random.default_rng(0)


def spiking(k: int, source: str, neurons: int) -> ChaosLayer:
    rest: dict[str, Any] = {"mode": "parallel", "threshold": 0.5, "noise_std": 0.0, "decay": 0.0, "refractory_decay": 0.0, "fail_prob": 0.0}
    return ChaosLayer(name=f"cortex{k}", input=source, neurons=neurons, ticks=3, fail_stream=2 * k, noise_stream=2 * k + 1, **rest)


def two_layers() -> FloatModel:
    nodes: tuple[FloatNode, ...] = (
        Normalize("normalized", "input", np.full(6, 0.3), np.array([0.2, 0.2, 0.4, 0.4, 0.4, 0.5])),
        MatMul("in0", "normalized", RNG.normal(size=(5, 6))),
        spiking(0, "in0", 5),
        MatMul("rec0", "cortex0", RNG.normal(size=(5, 5)), RNG.normal(size=5)),
        MatMul("in1", "rec0", RNG.normal(size=(4, 5)), RNG.normal(size=4)),
        spiking(1, "in1", 4),
        MatMul("rec1", "cortex1", RNG.normal(size=(4, 4))),
        Readout("logits", "cortex1", RNG.normal(size=(3, 4)), np.zeros(3)),
    )
    head = FloatHead("main", "input", 6, "logits", ("a", "b", "c"), Encoding("pixels"))
    return FloatModel("two", nodes, (head,), {"kept": 1}).validate()


def evaluate(model: FloatModel, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Float evaluation, spikes as 0/1 of one tick. `values` enter at the head's input."""
    out = {model.heads[0].input: values}
    for node in model.nodes:
        x = out[node.input]
        if isinstance(node, Normalize):
            out[node.name] = (x / 255 - node.mean) / node.std
        elif isinstance(node, MatMul):
            out[node.name] = x @ node.weight.T + (0 if node.bias is None else node.bias)
        else:
            out[node.name] = (x > 0.5).astype(float)
    return out


def test_folding_changes_nothing_that_a_head_sees() -> None:
    model = two_layers()
    folded = passes.fold(model)
    assert [n.name for n in folded.nodes] == ["in0", "cortex0", "in1", "cortex1", "logits"]
    assert folded.metadata == {"kept": 1}
    codes = RNG.integers(0, 128, (50, 6)).astype(float)
    before, after = evaluate(model, 2 * codes), evaluate(folded, codes * folded.heads[0].step)
    for name in ("in0", "in1", "logits"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-12)


def test_a_single_std_leaves_the_weights_as_trained() -> None:
    model = two_layers()
    even = replace(model, nodes=(Normalize("normalized", "input", np.full(6, 0.3), np.full(6, 0.25)), *model.nodes[1:]))
    folded = passes.fold_normalization(even)
    np.testing.assert_allclose(folded.nodes[0].weight, model.nodes[1].weight)  # type: ignore[attr-defined]
    assert folded.heads[0].step == pytest.approx(2 / 255 / 0.25)


def test_prune_drops_only_what_no_head_reads() -> None:
    assert [n.name for n in two_layers().nodes if n not in passes.prune_unread(two_layers()).nodes and n.name == "rec1"] == ["rec1"]
    once = passes.prune_unread(two_layers())
    assert "rec1" not in {n.name for n in once.nodes}
    assert passes.prune_unread(once).nodes == once.nodes


def test_a_matrix_read_twice_is_not_folded() -> None:
    model = two_layers()
    extra = MatMul("other", "rec0", RNG.normal(size=(2, 5)))
    model = replace(model, nodes=(*model.nodes, extra)).validate()
    assert "rec0" in {n.name for n in passes.fold_linear(model).nodes}


def test_order_sorts_and_names_what_cannot_be_sorted() -> None:
    model = two_layers()
    shuffled = replace(model, nodes=model.nodes[::-1])
    with pytest.raises(GraphError, match="reads 'cortex1' before it is written"):
        shuffled.validate()
    assert {n.name for n in passes.order(shuffled).nodes} == {n.name for n in model.nodes}
    cycle = replace(model, nodes=(MatMul("a", "b", np.eye(2)), MatMul("b", "a", np.eye(2))))
    with pytest.raises(GraphError, match="'b' is never written, or depends on itself"):
        passes.order(cycle)


def test_normalization_that_cannot_fold_is_refused_by_name() -> None:
    model = two_layers()
    direct = replace(model, nodes=(model.nodes[0], spiking(0, "normalized", 6), Readout("logits", "cortex0", np.ones((3, 6)))))
    with pytest.raises(UnsupportedError, match="'cortex0': its input's normalization folds into a linear layer only"):
        passes.fold_normalization(direct)
    codes = replace(model, heads=(replace(model.heads[0], encoding=Encoding("codes")),))
    with pytest.raises(UnsupportedError, match="'normalized': only the pixels"):
        passes.fold_normalization(codes)


@pytest.mark.parametrize(
    ("index", "node", "message"),
    [
        (1, MatMul("in0", "normalized", np.ones((5, 7))), "'in0': does not take the 6 values of 'normalized'"),
        (1, MatMul("in0", "normalized", np.full((5, 6), np.nan)), "'in0': a weight is not finite"),
        (1, MatMul("In0", "normalized", np.ones((5, 6))), "'In0': the name is taken, or not of the form"),
        (7, Readout("logits", "in1", np.ones((3, 4))), "'logits': a readout reads spikes or an activation"),
        (7, Readout("logits", "cortex1", np.ones((2, 4))), "head 'main': 3 classes for 2 logits"),
    ],
)
def test_broken_descriptions_are_refused(index: int, node: FloatNode, message: str) -> None:
    nodes = list(two_layers().nodes)
    nodes[index] = node
    with pytest.raises(GraphError, match=message):
        replace(two_layers(), nodes=tuple(nodes)).validate()
