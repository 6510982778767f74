"""Integer ONNX of every kind of node against the reference, bit for bit: random graphs and faults, every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.export.engines import EngineModel, run
from edgechaos.export.onnx.to_onnx import to_onnx
from edgechaos.export.verify import engine_backend, verify
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from edgechaos.support.errors import GraphError, UnsupportedError
from tests.core.test_graph import with_constant
from tests.export.test_export import ONNX_ENGINES, SEEDS, TVM
from tests.helpers.mixed_graphs import FAMILIES, Mixed, items_for, mixed_graph, mixed_specs

pytestmark = pytest.mark.slow

FLIPS = FaultPlan((WeightBitFlip(rate=0.1, seed=2),))


def assert_equal(graph: IntegerGraph, engines: tuple[str, ...], seed: int, parameters: Mapping[str, int] | None = None) -> None:
    for head in graph.heads:
        keep = tuple(n.output for n in graph.path(head.name))
        codes = items_for(graph, 6, seed=seed % 1009, head=head.name)
        samples = [0, 1, 2**32 - 1, seed, seed ^ 1, 5]
        expected = reference.run(graph, codes, seed=seed, samples=samples, head=head.name, keep=keep, parameters=parameters)
        for engine in engines:
            found = run(graph, codes, seed=seed, samples=samples, head=head.name, keep=keep, parameters=parameters, engine=engine)
            for name in keep:
                assert found.tensors[name].dtype == expected.tensors[name].dtype, (engine, name)
                np.testing.assert_array_equal(found.tensors[name], expected.tensors[name], err_msg=f"{engine}: {name}")


@given(mixed_specs(), SEEDS, st.booleans(), st.sampled_from(ONNX_ENGINES))
@settings(max_examples=40, deadline=None)
def test_random_graphs_and_faults(spec: Mixed, seed: int, faulty: bool, engine: str) -> None:
    graph = mixed_graph(spec)
    if faulty:
        graph = apply(
            graph, FaultPlan((*FLIPS.faults, *(DeadNeurons(n.name, rate=0.4, seed=seed % 50) for n in graph.analysis.unit_nodes)))
        )
    assert_equal(graph, (engine,), seed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_every_family_on_every_engine(family: str, engine: str) -> None:
    assert_equal(apply(mixed_graph(Mixed(family)), FLIPS), (engine,), 7)  # type: ignore[arg-type]


TVM_SPECS = [
    Mixed(residual=True, spiking=False),
    Mixed(pool="average", table="channel", spiking=False),
    Mixed("text", spiking=False),
    Mixed("kwta"),
    Mixed("thermal"),
]


@pytest.mark.parametrize("engine", TVM)
@pytest.mark.parametrize("spec", TVM_SPECS, ids=lambda spec: spec.family)
def test_tvm(engine: str, spec: Mixed) -> None:
    graph = mixed_graph(spec)
    assert graph.analysis.unit_nodes, "dead units too"
    assert_equal(
        apply(graph, FaultPlan((*FLIPS.faults, *(DeadNeurons(n.name, neurons=(0, 2)) for n in graph.analysis.unit_nodes)))),
        (engine,),
        2**32 - 1,
    )


@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_ties_and_dead_units(engine: str) -> None:
    """All values equal, then saturated at both ends: the lowest indices win, dead ones never."""
    for value in (0, 2**29, -(2**29)):
        graph = mixed_graph(family="kwta", hidden=8, k=3)
        graph = with_constant(graph, "layer0_w", np.zeros((8, 11), np.int8), 8, (0.1,))
        graph = with_constant(graph, "layer0_b", np.full(8, value, np.int32))
        assert_equal(graph, (engine,), 1)
        assert_equal(apply(graph, FaultPlan((DeadNeurons(neurons=(0, 2)),))), (engine,), 1)
        assert_equal(apply(graph, FaultPlan((DeadNeurons(neurons=tuple(range(8))),))), (engine,), 1)


@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_temperature_is_an_input(engine: str) -> None:
    graph = mixed_graph(family="thermal", hidden=6)
    nodes = [n for n in graph.nodes if isinstance(n, ThermalNoise)]
    for k in ({}, {nodes[0].name: 0}, {n.name: n.k_max for n in nodes}):
        assert_equal(graph, (engine,), 11, k)
    model = to_onnx(graph)
    assert [i.name for i in model.graph.input] == ["codes", "sample", "seed", *(f"{n.name}_k" for n in nodes)]
    facts = {p.key: p.value for p in model.metadata_props}
    assert {facts[f"edgechaos.default.{n.name}_k"] for n in nodes} == {str(n.k) for n in nodes}
    with pytest.raises(GraphError, match="is outside 0"):
        EngineModel(graph, engine).run(items_for(graph, 1), parameters={nodes[0].name: nodes[0].k_max + 1})


def test_verify_at_another_temperature() -> None:
    graph = mixed_graph(family="thermal")
    node = next(n for n in graph.nodes if isinstance(n, ThermalNoise))
    codes, backends = items_for(graph, 20), {"on": engine_backend("onnxruntime-on")}
    assert verify(graph, codes, backends, parameters={node.name: node.k_max}).require().passed

    def deaf(case: object) -> reference.Result:
        return reference.run(graph, codes)

    assert not verify(graph, codes, {"deaf": deaf}, parameters={node.name: node.k_max}).passed


@pytest.mark.parametrize("engine", ONNX_ENGINES)
@pytest.mark.parametrize("family", ["vision", "text", "kwta", "thermal"])
def test_batches_of_any_size(engine: str, family: str) -> None:
    graph = mixed_graph(Mixed(family))  # type: ignore[arg-type]
    model = EngineModel(graph, engine)
    for count in (0, 1, 270):
        codes = items_for(graph, count)
        found, expected = model.run(codes, seed=5), reference.run(graph, codes, seed=5)
        assert found.logits.shape == expected.logits.shape == (count, 4)
        assert (found.logits == expected.logits).all()


@given(mixed_specs())
@settings(max_examples=15, deadline=None)
def test_no_float_and_no_unsigned_product_enters(spec: Mixed) -> None:
    graph = mixed_graph(spec)
    for head in graph.heads:
        model = onnx.shape_inference.infer_shapes(to_onnx(graph, head.name), strict_mode=True)
        types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
        types |= {i.name: i.data_type for i in model.graph.initializer}
        floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
        assert not floats & set(types.values())
        products = [n for n in model.graph.node if n.op_type == "MatMulInteger"]
        assert {types[name] for n in products for name in n.input} == {onnx.TensorProto.INT8}


def test_an_input_by_a_reserved_name_is_refused() -> None:
    graph = mixed_graph(family="kwta")
    tensors = {**graph.tensors, "seed": replace(graph.tensors["codes"], name="seed")}
    graph = replace(
        graph,
        tensors=tensors,
        nodes=(replace(graph.nodes[0], input="seed"), *graph.nodes[1:]),
        heads=(replace(graph.heads[0], input="seed"),),
    )
    with pytest.raises(UnsupportedError, match="head 'main': ONNX models have another input named 'seed'"):
        to_onnx(graph)
