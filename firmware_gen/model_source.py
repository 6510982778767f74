"""The generated C of one model: its tables, its layers' descriptions, and the short sequence of calls that runs it.

Enters: a validated graph, the kernel of each matrix, a memory plan. Leaves: the text of <model>.c and <model>.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgechaos.firmware_gen.kernels import KernelChoice
from edgechaos.firmware_gen.limits import bias_limit, expected_layer, lowest_fail_q
from edgechaos.firmware_gen.memory_plan import MemoryPlan, read_by_last_matrix
from edgechaos.firmware_gen.writer import C_TYPES, Names, Writer, model_prefix
from edgechaos.graph import ChaosLayer, Head, IntegerGraph, MatMul, Node, Readout, Requantize
from edgechaos.random_bits import FAIL_ONE, binomial_table

ALIGNED = " EC_ALIGNED"
SAMPLING = {"ticks": "EC_SAMPLE_TICKS", "binomial": "EC_SAMPLE_BINOMIAL", "expected": "EC_SAMPLE_EXPECTED"}


class ModelSource:
    """Writes one model; `source()` before `header()` or after, the text is the same."""

    def __init__(self, graph: IntegerGraph, kernels: dict[str, KernelChoice], plan: MemoryPlan, title: tuple[str, ...]) -> None:
        self.graph = graph
        self.kernels = kernels
        self.plan = plan
        self.title = title
        self.prefix = model_prefix(graph.name)
        own = (f"{self.prefix}_{what}" for what in ("state", "model", "init", "reset", "run"))
        self.names = Names(*own, "init_any", "run_any", "all_heads", "all_layers", "all_matrices")
        self.layers = graph.chaos_layers()
        self.matrices = tuple(n for n in graph.nodes if isinstance(n, MatMul))
        self._tables: dict[tuple[str, str], str] = {}
        self._described = {n.name: self.names.take(f"{n.name}_layer") for n in graph.nodes}
        self._runs = {h.name: self.names.take(f"run_{h.name}") for h in graph.heads}

    def header(self) -> str:
        """<model>.h: the state and three functions."""
        w, p = Writer(), self.prefix
        w.comment(*self.title)
        w.lines(
            f"#ifndef EC_MODEL_{p.upper()}_H", f"#define EC_MODEL_{p.upper()}_H", "", '#include "ec_model.h"', '#include "ec_run.h"', ""
        )
        w.comment(
            "All memory of the model, static or on any stack, aligned to 4 bytes.",
            "input: int8 codes of the head that runs next. Values whose lifetimes do not overlap share words, halves, codes.",
        )
        with w.block(f"typedef struct {p}_state", f"}} {p}_state;"):
            w.line(f"int32_t words[{max(self.plan.pools['words'], 1)}];")
            w.line(f"int8_t input[{_up(self.plan.input_bytes, 4)}];")
            w.line(f"int16_t halves[{max(self.plan.pools['halves'], 1)}];")
            w.line(f"int8_t codes[{max(self.plan.pools['codes'], 1)}];")
            w.line("ec_scratch scratch;")
            w.lines("#if EC_FAULTS", "ec_faults faults;", "#endif")
        w.lines(f"EC_STATIC_ASSERT(sizeof({p}_state) == {self.plan.state_bytes}u);", "")
        w.line(f"extern const ec_model {p}_model;")
        w.lines("", f"/* Before the first run: clears everything, faults included. {p}_reset does the same later. */")
        w.lines(f"void {p}_init({p}_state *state);", f"void {p}_reset({p}_state *state);", "")
        heads = ", ".join(f"{k} '{h.name}'" for k, h in enumerate(self.graph.heads))
        w.comment(f"Runs one head ({heads}) on state->input; returns the class. The logits stay in", "state->words until the next run.")
        w.lines(f"uint16_t {p}_run({p}_state *state, uint8_t head, uint32_t seed, uint32_t sample);", "", "#endif")
        return w.text()

    def source(self) -> str:
        """<model>.c."""
        w = Writer()
        w.comment(*self.title, "", *self._overview())
        w.lines(f'#include "{self.prefix}.h"', "", "#include <string.h>", "")
        w.lines('#include "ec_chaos.h"', '#include "ec_hashes.h"', '#include "ec_matmul.h"', "")
        for node in self.graph.nodes:
            self._describe(w, node)
        for head in self.graph.heads:
            self._run_head(w, head)
        self._public(w)
        return w.text()

    def _overview(self) -> list[str]:
        lines = []
        for node in self.graph.nodes:
            y = self.graph.tensors[node.output]
            what = f"{node.name}: {type(node).__name__} {node.input} -> {node.output} {y.dtype}{list(y.shape)}"
            if y.ticks:
                what += f" x {y.ticks} ticks"
            lines.append(what)
        return lines

    def _table(self, w: Writer, constant: str, layout: str, values: NDArray[np.integer], dtype: str, note: str) -> str:
        """The C name of a constant in one layout: written at its first use only."""
        key = (constant, layout)
        if key not in self._tables:
            self._tables[key] = self.names.take(f"{constant}_{layout}" if layout else constant)
            w.comment(note) if note else None
            w.array(self._tables[key], values, dtype, ALIGNED if layout == "rows" else "")
            w.line()
        return self._tables[key]

    def _int32(self, w: Writer, constant: str | None) -> str:
        return self._table(w, constant, "", self.graph.value(constant), "int32", "") if constant is not None else "NULL"

    def _describe(self, w: Writer, node: Node) -> None:
        if isinstance(node, MatMul):
            self._describe_matrix(w, node)
        elif isinstance(node, Requantize):
            self._describe_scaling(w, node)
        elif isinstance(node, ChaosLayer):
            self._describe_chaos(w, node)

    def _fields(self, w: Writer, kind: str, node: Node, fields: dict[str, object], hooks: dict[str, object]) -> None:
        with w.block(f"static const {kind} {self._described[node.name]} =", "};"):
            for name, value in fields.items():
                w.line(f".{name} = {value},")
            if hooks:
                w.line("#if EC_FAULTS")
                for name, value in hooks.items():
                    w.line(f".{name} = {value},")
                w.line("#endif")
        w.line()

    def _describe_matrix(self, w: Writer, node: MatMul) -> None:
        weight, constant = self.graph.value(node.weight), self.graph.constants[node.weight]
        (outputs, inputs), choice = weight.shape, self.kernels[node.name]
        stride, offset = _up(outputs, 8), 1 << (constant.bits - 1)
        w.comment(f"{node.name}: {outputs} outputs <- {inputs} inputs, {constant.bits}-bit weights; {choice}")
        if choice.kernel == "dense":
            table = self._table(w, node.weight, "dense", weight, "int8", "[out][in]")
        else:
            rows = np.full((inputs, stride), offset, np.int16)
            rows[:, :outputs] += weight.T
            table = self._table(w, node.weight, "rows", rows.astype(np.uint8), "uint8", f"[in][out], weight + {offset}, padded to {stride}")
        bias = self._int32(w, node.bias)
        fields: dict[str, object] = {
            "dense": table if choice.kernel == "dense" else "NULL",
            "rows": table if choice.kernel == "event" else "NULL",
            "bias": bias,
            "outputs": outputs,
            "inputs": inputs,
            "stride": stride if choice.kernel == "event" else 0,
            "offset": offset,
        }
        hooks: dict[str, object] = {"index": self.matrices.index(node), "bias_limit": bias_limit(self.graph, node)}
        self._fields(w, "ec_matrix", node, fields, hooks)

    def _describe_scaling(self, w: Writer, node: Requantize) -> None:
        multiplier = self._int32(w, node.multiplier)
        shift = self._table(w, node.shift, "bits", self.graph.value(node.shift), "uint8", "")
        fields: dict[str, object] = {
            "multiplier": multiplier,
            "shift": shift,
            "channels": self.graph.tensors[node.input].shape[0],
            "per_channel": int(self.graph.value(node.multiplier).size > 1),
            "low": node.low,
            "high": node.high,
        }
        self._fields(w, "ec_scaling", node, fields, {})

    def _describe_chaos(self, w: Writer, node: ChaosLayer) -> None:
        neurons = self.graph.tensors[node.input].shape[0]
        loss = f"fail_prob {node.fail_q}/{FAIL_ONE} = {node.fail_q / FAIL_ONE:.6g}"
        w.comment(f"{node.name}: {neurons} neurons, {node.ticks} {node.mode} ticks, sampled as {node.sampling}, {loss}")
        threshold, sigma = self._int32(w, node.threshold), self._int32(w, node.sigma)
        table = "NULL"
        if node.sampling == "binomial":
            table = self._table(w, node.name, "binomial", binomial_table(node.ticks, node.fail_q), "uint32", "")
        fields: dict[str, object] = {
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
        before = self.layers[: self.layers.index(node)]
        hooks: dict[str, object] = {
            "index": len(before),
            "mask_at": sum((self.graph.tensors[n.input].shape[0] + 7) // 8 for n in before),
            "table_at": sum(n.ticks for n in before if n.sampling == "binomial"),
            "fail_q_lowest": lowest_fail_q(self.graph, node),
        }
        self._fields(w, "ec_chaos_layer", node, fields, hooks)

    def _at(self, tensor: str) -> str:
        """The C expression of a tensor's first element."""
        if tensor not in self.plan.places:
            return "state->input"
        place = self.plan.places[tensor]
        return f"state->{place.pool} + {place.first}"

    def _run_head(self, w: Writer, head: Head) -> None:
        with w.block(f"static uint16_t {self._runs[head.name]}({self.prefix}_state *state, const ec_run *run)"):
            for node in self.graph.path(head.name)[:-1]:
                self._call(w, node)
            w.line(f"return ec_argmax({self._at(head.logits)}, {self.graph.tensors[head.logits].size});")
        w.line()

    def _call(self, w: Writer, node: Node) -> None:
        about, x, y = f"&{self._described[node.name]}", self._at(node.input), self._at(node.output)
        t = self.graph.tensors[node.output]
        if isinstance(node, MatMul):
            layer = expected_layer(self.graph, node) if isinstance(node, Readout) else None
            gain = f"ec_chaos_expected_gain(&{self._described[layer.name]}, run)" if layer else "1"
            if t.ticks:
                with w.block(f"for (uint32_t t = 0; t < {t.ticks}; t++)"):
                    fan_in = self.graph.tensors[node.input].shape[0]
                    w.line(f"ec_matmul({about}, run, {gain}, {x} + {fan_in} * t, {y} + {t.shape[0]} * t);")
            else:
                w.line(f"ec_matmul({about}, run, {gain}, {x}, {y});")
        elif isinstance(node, Requantize):
            w.line(f"ec_requantize_{t.dtype}({about}, {max(t.ticks, 1)}, {x}, {y});")
        else:
            assert isinstance(node, ChaosLayer)
            kind = node.mode if node.sampling == "ticks" else "sampled"
            w.line(f"ec_chaos_{kind}({about}, run, {x}, {y});")

    def _public(self, w: Writer) -> None:
        p = self.prefix
        with w.block(f"uint16_t {p}_run({p}_state *state, uint8_t head, uint32_t seed, uint32_t sample)"):
            w.lines("ec_run run;", "run.seed = seed;", "run.sample = sample;", "run.scratch = &state->scratch;")
            w.lines("#if EC_FAULTS", "run.faults = &state->faults;", "#endif")
            if len(self.graph.heads) == 1:
                w.lines("(void)head;", f"return {self._runs[self.graph.heads[0].name]}(state, &run);")
            else:
                with w.block("switch (head)"):
                    for k, head in enumerate(self.graph.heads[1:], 1):
                        w.lines(f"case {k}:", f"    return {self._runs[head.name]}(state, &run);")
                    w.lines("default:", f"    return {self._runs[self.graph.heads[0].name]}(state, &run);")
        w.line()
        self._sites(w)
        with w.block(f"void {p}_init({p}_state *state)"):
            w.line("memset(state, 0, sizeof *state);")
            w.lines("#if EC_FAULTS", f"ec_faults_clear(&state->faults, &{p}_model.sites);", "#endif")
        w.line()
        with w.block(f"void {p}_reset({p}_state *state)"):
            w.line(f"{p}_init(state);")
        w.line()
        self._model(w)

    def _sites(self, w: Writer) -> None:
        w.line("#if EC_FAULTS")
        for kind, name, nodes in (("ec_chaos_layer", "layers", self.layers), ("ec_matrix", "matrices", self.matrices)):
            items = ", ".join(f"&{self._described[n.name]}" for n in nodes) or "NULL"
            w.line(f"static const {kind} *const all_{name}[{max(len(nodes), 1)}] = {{{items}}};")
        w.lines("#endif", "")

    def _model(self, w: Writer) -> None:
        p = self.prefix
        with w.block("static void init_any(void *state)"):
            w.line(f"{p}_init(state);")
        w.line()
        with w.block("static uint16_t run_any(void *state, uint8_t head, uint32_t seed, uint32_t sample)"):
            w.line(f"return {p}_run(state, head, seed, sample);")
        w.line()
        with w.block(f"static const ec_head all_heads[{len(self.graph.heads)}] =", "};"):
            for head in self.graph.heads:
                read = read_by_last_matrix(self.graph, head.name).input
                fields = {
                    "input_bytes": self.graph.tensors[head.input].size,
                    "logits_at": self._offset(head.logits),
                    "read_at": self._offset(read),
                    "read_bytes": self.graph.tensors[read].size,
                    "logits": self.graph.tensors[head.logits].size,
                }
                w.line("{" + ", ".join(f".{k} = {v}" for k, v in fields.items()) + "},")
        w.line()
        with w.block(f"const ec_model {p}_model =", "};"):
            w.lines(".head = all_heads,", f".input_at = offsetof({p}_state, input),", f".heads = {len(self.graph.heads)},")
            w.lines(
                ".model_hash = EC_MODEL_HASH,",
                ".firmware_hash = EC_FIRMWARE_HASH,",
                ".init = init_any,",
                ".run = run_any,",
                "#if EC_FAULTS",
            )
            w.line(f".faults_at = offsetof({p}_state, faults),")
            w.line(f".sites = {{all_layers, all_matrices, {len(self.layers)}, {len(self.matrices)}}},")
            w.line("#endif")

    def _offset(self, tensor: str) -> str:
        if tensor not in self.plan.places:
            return f"offsetof({self.prefix}_state, input)"
        place, dtype = self.plan.places[tensor], self.graph.tensors[tensor].dtype
        return f"offsetof({self.prefix}_state, {place.pool}) + {place.first} * sizeof({C_TYPES[dtype]})"


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
