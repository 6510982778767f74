"""What the kinds of node with stored weights share in C: the layouts of a matrix, and the cost of one with one vector."""

from __future__ import annotations

import numpy as np

from edgechaos.firmware_gen.compilers.c.lowering import CALL
from edgechaos.firmware_gen.compilers.c.packing import pack
from edgechaos.firmware_gen.compilers.c.source import Fields, Source
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.plan.pairs import quad_weights, spike_rows
from edgechaos.graph.weighted import Summing, Weighted

SHAPED = {"pairs": 2, "spikes": 3}
"""`paired` of an ec_matrix, by kernel."""


def matrix(source: Source, w: Writer, node: Summing, multiple: int = 1, kind: str = "") -> tuple[Fields, Fields]:
    """The members of an ec_matrix, those for faults apart; its tables are written.

    multiple: of which a dense row is a whole number. kind: of the description that begins with it, where calls ask `Source.in_use`.
    """
    constant, choice = source.graph.constants[node.weight], source.kernels[node.name]
    outputs, inputs = len(constant.value), node.terms(source.graph)
    weight = constant.value.reshape(outputs, inputs)
    stride, offset = up(outputs, 8), 1 << (constant.bits - 1)
    w.comment(f"{node.name}: {outputs} outputs <- {inputs} inputs, {constant.bits}-bit weights; {choice}")
    if choice.kernel == "dense":
        stride = up(inputs, multiple)
        layout, note = ("windows", f"[out][in], padded to {stride}") if node.slides else ("dense", "[out][in]")
        table = source.table(w, node.weight, layout, np.pad(weight, ((0, 0), (0, stride - inputs))), "int8", note)
    elif choice.kernel == "pairs":
        quads = quad_weights(weight)
        stride = quads[0].nbytes
        note = "[4 outputs][8 inputs][4][2 outputs][input], 256 B + A"
        table = f"(const int8_t *){source.table(w, node.weight, 'pairs', quads, 'int16', note)}"
    elif choice.kernel in ("packed", "nibbles"):
        shift = offset if choice.kernel == "nibbles" else 0
        packed = pack(weight.T + np.int8(shift), constant.bits)
        stride = packed.shape[1]
        note = f"[in][out], {8 // constant.bits} weights a byte" + f", weight + {shift}" * bool(shift)
        table = source.table(w, node.weight, choice.kernel, packed, "uint8", note)
    else:
        layout = "spikes" if choice.kernel == "spikes" else "rows"
        stride = up(outputs, 16) if choice.kernel == "spikes" else stride
        rows = np.full((inputs, stride), offset, np.int16)
        rows[spike_rows(inputs) if choice.kernel == "spikes" else slice(None), :outputs] += weight.T
        note = f"[in][out], weight + {offset}, padded to {stride}"
        table = source.table(w, node.weight, layout, rows.astype(np.uint8), "uint8", note)
    bias, about = source.int32(w, node.bias), hooks(source, node, kind)
    if choice.background:
        folded = choice.background * weight.sum(axis=1, dtype=np.int32)
        note = f"with {choice.background} times the sum of each output's weights"
        bias = source.table(w, node.name, "bias", source.graph.value(node.bias) + folded, "int32", note, node.bias)
        w.line("#if EC_FAULTS")
        about = {**about, "folded": source.table(w, node.name, "folded", folded, "int32")}
        w.lines("#endif", "")
    if choice.kernel in SHAPED:
        about = {**about, "paired": SHAPED[choice.kernel]}
    fields = members(source, node, table, choice.kernel in ("dense", "pairs"), bias, (outputs, inputs, stride))
    return fields | {"background": choice.background}, about


def members(source: Source, node: Weighted, table: str, dense: bool, bias: str, shape: tuple[int, int, int]) -> dict[str, object]:
    """Of an ec_matrix. shape: outputs, inputs, bytes of a stored row."""
    fields: dict[str, object] = {"dense": table if dense else "NULL", "rows": "NULL" if dense else table, "bias": bias}
    bits = node.words(source.graph).bits
    fields |= dict(zip(("outputs", "inputs", "stride"), shape, strict=True)) | {"offset": 1 << (bits - 1), "bits": bits}
    return fields | ({"index": source.matrices.index(node)} if source.guards.codes else {})


def hooks(source: Source, node: Weighted, kind: str = "") -> Fields:
    """Of an ec_matrix, where faults are compiled in. kind: as of `matrix`."""
    described = {"described": f"sizeof({kind})"} if kind and source.plan.capacities.repair_bytes else {}
    index = {} if source.guards.codes else {"index": source.matrices.index(node)}  # guards need it without faults, too
    return {**index, "bias_limit": node.bias_limit(source.graph, source.graph.analysis.bounds)} | described


def matrix_instructions(inputs: int, outputs: int) -> int:
    """One vector, by the costlier kernel: every input is listed, whole groups of inputs meet whole eights of outputs."""
    return CALL + 32 * inputs + 120 * up(outputs, 8) + 4 * (inputs + 8) * up(outputs, 8)


def up(n: int, multiple: int) -> int:
    """n rounded up to a multiple."""
    return -(-n // multiple) * multiple
