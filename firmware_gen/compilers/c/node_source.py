"""The generated C of one node: its tables, its description, the call that runs it.

A constant that several nodes share is written at its first use only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic.random_bits import FAIL_ONE
from edgechaos.firmware_gen.compilers.c.lowering import Lowering, lowering_of
from edgechaos.firmware_gen.compilers.c.packing import pack
from edgechaos.firmware_gen.compilers.c.writer import Names, Writer
from edgechaos.firmware_gen.plan.kernels import KernelChoice
from edgechaos.firmware_gen.plan.limits import bias_limit, expected_layer
from edgechaos.firmware_gen.plan.memory import MemoryPlan, fan_in, padded_fan_in
from edgechaos.firmware_gen.plan.slots import PlacedSlot, placed_slots
from edgechaos.graph.drawing import GENERATOR
from edgechaos.graph.integer_graph import (
    ArgMax,
    AveragePool,
    ChaosLayer,
    Conv,
    EmbeddingBag,
    IntegerGraph,
    Lut,
    MatMul,
    MaxPool,
    Node,
    Readout,
    Requantize,
    ThermalNoise,
    TopK,
    Weighted,
)
from edgechaos.graph.kinds.lut import LUT_ENTRIES

ALIGNED = " EC_ALIGNED"
SAMPLING = {"ticks": "EC_SAMPLE_TICKS", "binomial": "EC_SAMPLE_BINOMIAL", "expected": "EC_SAMPLE_EXPECTED"}

Fields = dict[str, object]
_KNOWN = (MatMul, Conv, MaxPool, AveragePool, EmbeddingBag, Requantize, Lut, TopK, ThermalNoise, ChaosLayer, ArgMax)


class NodeSource:
    """Describes each node once, then writes any number of calls."""

    def __init__(self, graph: IntegerGraph, kernels: Mapping[str, KernelChoice], plan: MemoryPlan, names: Names) -> None:
        self.graph = graph
        self.kernels = kernels
        self.plan = plan
        self.names = names
        self.matrices = graph.weighted()
        self.placed = placed_slots(graph)
        self._at = {(p.node, p.slot.name): p.at for p in self.placed if p.words}
        self.thermals = tuple(n for n in graph.nodes if isinstance(n, ThermalNoise))
        self.described = {n.name: names.take(f"{n.name}_layer") for n in graph.nodes}
        self._tables: dict[tuple[str, str], str] = {}
        self._units: dict[str, str] = {}

    def describe(self, w: Writer, node: Node) -> None:
        """Tables and `static const` description of a node, where it needs one."""
        if isinstance(node, MatMul):
            self._fields(w, "ec_matrix", node, *self._matrix(w, node))
        elif isinstance(node, Conv):
            self._conv(w, node)
        elif isinstance(node, MaxPool | AveragePool):
            self._fields(w, "ec_windows", node, self._windows(node, node.kernel, (0, 0)))
        elif isinstance(node, EmbeddingBag):
            self._embedding(w, node)
        elif isinstance(node, Requantize):
            self._scaling(w, node)
        elif isinstance(node, Lut):
            self._lut(w, node)
        elif isinstance(node, TopK):
            self._topk(w, node)
        elif isinstance(node, ThermalNoise):
            self._thermal(w, node)
        elif isinstance(node, ChaosLayer):
            self._chaos(w, node)
        elif not node.is_class:
            lowering_of(node).describe(self, w, node)

    def matrix_address(self, node: Weighted) -> str:
        """The C expression of the address of a node's ec_matrix."""
        inside = {Conv: ".matrix", EmbeddingBag: ".table"}.get(type(node), "")
        return f"&{self.described[node.name]}{inside}"

    def own_lowerings(self) -> tuple[Lowering, ...]:
        """Of the kinds that have a file of their own, each once."""
        return tuple(dict.fromkeys(lowering_of(n) for n in self.graph.nodes if not isinstance(n, _KNOWN)))

    def headers(self) -> list[str]:
        """What the model includes for them."""
        return sorted({lowering.header for lowering in self.own_lowerings()} - {""})

    def description(self, node: Node) -> str:
        """The C name of a node's `static const` description."""
        return self.described[node.name]

    def at(self, tensor: str) -> str:
        """The C expression of a tensor's first element."""
        if tensor not in self.plan.places:
            return "state->input"
        place = self.plan.places[tensor]
        return f"state->{place.pool} + {place.first}"

    def call(self, w: Writer, node: Node) -> None:
        """The statement that runs a node."""
        about, x, y = f"&{self.described[node.name]}", self.at(node.input), self.at(node.output)
        read, written = self.graph.tensors[node.input], self.graph.tensors[node.output]
        if isinstance(node, MatMul):
            self._call_matmul(w, node)
        elif isinstance(node, Conv):
            w.line(f"ec_conv({about}, run, {x}, {y});")
        elif isinstance(node, MaxPool | AveragePool):
            w.line(f"ec_{'max' if isinstance(node, MaxPool) else 'average'}_pool({about}, {x}, {y});")
        elif isinstance(node, EmbeddingBag):
            w.line(f"ec_embedding_bag({about}, run, (const uint8_t *){x}, {y});")
        elif isinstance(node, Requantize):
            ticks = max(written.ticks, 1)
            w.line(f"ec_requantize_{read.dtype}_{written.dtype}({about}, {ticks}, {x}, {y});")
            if (node.name, "stuck_code") in self._at:
                w.lines("#if EC_FAULTS", f"ec_faults_silence(run->faults, &{self._units[node.name]}, {ticks}, {y});", "#endif")
        elif isinstance(node, Lut):
            w.line(f"ec_lut_map({about}, {x}, {y});")
        elif isinstance(node, TopK):
            w.line(f"ec_topk_select({about}, run, {x}, {y});")
        elif isinstance(node, ThermalNoise):
            w.line(f"ec_thermal_noise({about}, run, {self.at(node.codes)}, {x}, {y});")
        elif isinstance(node, ChaosLayer):
            kind = node.mode if node.sampling == "ticks" else "sampled"
            w.line(f"ec_chaos_{kind}({about}, run, {x}, {y});")
        else:
            lowering_of(node).call(self, w, node)

    def _call_matmul(self, w: Writer, node: MatMul) -> None:
        about, x, y = f"&{self.described[node.name]}", self.at(node.input), self.at(node.output)
        layer = expected_layer(self.graph, node) if isinstance(node, Readout) else None
        gain = f"ec_chaos_expected_gain(&{self.described[layer.name]}, run)" if layer else "1"
        t = self.graph.tensors[node.output]
        if t.ticks:
            with w.block(f"for (uint32_t t = 0; t < {t.ticks}; t++)"):
                w.line(f"ec_matmul({about}, run, {gain}, {x} + {fan_in(self.graph, node)} * t, {y} + {t.shape[0]} * t);")
        else:
            w.line(f"ec_matmul({about}, run, {gain}, {x}, {y});")

    def table(self, w: Writer, constant: str, layout: str, values: NDArray[np.integer], dtype: str, note: str = "") -> str:
        """The C name of a constant in one layout: written at its first use only."""
        key = (constant, layout)
        if key not in self._tables:
            self._tables[key] = self.names.take(f"{constant}_{layout}" if layout else constant)
            w.comment(note) if note else None
            w.array(self._tables[key], values, dtype, ALIGNED if layout in ("rows", "packed", "windows") else "")
            w.line()
        return self._tables[key]

    def _int32(self, w: Writer, constant: str | None) -> str:
        return self.table(w, constant, "", self.graph.value(constant), "int32") if constant is not None else "NULL"

    def _rescaling(self, w: Writer, node: Requantize | EmbeddingBag) -> Fields:
        multiplier = self._int32(w, node.multiplier)
        return {"multiplier": multiplier, "shift": self.table(w, node.shift, "bits", self.graph.value(node.shift), "uint8")}

    def _fields(self, w: Writer, kind: str, node: Node, fields: Fields, hooks: Fields | None = None) -> None:
        with w.block(f"static const {kind} {self.described[node.name]} =", "};"):
            _write_fields(w, fields, hooks or {})
        w.line()

    def _matrix(self, w: Writer, node: MatMul | Conv) -> tuple[Fields, Fields]:
        constant, choice = self.graph.constants[node.weight], self.kernels[node.name]
        outputs, inputs = len(constant.value), fan_in(self.graph, node)
        weight = constant.value.reshape(outputs, inputs)
        stride, offset = up(outputs, 8), 1 << (constant.bits - 1)
        w.comment(f"{node.name}: {outputs} outputs <- {inputs} inputs, {constant.bits}-bit weights; {choice}")
        if choice.kernel == "dense" and isinstance(node, Conv):
            stride = padded_fan_in(self.graph, node)
            padded = np.pad(weight, ((0, 0), (0, stride - inputs)))
            table = self.table(w, node.weight, "windows", padded, "int8", f"[out][in], padded to {stride}")
        elif choice.kernel == "dense":
            table, stride = self.table(w, node.weight, "dense", weight, "int8", "[out][in]"), inputs
        elif choice.kernel == "packed":
            packed = pack(weight.T, constant.bits)
            stride = packed.shape[1]
            table = self.table(w, node.weight, "packed", packed, "uint8", f"[in][out], {8 // constant.bits} weights a byte")
        else:
            rows = np.full((inputs, stride), offset, np.int16)
            rows[:, :outputs] += weight.T
            table = self.table(w, node.weight, "rows", rows.astype(np.uint8), "uint8", f"[in][out], weight + {offset}, padded to {stride}")
        fields: Fields = {
            "dense": table if choice.kernel == "dense" else "NULL",
            "rows": table if choice.kernel != "dense" else "NULL",
            "bias": self._int32(w, node.bias),
            "outputs": outputs,
            "inputs": inputs,
            "stride": stride,
            "offset": offset,
            "bits": constant.bits,
        }
        return fields, {"index": self.matrices.index(node), "bias_limit": bias_limit(self.graph, node)}

    def _windows(self, node: Conv | MaxPool | AveragePool, kernel: tuple[int, int], pad: tuple[int, int]) -> Fields:
        channels, height, width = self.graph.tensors[node.input].shape
        _, rows, columns = self.graph.tensors[node.output].shape
        names = ("channels", "height", "width", "rows", "columns", "kernel_rows", "kernel_columns")
        fields: Fields = dict(zip(names, (channels, height, width, rows, columns, *kernel), strict=True))
        steps = ("stride_rows", "stride_columns", "pad_rows", "pad_columns")
        return fields | dict(zip(steps, (*node.stride, *pad), strict=True))

    def _conv(self, w: Writer, node: Conv) -> None:
        fields, hooks = self._matrix(w, node)
        _, _, rows, columns = self.graph.value(node.weight).shape
        with w.block(f"static const ec_conv_layer {self.described[node.name]} =", "};"):
            with w.block(".matrix =", "},"):
                _write_fields(w, fields, hooks)
            with w.block(".windows =", "},"):
                _write_fields(w, self._windows(node, (rows, columns), node.pad), {})
        w.line()

    def _embedding(self, w: Writer, node: EmbeddingBag) -> None:
        constant = self.graph.constants[node.weight]
        vocabulary, size = constant.value.shape
        w.comment(f"{node.name}: {vocabulary} tokens, vectors of {size}, {constant.bits}-bit weights")
        if constant.bits == 8:
            table, stride = self.table(w, node.weight, "dense", constant.value, "int8", "[token][element]"), size
        else:
            packed = pack(constant.value, constant.bits)
            stride = packed.shape[1]
            note = f"[token][element], {8 // constant.bits} weights a byte"
            table = self.table(w, node.weight, "packed_dense", packed.view(np.int8), "int8", note)
        fields: Fields = {"dense": table, "rows": "NULL", "bias": "NULL", "outputs": vocabulary, "inputs": size}
        fields |= {"stride": stride, "offset": 1 << (constant.bits - 1), "bits": constant.bits}
        rest = self._rescaling(w, node) | {"tokens": self.graph.tensors[node.input].size, "low": node.low, "high": node.high}
        with w.block(f"static const ec_embedding {self.described[node.name]} =", "};"):
            with w.block(".table =", "},"):
                _write_fields(w, fields, {"index": self.matrices.index(node), "bias_limit": 0})
            _write_fields(w, rest, {})
        w.line()

    def _scaling(self, w: Writer, node: Requantize) -> None:
        channels = self.graph.value(node.multiplier).size
        fields = self._rescaling(w, node) | {
            "channels": channels,
            "span": math.prod(self.graph.tensors[node.input].shape) // channels,
            "low": node.low,
            "high": node.high,
        }
        self._fields(w, "ec_scaling", node, fields)
        if (node.name, "stuck_code") in self._at:
            units, *span = self.graph.tensors[node.input].shape
            name = self._units[node.name] = self.names.take(f"{node.name}_units")
            dead = self._at.get((node.name, "dead"), "EC_NOWHERE")
            about = f"{dead}, {math.prod(span)}, {self._at[node.name, 'stuck_code']}, {units}, {node.low}"
            w.lines("#if EC_FAULTS", f"static const ec_units {name} = {{{about}}};", "#endif", "")

    def _lut(self, w: Writer, node: Lut) -> None:
        values = self.graph.value(node.table)
        channels = values.size // LUT_ENTRIES
        table = self.table(w, node.table, "", values, "int8")
        span = math.prod(self.graph.tensors[node.input].shape) // channels
        self._fields(w, "ec_lut", node, {"table": table, "channels": channels, "span": span})

    def slots(self, w: Writer) -> None:
        """The table of what faults may set, in the order of the wire, and what CLEAR restores."""
        w.line("#if EC_FAULTS")
        clean = [self._clean(w, p) for p in self.placed]
        with w.block(f"static const ec_slot all_slots[{max(len(self.placed), 1)}] =", "};"):
            for p, values in zip(self.placed, clean, strict=True):
                length, span = p.slot.length if p.words else 0, p.slot.high - p.low
                w.line(
                    f"{{{values}, {p.at}, {p.low & 0xFFFFFFFF}u, {span}u, {length}, {p.width}}}, /* {p.number}: {p.node} {p.slot.name} */"
                )
            if not self.placed:
                w.line("{NULL, 0, 0u, 0u, 0, 0},")
        w.lines("#endif", "")

    def _clean(self, w: Writer, placed: PlacedSlot) -> str:
        """The C name of a slot's clean values, one word each; NULL where they are all 0, or the node has no such slot to set."""
        node = self.graph.node(placed.node)
        values = node.slot_value(self.graph, placed.slot.name)
        if not placed.words or not values.any():
            return "NULL"
        constant, dtype = getattr(node, placed.slot.name, None), "uint32" if placed.slot.dtype.startswith("u") else "int32"
        if isinstance(constant, str):  # in flash already, as the kernels read it where the hooks are compiled out
            return self.table(w, constant, "", values, dtype)
        return self.table(w, node.name, placed.slot.name, values, dtype)

    def _topk(self, w: Writer, node: TopK) -> None:
        fields: Fields = {"units": self.graph.tensors[node.input].size, "k": node.k}
        self._fields(w, "ec_topk", node, fields, self._places(node, "dead", "dropped", "k_shift"))

    def _thermal(self, w: Writer, node: ThermalNoise) -> None:
        fields: Fields = {
            "inputs": self.graph.tensors[node.codes].size,
            "outputs": self.graph.tensors[node.input].size,
            "stream": node.stream,
            "shift_a": node.shift_a,
            "shift_b": node.shift_b,
            "index": self.thermals.index(node),
        }
        self._fields(w, "ec_thermal", node, fields, {"draw_at": self._at[node.name, GENERATOR[0]]})

    def _chaos(self, w: Writer, node: ChaosLayer) -> None:
        neurons = self.graph.tensors[node.input].shape[0]
        loss = f"fail_prob {node.fail_q}/{FAIL_ONE} = {node.fail_q / FAIL_ONE:.6g}"
        w.comment(f"{node.name}: {neurons} neurons, {node.ticks} {node.mode} ticks, sampled as {node.sampling}, {loss}")
        threshold, sigma = self._int32(w, node.threshold), self._int32(w, node.sigma)
        table = "NULL"
        if node.sampling == "binomial":
            table = self.table(w, node.name, "table", node.slot_value(self.graph, "table"), "uint32")
        fields: Fields = {
            "threshold": threshold,
            "sigma": sigma,
            "table": table,
            "fail_q": f"{node.fail_q}u",
            "neurons": neurons,
            "fail_stream": node.fail_stream,
            "noise_stream": node.noise_stream,
            "decay_q15": node.decay_q15,
            "refractory_decay_q15": node.refractory_decay_q15,
            "ticks": node.ticks,
            "sigma_shift": node.sigma_shift,
            "ticked_drive": int(self.graph.tensors[node.input].ticks > 0),
            "emit_spikes": int(node.emit == "spikes"),
            "sampling": SAMPLING[node.sampling],
        }
        hooks = self._places(node, *(slot.name for slot in node.slots(self.graph) if slot.refused is None and not slot.added))
        hooks.setdefault("stuck_at", hooks["dead_at"])  # refused: one mask stands for both
        if node.mode == "stateful":
            hooks["state_at"] = self._at[node.name, "state_clear"]
        hooks["draw_at"] = self._at[node.name, GENERATOR[0]]
        self._fields(w, "ec_chaos_layer", node, fields, hooks)

    def _places(self, node: Node, *slots: str) -> Fields:
        return {f"{slot}_at": self._at[node.name, slot] for slot in slots}


def _write_fields(w: Writer, fields: Fields, hooks: Fields) -> None:
    for name, value in fields.items():
        w.line(f".{name} = {value},")
    if hooks:
        w.line("#if EC_FAULTS")
        for name, value in hooks.items():
            w.line(f".{name} = {value},")
        w.line("#endif")


def up(n: int, multiple: int) -> int:
    """n rounded up to a multiple."""
    return -(-n // multiple) * multiple
