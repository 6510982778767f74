"""Integer ONNX against the reference, bit for bit: random graphs, random faults, every engine; and what export refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechaos import reference
from edgechaos.export.engines import EngineModel, run
from edgechaos.export.exporters import EXPORTERS, Exporter
from edgechaos.export.onnx.to_onnx import to_onnx
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support import registry
from edgechaos.support.errors import (
    BuildError,
    ConfigError,
    EdgeChaosError,
    FaultError,
    GraphError,
    MissingExtra,
    SeedError,
    ShapeError,
    UnsupportedError,
)
from edgechaos.support.registry import Place
from tests.helpers.graphs import Spec, chaos_graph, codes_for, specs

pytestmark = pytest.mark.slow

ONNX_ENGINES = ("onnxruntime-off", "onnxruntime-on", "onnx-reference")
TVM = ("tvm",) if find_spec("tvm") else ()
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def plans(draw: st.DrawFn, stuck: bool) -> FaultPlan:
    """Any mixture of faults, at rates that small graphs feel."""
    rate, seed = st.sampled_from([0.0, 0.1, 0.3, 1.0]), st.integers(0, 50)
    kinds: list[st.SearchStrategy[object]] = [
        st.builds(Omission, rate=st.sampled_from([0.0, 0.2, 0.9, 1.0])),
        st.builds(WeightBitFlip, rate=st.sampled_from([0.01, 0.1, 0.5]), seed=seed),
        st.just(WeightBitFlip("readout", "bias", bits=((0, 3), (0, 12)))),
        st.builds(StuckAtOne, rate=rate, seed=seed) if stuck and draw(st.booleans()) else st.builds(DeadNeurons, rate=rate, seed=seed),
    ]
    return FaultPlan(tuple(draw(kind) for kind in kinds if draw(st.booleans())))  # type: ignore[misc]


def assert_equal(graph: IntegerGraph, codes: np.ndarray, seed: int, samples: list[int], engines: tuple[str, ...]) -> None:
    keep = tuple(n.output for n in graph.path())
    expected = reference.run(graph, codes, seed=seed, samples=samples, keep=keep)
    for engine in engines:
        found = run(graph, codes, seed=seed, samples=samples, keep=keep, engine=engine)
        for name in keep:
            assert found.tensors[name].dtype == expected.tensors[name].dtype, (engine, name)
            np.testing.assert_array_equal(found.tensors[name], expected.tensors[name], err_msg=f"{engine}: {name}")
        np.testing.assert_array_equal(found.logits, expected.logits)
        np.testing.assert_array_equal(found.labels, expected.labels)


@given(st.data(), specs(), SEEDS, SEEDS)
@settings(max_examples=30, deadline=None)
def test_random_graphs_and_faults(data: st.DataObject, spec: Spec, seed: int, sample: int) -> None:
    graph = apply(chaos_graph(spec), data.draw(plans(stuck=spec.sampling == "ticks")))
    codes = codes_for(graph, 4, seed=seed % 1009)
    assert_equal(graph, codes, seed, [sample, 0, 2**32 - 1, sample ^ 1], ONNX_ENGINES)


EVERYTHING = FaultPlan((Omission(rate=0.2), DeadNeurons(neurons=(0,)), StuckAtOne(neurons=(1,)), WeightBitFlip(rate=0.1)))


@pytest.mark.parametrize("engine", TVM)
@pytest.mark.parametrize(
    ("spec", "plan"),
    [
        (Spec((9, 7, 5, 3), ticks=3, noise=False), EVERYTHING),
        (Spec((9, 5, 3), mode="stateful", ticks=2, per_channel=True), EVERYTHING),
        (Spec((9, 5, 3), sampling="binomial", noise=False), FaultPlan((Omission(rate=0.4),))),
    ],
    ids=["parallel chain", "stateful", "binomial"],
)
def test_tvm(engine: str, spec: Spec, plan: FaultPlan) -> None:
    graph = apply(chaos_graph(spec), plan)
    assert_equal(graph, codes_for(graph, 20), 2**32 - 1, [*range(19), 2**32 - 1], (engine,))


@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_extreme_state_and_shifts(engine: str) -> None:
    """The corners of the arithmetic: full refractoriness that never decays, no leak, the widest noise shift, 127 ticks."""
    graph = chaos_graph(sizes=(6, 5, 3), mode="stateful", ticks=127)
    chaos = replace(graph.chaos_layers()[0], decay_q15=0, refractory_decay_q15=32768, sigma_shift=30)
    graph = replace(graph, nodes=tuple(chaos if n.name == chaos.name else n for n in graph.nodes)).validate()
    graph = apply(graph, FaultPlan((StuckAtOne(neurons=(0, 2)),)))
    assert_equal(graph, codes_for(graph, 6), 0, list(range(6)), (engine,))


@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_ties_go_to_the_lowest_class(engine: str) -> None:
    graph = chaos_graph(sizes=(3, 2, 3), fail_q=65536, noise=False)
    readout = graph.node("readout")
    assert isinstance(readout, Readout)
    graph = replace(graph, nodes=tuple(replace(readout, bias=None) if n is readout else n for n in graph.nodes)).validate()
    found = run(graph, codes_for(graph, 3), engine=engine)
    assert not found.logits.any()
    assert found.labels.tolist() == [0, 0, 0]


@pytest.mark.parametrize("engine", ONNX_ENGINES)
def test_batches_of_any_size(engine: str) -> None:
    graph = chaos_graph()
    model = EngineModel(graph, engine)
    for count in (0, 1, 300):
        codes = codes_for(graph, count)
        found, expected = model.run(codes, seed=5), reference.run(graph, codes, seed=5)
        assert found.logits.shape == (count, 4)
        assert (found.logits == expected.logits).all()
        assert (found.labels == expected.labels).all()


def test_bytes_are_deterministic_and_carry_provenance() -> None:
    model = to_onnx(chaos_graph())
    assert model.SerializeToString(deterministic=True) == to_onnx(chaos_graph()).SerializeToString(deterministic=True)
    assert (model.ir_version, model.opset_import[0].version, len(model.opset_import)) == (10, 21, 1)
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["edgechaos.model_hash"] == content_hash(chaos_graph())
    assert (facts["edgechaos.format"], facts["edgechaos.head"], facts["edgechaos.encoding"]) == ("1", "main", "pixels")
    assert [i.name for i in model.graph.input] == ["input", "sample", "seed"]
    assert [o.name for o in model.graph.output] == ["logits", "label"]


@given(specs())
@settings(max_examples=15, deadline=None)
def test_no_float_and_no_unsigned_product_enters(spec: Spec) -> None:
    model = onnx.shape_inference.infer_shapes(to_onnx(chaos_graph(spec)), strict_mode=True)
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    types |= {i.name: i.data_type for i in model.graph.initializer}
    assert not floats & set(types.values())
    for node in model.graph.node:
        assert node.op_type not in ("Min", "Max", "Loop", "Scan", "If", "QuantizeLinear")
        if node.op_type == "MatMulInteger":
            assert {types[name] for name in node.input} == {onnx.TensorProto.INT8}


def test_reserved_names_and_missing_tensors_are_refused() -> None:
    graph = chaos_graph()
    tensors = {**graph.tensors, "seed": Tensor("seed", "int32", (8,))}
    named = replace(
        graph, tensors=tensors, nodes=(replace(graph.nodes[0], output="seed"), replace(graph.nodes[1], input="seed"), *graph.nodes[2:])
    )
    with pytest.raises(UnsupportedError, match=r"node 'cortex0_matmul'.*input named 'seed'"):
        to_onnx(named)
    with pytest.raises(GraphError, match="computes no tensor 'membrane'"):
        to_onnx(graph, keep=("membrane",))
    with pytest.raises(ConfigError, match="no head 'second'"):
        to_onnx(graph, head="second")
    with pytest.raises(GraphError, match="not of the form"):
        to_onnx(replace(graph, name="Bad"))


def test_wrong_arrays_and_engines_are_refused() -> None:
    graph = chaos_graph()
    model = EngineModel(graph, "onnxruntime-on")
    with pytest.raises(ShapeError, match="takes int8"):
        model.run(np.zeros((1, 12), np.uint8))
    with pytest.raises(SeedError, match="seed"):
        model.run(codes_for(graph, 1), seed=-1)
    with pytest.raises(ConfigError, match=r"no engine 'onnx', did you mean 'onnxruntime-off'\?; there are onnxruntime-off"):
        EngineModel(graph, "onnx")


@pytest.mark.parametrize(
    ("package", "engine", "extra"), [("onnx", "onnx-reference", "onnx"), ("onnxruntime", "onnxruntime-on", "onnx"), ("tvm", "tvm", "tvm")]
)
def test_a_missing_package_is_named_with_its_extra(package: str, engine: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"package '{package}'.*pip install 'edgechaos\[{extra}\]'"):
        EngineModel(chaos_graph(), engine)


def test_importing_export_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgechaos.export.verify, edgechaos.export.plans, edgechaos.export.exporters; "
        "print([m for m in ('onnx', 'onnxruntime', 'tvm', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_exporters_are_found_by_name(tmp_path: Path) -> None:
    assert set(EXPORTERS.names()) >= {"onnx", "tvm"}
    path = EXPORTERS.load("onnx").export(chaos_graph(), tmp_path / "model.onnx")
    assert onnx.load(path).graph.name == "tiny"
    with pytest.raises(ConfigError, match="no exporter 'nir'; there are onnx, tvm"):
        EXPORTERS.load("nir")


def test_an_unwritable_export_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeChaosError, match="cannot write"):
        EXPORTERS.load("onnx").export(chaos_graph(), tmp_path / "file" / "model.onnx")


class CountExporter(Exporter):
    """A plug-in: writes the number of nodes."""

    name = "count"
    suffix = ".txt"

    def export(self, graph: IntegerGraph, path: object, head: str | None = None) -> Path:
        target = Path(str(path))
        target.write_text(str(len(graph.path(head))))
        return target


def test_plug_ins_come_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> tuple[Place, ...]:
        assert group == "edgechaos.exporters"
        values = {"broken": "tests.helpers.graphs:Spec", "count": "tests.export.test_export:CountExporter"}
        values["onnx"] = values["count"]
        return tuple(Place(name, value, "", plug_in=True) for name, value in values.items())

    monkeypatch.setattr(registry, "plug_ins", found)
    assert EXPORTERS.names() == ("onnx", "tvm", "broken", "count")
    assert EXPORTERS.load("count").export(chaos_graph(), tmp_path / "n.txt").read_text() == "4"
    assert type(EXPORTERS.load("onnx")).__name__ == "OnnxExporter", "a plug-in cannot replace a target of this package"
    with pytest.raises(ConfigError, match=r"'tests\.helpers\.graphs:Spec' is no exporter"):
        EXPORTERS.load("broken")


@pytest.mark.parametrize("target", TVM)
def test_tvm_library_loads_and_agrees(target: str, tmp_path: Path) -> None:
    import tvm
    from tvm import relax

    graph = chaos_graph(sizes=(5, 4, 3), noise=False, ticks=2)
    weight, bias = np.repeat(graph.value("readout_weight")[:1], 3, axis=0), np.zeros(3, np.int32)
    tied = {"readout_weight": Constant(weight, 8), "readout_bias": Constant(bias, 32)}
    graph = replace(graph, constants={**graph.constants, **tied}).validate()
    codes = codes_for(graph, 9)
    path = EXPORTERS.load(target).export(graph, tmp_path / "model.so")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
    arrays = (codes, np.arange(9, dtype=np.uint32), np.array([3], np.uint32))
    logits, labels = (output.numpy() for output in machine["main"](*map(tvm.runtime.tensor, arrays)))
    expected = reference.run(graph, codes, seed=3)
    assert (logits == expected.logits).all()
    assert logits.any()
    assert labels[:, 0].tolist() == expected.labels.tolist() == [0] * 9, "ties go to the lowest class"


@pytest.mark.parametrize("target", TVM)
def test_tvm_without_a_linker(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvm.support.cc.get_cc", lambda: None)
    with pytest.raises(BuildError, match="found none; install gcc"):
        EXPORTERS.load(target).export(chaos_graph(), tmp_path / "model.so")


def test_faults_that_a_graph_cannot_carry_never_reach_an_engine() -> None:
    with pytest.raises(FaultError):
        apply(chaos_graph(sampling="expected", noise=False), FaultPlan((StuckAtOne(rate=0.5),)))
