"""The generated C of one model: its state, its nodes, and the short sequence of calls that runs each head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgechaos.firmware_gen.compilers.c.lowering import lowering_of
from edgechaos.firmware_gen.compilers.c.matrix import up
from edgechaos.firmware_gen.compilers.c.source import Source
from edgechaos.firmware_gen.compilers.c.writer import C_TYPES, Names, Writer, model_prefix
from edgechaos.firmware_gen.plan.kernels import KernelChoice
from edgechaos.firmware_gen.plan.memory import MemoryPlan, input_bytes
from edgechaos.firmware_gen.plan.slots import slots_crc
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.reference import readout_input


class ModelSource:
    """Writes one model; `source()` before `header()` or after, the text is the same."""

    def __init__(self, graph: IntegerGraph, kernels: Mapping[str, KernelChoice], plan: MemoryPlan, title: tuple[str, ...]) -> None:
        self.graph = graph
        self.plan = plan
        self.title = title
        self.prefix = model_prefix(graph.name)
        own = (f"{self.prefix}_{what}" for what in ("state", "model", "init", "reset", "set_input", "run", "logits"))
        tables = ("all_heads", "all_slots", "all_matrices", "all_parameters", "all_parameter_limits", "all_guards")
        names = Names(*own, "init_any", "run_any", *tables)
        self.nodes = Source(graph, kernels, plan, names)
        self.lowerings = tuple(dict.fromkeys(map(lowering_of, graph.nodes)))
        self.layers: dict[int, str] = {}
        self._runs = {h.name: names.take(f"run_{h.name}") for h in graph.heads}

    def header(self) -> str:
        """<model>.h: the state, its functions, and what each head reads and writes."""
        w, p = Writer(), self.prefix
        w.comment(*self.title)
        w.lines(
            f"#ifndef EC_MODEL_{p.upper()}_H", f"#define EC_MODEL_{p.upper()}_H", "", '#include "ec_model.h"', '#include "ec_run.h"', ""
        )
        w.comment("Heads: the number, bytes of the input, logits, and the place of the first logit in state->words.")
        for number, head in enumerate(self.graph.heads):
            facts = {"HEAD": number, "INPUT_BYTES": input_bytes(self.graph, head.input), "LOGITS": self.graph.tensors[head.logits].size}
            facts["FIRST_LOGIT"] = self.plan.places[head.logits].first
            w.lines(*(f"#define {p.upper()}_{what}_{head.name.upper()} {value}u" for what, value in facts.items()), "")
        w.comment(
            "All memory of the model, static or on any stack, aligned to 4 bytes.",
            "input: what the head that runs next takes, int8 codes or little-endian uint16 token ids, row by row.",
            "Values whose lifetimes do not overlap share words, halves, codes.",
        )
        with w.block(f"typedef struct {p}_state", f"}} {p}_state;"):
            if self.plan.parameters:
                w.line(f"int32_t parameters[{self.plan.parameters}]; /* the k of each ThermalNoise, in node order */")
            w.line(f"int32_t words[{max(self.plan.pools['words'], 1)}];")
            w.line(f"int8_t input[{up(self.plan.input_bytes, 4)}] EC_ALIGNED;")
            w.line(f"int16_t halves[{max(self.plan.pools['halves'], 1)}];")
            w.line(f"int8_t codes[{max(self.plan.pools['codes'], 1)}] EC_ALIGNED;")
            w.line("ec_scratch scratch;")
            w.lines("#if EC_FAULTS", "ec_faults faults;", "#endif")
            if self.plan.guards:
                w.line("ec_guards guards;")
        # Where nothing is aligned, as on AVR, there is no padding, and it is less.
        w.lines(f"EC_STATIC_ASSERT(sizeof({p}_state) <= {self.plan.state_bytes}u);", "")
        w.lines("EC_C_BEGIN", "", f"extern const ec_model {p}_model;")
        w.lines("", f"/* Before the first run: clears everything, faults included. {p}_reset does the same later. */")
        w.lines(f"void {p}_init({p}_state *state);", f"void {p}_reset({p}_state *state);", "")
        w.comment(
            "Writes state->input: exactly what a head reads. Returns 0, EC_ERROR_OUT_OF_RANGE where there is no such head, or",
            "EC_ERROR_BAD_LENGTH for any other count.",
        )
        w.lines(f"uint8_t {p}_set_input({p}_state *state, uint8_t head, const void *bytes, uint32_t count);", "")
        guard = ", EC_ERROR_MEMORY where guarded words are wrong beyond correction" if self.plan.guards else ""
        refused = f"EC_ERROR_OUT_OF_RANGE where there is no such head{guard}."
        w.comment(f"Runs a head on state->input; *label becomes the class. Returns 0, or {refused}")
        w.lines(f"uint8_t {p}_run({p}_state *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label);", "")
        w.comment("The logits of a head's last run; they stay until the next run of any head. NULL where there is no such head.")
        w.lines(f"const int32_t *{p}_logits(const {p}_state *state, uint8_t head);", "", "EC_C_END", "", "#endif")
        return w.text()

    def source(self) -> str:
        """<model>.c."""
        w = Writer()
        w.comment(*self.title, "", *self._overview())
        w.lines(f'#include "{self.prefix}.h"', "", "#include <string.h>", "")
        headers = {"ec_hashes.h"}.union(lowering.header for lowering in self.lowerings)
        w.lines(*(f'#include "{name}"' for name in sorted(headers - {""})), "")
        for node in self.graph.nodes:
            lowering_of(node).describe(self.nodes, w, node)
        self.nodes.slots(w)
        self.nodes.guard_table(w)
        self._matrices(w) if self.nodes.guarded else None
        for head in self.graph.heads:
            self._run_head(w, head)
        self._public(w)
        return w.text()

    def _overview(self) -> list[str]:
        lines = []
        for node in self.graph.nodes:
            y = self.graph.tensors[node.output]
            what = f"{node.name}: {type(node).__name__} {', '.join(node.inputs())} -> {node.output} {y.dtype}{list(y.shape)}"
            if y.ticks:
                what += f" x {y.ticks} ticks"
            lines.append(what)
        return lines

    def _run_head(self, w: Writer, head: Head) -> None:
        with w.block(f"static uint16_t {self._runs[head.name]}({self.prefix}_state *state, const ec_run *run)"):
            for node in self.graph.path(head.name):
                first = w.count + 1
                lowering_of(node).call(self.nodes, w, node)
                self.layers |= dict.fromkeys(range(first, w.count + 1), node.name)
        w.line()

    def _public(self, w: Writer) -> None:
        p = self.prefix
        with w.block(f"uint8_t {p}_run({p}_state *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label)"):
            w.lines("ec_run run;", "run.seed = seed;", "run.sample = sample;", "run.scratch = &state->scratch;")
            w.line(f"run.parameter = {'state->parameters' if self.plan.parameters else 'NULL'};")
            w.lines("#if EC_FAULTS", "run.faults = &state->faults;", "#endif")
            if self.nodes.guarded:
                self._check_guards(w)
            with w.block("switch (head)"):
                for k, head in enumerate(self.graph.heads):
                    w.lines(f"case {k}:", f"    *label = {self._runs[head.name]}(state, &run);", "    return 0;")
                w.lines("default:", "    return EC_ERROR_OUT_OF_RANGE;")
        w.line()
        self._sites(w)
        with w.block(f"void {p}_init({p}_state *state)"):
            w.line("memset(state, 0, sizeof *state);")
            if self.plan.parameters:
                w.line("memcpy(state->parameters, all_parameters, sizeof all_parameters);")
            repairable = ("state->faults.in_use.matrix = all_matrices;",) if self.plan.capacities.repair_bytes else ()
            w.lines("#if EC_FAULTS", *repairable, f"ec_faults_clear(&state->faults, &{p}_model.sites);", "#endif")
        w.line()
        with w.block(f"void {p}_reset({p}_state *state)"):
            w.line(f"{p}_init(state);")
        w.line()
        with w.block(f"uint8_t {p}_set_input({p}_state *state, uint8_t head, const void *bytes, uint32_t count)"):
            w.line(f"return ec_model_set_input(&{p}_model, state, head, bytes, count);")
        w.line()
        with w.block(f"const int32_t *{p}_logits(const {p}_state *state, uint8_t head)"):
            w.line(f"return ec_model_logits(&{p}_model, state, head);")
        w.line()
        self._model(w)

    def _check_guards(self, w: Writer) -> None:
        """Before anything is computed; the matrices that are looked for wrong words are those that kernels read."""
        count, flashed = len(self.nodes.guarded), ("const ec_matrix *const *const matrices = all_matrices;",)
        in_use = "const ec_matrix *const *const matrices = state->faults.in_use.matrix;"
        w.lines(*(("#if EC_FAULTS", in_use, "#else", *flashed, "#endif") if self.plan.capacities.repair_bytes else flashed))
        w.line(f"const uint8_t code = ec_guards_check(&state->guards, all_guards, {count}, matrices, {len(self.nodes.matrices)});")
        w.lines("if (code != 0u)", "    return code;", "run.guards = &state->guards;")

    def _matrices(self, w: Writer) -> None:
        """In the order of their numbers on the wire."""
        addresses = [f"&{self.nodes.description(n)}{lowering_of(n).matrix}" for n in self.nodes.matrices]
        w.line(f"static const ec_matrix *const all_matrices[{max(len(addresses), 1)}] = {{{', '.join(addresses) or 'NULL'}}};")

    def _sites(self, w: Writer) -> None:
        """Matrices, where guards have not listed them, and parameters in the order of their numbers on the wire."""
        nodes = self.nodes
        if not nodes.guarded:
            w.line("#if EC_FAULTS")
            self._matrices(w)
            w.lines("#endif", "")
        if nodes.parameters:
            stored, largest = np.array([n.parameter() for n in nodes.parameters]).T
            w.array("all_parameters", stored, "int32")
            w.array("all_parameter_limits", largest, "int32")
            w.line()

    def _model(self, w: Writer) -> None:
        p, nodes = self.prefix, self.nodes
        with w.block("static void init_any(void *state)"):
            w.line(f"{p}_init(state);")
        w.line()
        with w.block("static uint8_t run_any(void *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label)"):
            w.line(f"return {p}_run(state, head, seed, sample, label);")
        w.line()
        with w.block(f"static const ec_head all_heads[{len(self.graph.heads)}] =", "};"):
            for head in self.graph.heads:
                read = readout_input(self.graph, head)
                fields = {
                    "input_bytes": input_bytes(self.graph, head.input),
                    "logits_at": self._offset(head.logits),
                    "read_at": self._offset(read),
                    "read_bytes": self.graph.tensors[read].size,
                    "logits": self.graph.tensors[head.logits].size,
                }
                w.line("{" + ", ".join(f".{k} = {v}" for k, v in fields.items()) + "},")
        w.line()
        with w.block(f"const ec_model {p}_model =", "};"):
            w.lines(".head = all_heads,", f".input_at = offsetof({p}_state, input),", f".heads = {len(self.graph.heads)},")
            if nodes.parameters:
                w.lines(f".parameters_at = offsetof({p}_state, parameters),", ".parameter_max = all_parameter_limits,")
                w.line(f".parameters = {len(nodes.parameters)},")
            w.lines(
                ".model_hash = EC_MODEL_HASH,",
                ".firmware_hash = EC_FIRMWARE_HASH,",
                ".init = init_any,",
                ".run = run_any,",
                "#if EC_FAULTS",
            )
            counts = f"{slots_crc(nodes.placed):#010x}u, {len(nodes.placed)}, {len(nodes.matrices)}"
            w.lines(f".faults_at = offsetof({p}_state, faults),", f".sites = {{all_slots, all_matrices, {counts}}},", "#endif")

    def _offset(self, tensor: str) -> str:
        if tensor not in self.plan.places:
            return f"offsetof({self.prefix}_state, input)"
        place, dtype = self.plan.places[tensor], self.graph.tensors[tensor].dtype
        return f"offsetof({self.prefix}_state, {place.pool}) + {place.first} * sizeof({C_TYPES[dtype]})"
