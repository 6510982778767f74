"""C that turns sensor samples into a head's input codes, bit for bit as the host does: <model>_encode.c and .h.

One float subtraction and one multiplication follow each other: there is no product and sum that a compiler could fuse. Source:
docs/semantics.md, "Signals".
"""

from __future__ import annotations

import numpy as np

from edgechaos.firmware_gen.compilers.c.writer import Names, Writer, model_prefix
from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.signals import factors

KINDS = {"float": "float", "int16": "int16_t"}
"""What a sample may be in C, by the ending of the function's name."""
ONE = """\
/* floor(u) by a comparison, which no compiler fuses with the multiplication; then (floor(u) + 1) >> 1 is the nearest code. */
static int8_t encode_one(float sample, float mean, float factor)
{
    const float u = (sample - mean) * factor;
    int32_t whole;
    if (u >= 254.0f) {
        return 127;
    }
    if (u < -254.0f) {
        return -127;
    }
    if (!(u >= -254.0f)) {
        return 0; /* not a number: as at the mean */
    }
    whole = (int32_t)u;
    if ((float)whole > u) {
        whole--;
    }
    return (int8_t)((whole + 1) >> 1);
}
"""


def signal_files(graph: IntegerGraph, title: tuple[str, ...]) -> dict[str, str]:
    """{path: text} of the two files; empty where no head reads signals."""
    heads = [head for head in graph.heads if head.encoding.kind == "signals"]
    if not heads:
        return {}
    prefix = model_prefix(graph.name)
    names = Names()
    functions = {(head.name, kind): names.take(f"{prefix}_encode_{head.name}_{kind}") for head in heads for kind in KINDS}
    written = {"h": _header(graph, heads, functions, title), "c": _source(graph, heads, functions, title)}
    return {f"src/{prefix}_encode.{ending}": text for ending, text in written.items()}


def _times(graph: IntegerGraph, head: Head) -> int:
    return graph.tensors[head.input].size // len(head.encoding.mean)


def _declaration(kind: str, name: str) -> str:
    return f"void {name}(const {KINDS[kind]} *samples, size_t channel_step, size_t time_step, int8_t *codes)"


def _header(graph: IntegerGraph, heads: list[Head], functions: dict[tuple[str, str], str], title: tuple[str, ...]) -> str:
    w, guard = Writer(), f"EC_MODEL_{model_prefix(graph.name).upper()}_ENCODE_H"
    w.comment(*title)
    w.lines(f"#ifndef {guard}", f"#define {guard}", "", "#include <stddef.h>", "#include <stdint.h>", "")
    w.lines("#ifdef __cplusplus", 'extern "C" {', "#endif", "")
    w.comment(
        "One window of samples to the codes that a head reads from state->input, channel by channel.",
        "The sample of channel c at time t is samples[c * channel_step + t * time_step]: of samples as sensors give them, all channels of",
        "one instant together, channel_step is 1 and time_step the number of channels. Samples have the units of the training data; int16",
        "are converted to float. What is out of a channel's reach saturates at -127 or 127; a sample that is not a number becomes 0.",
        "Needs float arithmetic that rounds each operation to float (IEEE 754 binary32); on a core without an FPU a library supplies it.",
    )
    for head in heads:
        w.line(f"/* Head '{head.name}': {len(head.encoding.mean)} channels x {_times(graph, head)} samples. */")
        w.lines(*(f"{_declaration(kind, functions[head.name, kind])};" for kind in KINDS), "")
    w.lines("#ifdef __cplusplus", "}", "#endif", "", "#endif")
    return w.text()


def _source(graph: IntegerGraph, heads: list[Head], functions: dict[tuple[str, str], str], title: tuple[str, ...]) -> str:
    w = Writer()
    w.comment(*title)
    w.lines(f'#include "{model_prefix(graph.name)}_encode.h"', "", "#include <float.h>", "", '#include "ec_types.h"', "")
    w.lines(
        "#if FLT_EVAL_METHOD != 0",
        '#error "floats are evaluated in a wider type, which rounds differently; on x86 compile with -msse2 -mfpmath=sse"',
        "#endif",
        "",
    )
    w.lines(*ONE.split("\n"))
    for head in heads:
        channels = len(head.encoding.mean)
        tables = {"mean": np.array(head.encoding.mean, np.float32), "factor": factors(head.encoding.reach)}
        for what, values in tables.items():
            if what == "factor":
                w.line("/* Twice the codes per unit. */")
            with w.block(f"static const float {head.name}_{what}_f[{channels}] =", "};"):
                w.lines(*(f"{float(v).hex()}f, /* {float(v):.9g} */" for v in values))
        w.line()
        for kind in KINDS:
            with w.block(_declaration(kind, functions[head.name, kind])):
                w.lines("size_t c, t;")
                with w.block(f"for (c = 0; c < {channels}u; c++)"), w.block(f"for (t = 0; t < {_times(graph, head)}u; t++)"):
                    cast = "(float)" if kind == "int16" else ""
                    sample = f"{cast}samples[c * channel_step + t * time_step]"
                    w.line(f"codes[c * {_times(graph, head)}u + t] = encode_one({sample}, {head.name}_mean_f[c], {head.name}_factor_f[c]);")
            w.line()
    return w.text().rstrip("\n") + "\n"
