"""Every kind of node is written in every target, or refused there by name: nothing is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from edgechaos.export.onnx import lowering as onnx_lowering
from edgechaos.export.onnx.to_onnx import to_onnx
from edgechaos.firmware_gen.compilers.c import lowering as c_lowering
from edgechaos.floatgraph import float_nodes
from edgechaos.graph.node import NODE_KINDS, Node
from edgechaos.quantize.kind import KINDS, PACKAGE
from edgechaos.support.registry import load_all, modules
from tests.helpers.places import ROOT

REFUSED: Mapping[str, frozenset[str]] = {"onnx": frozenset(), "c": frozenset()}
"""Kinds that a target leaves out on purpose."""


def in_onnx(kind: type[Node]) -> bool:
    return kind in onnx_lowering.LOWERINGS


def in_c(kind: type[Node]) -> bool:
    return kind in c_lowering.LOWERINGS


@pytest.mark.parametrize(("target", "written"), [("onnx", in_onnx), ("c", in_c)])
def test_every_kind_is_written_or_refused(target: str, written: Callable[[type[Node]], bool]) -> None:
    for package in (onnx_lowering.LOWERINGS.package, c_lowering.LOWERINGS.package, "edgechaos.graph.kinds"):
        load_all(package)
    own = {name: kind for name, kind in NODE_KINDS.items() if kind.__module__.startswith("edgechaos.")}
    assert callable(to_onnx), "what imports the exporter fills its table"
    assert len(own) > 10
    assert {name for name, kind in own.items() if not written(kind)} == REFUSED[target]


def test_every_kind_of_float_node_is_lowered_or_folded() -> None:
    kinds = {c for c in vars(float_nodes).values() if isinstance(c, type) and issubclass(c, float_nodes.FloatNode)} - {
        float_nodes.FloatNode
    }
    load_all(PACKAGE)
    assert kinds - KINDS.keys() == {float_nodes.Normalize, float_nodes.BatchNorm}


def test_a_kind_is_one_file() -> None:
    load_all("edgechaos.graph.kinds")
    where = {kind.__module__ for kind in NODE_KINDS.values() if kind.__module__.startswith("edgechaos.")}
    assert where == {f"edgechaos.graph.kinds.{name}" for name in modules("edgechaos.graph.kinds")}


def test_the_base_and_the_checks_name_no_kind() -> None:
    load_all("edgechaos.graph.kinds")
    for name in ("node", "rules", "validation", "analysis", "kind_table", "tensors", "artifact"):
        text = (ROOT / "edgechaos" / "graph" / f"{name}.py").read_text()
        assert "graph.kinds import" not in text
        assert "edgechaos.graph.kinds." not in text


def test_c_names_kinds_in_their_files_alone() -> None:
    """Memory, limits, kernels, costs and what a model includes are asked of a kind, or of what writes it."""
    kinds = ROOT / "firmware_gen" / "compilers" / "c" / "kinds"
    named = {p.name for p in (ROOT / "firmware_gen").rglob("*.py") if "graph.kinds" in p.read_text() and p.parent != kinds}
    assert not named
