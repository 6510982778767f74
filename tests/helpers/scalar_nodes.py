"""The feed-forward nodes of docs/semantics.md once more, in plain Python integers, one item at a time, as in `tests.helpers.scalar`.

A model is a list of nodes in the notation of the test vectors: dictionaries of their fields, constants inline.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.helpers import scalar

Row = list[int]
Image = list[list[Row]]
"""[channel][row][column]"""


def conv(weight: list[Image], bias: Row, x: Image, stride: tuple[int, int], pad: tuple[int, int]) -> Image:
    """int32 [output][row][column]; outside the image there is code 0."""
    height, width, (kh, kw) = len(x[0]), len(x[0][0]), (len(weight[0][0]), len(weight[0][0][0]))

    def at(c: int, row: int, column: int) -> int:
        return x[c][row][column] if 0 <= row < height and 0 <= column < width else 0

    return [
        [
            [
                b
                + sum(
                    w[c][i][j] * at(c, row * stride[0] + i - pad[0], column * stride[1] + j - pad[1])
                    for c in range(len(x))
                    for i in range(kh)
                    for j in range(kw)
                )
                for column in range((width + 2 * pad[1] - kw) // stride[1] + 1)
            ]
            for row in range((height + 2 * pad[0] - kh) // stride[0] + 1)
        ]
        for w, b in zip(weight, bias, strict=True)
    ]


def pool(x: Image, kernel: tuple[int, int], stride: tuple[int, int], what: Callable[[Row], int]) -> Image:
    """what: `max` or `sum` of each window."""
    return [
        [
            [
                what([channel[row + i][column + j] for i in range(kernel[0]) for j in range(kernel[1])])
                for column in range(0, len(channel[0]) - kernel[1] + 1, stride[1])
            ]
            for row in range(0, len(channel) - kernel[0] + 1, stride[0])
        ]
        for channel in x
    ]


def embedding_bag(weight: list[Row], ids: Row, multiplier: Row, shift: Row, low: int, high: int) -> Row:
    known = [i if i < len(weight) else 1 for i in ids if i != 0]
    if not known:
        return [0] * len(weight[0])
    count = len(known)
    return [scalar.requantize(sum(weight[i][d] for i in known), multiplier[count], shift[count], low, high) for d in range(len(weight[0]))]


def topk(x: Row, k: int, dead: Row) -> Row:
    """dead: indices. One winner after another: the largest that is left, the lowest index among equals."""
    left, out = [n for n in range(len(x)) if n not in dead], [0] * len(x)
    for _ in range(min(k, len(left))):
        best = left[0]
        for n in left:
            if x[n] > x[best]:
                best = n
        left.remove(best)
        out[best] = x[best]
    return out


def norm(codes: Row) -> int:
    """The largest integer whose square is not above the sum of squares, bit by bit."""
    square, root = sum(c * c for c in codes), 0
    for bit in range(15, -1, -1):
        if (root + (1 << bit)) ** 2 <= square:
            root += 1 << bit
    return root


def thermal_noise(x: Row, codes: Row, k: int, shifts: tuple[int, int], seed: int, sample: int, stream: int) -> Row:
    amplitude = min(32767, scalar.rounded_shift(norm(codes) * k, shifts[0]))
    return [
        v + scalar.rounded_shift(scalar.gaussian(scalar.word(seed, sample, 0, stream, n) >> 22) * amplitude, shifts[1])
        for n, v in enumerate(x)
    ]


def sampled(node: dict[str, Any], x: Row, seed: int, sample: int) -> Row:
    """Counts of a layer that draws one word per neuron, or none."""
    fires = [int(v > threshold) for v, threshold in zip(x, node["threshold"], strict=True)]
    if node["sampling"] == "expected":
        return fires
    table = scalar.binomial_table(node["ticks"], node["fail_q"])
    return [f * scalar.binomial_count(scalar.word(seed, sample, 0, node["fail_stream"], n), table) for n, f in enumerate(fires)]


def flat(value: Any) -> Row:
    """Row-major."""
    return [v for part in value for v in flat(part)] if isinstance(value, list) else [value]


def each(value: Any, change: Callable[[int], int]) -> Any:
    return [each(part, change) for part in value] if isinstance(value, list) else change(value)


def added(x: Any, other: Any, gain: int, other_gain: int) -> Any:
    if isinstance(x, list):
        return [added(a, b, gain, other_gain) for a, b in zip(x, other, strict=True)]
    return gain * x + other_gain * other


def run(nodes: list[dict[str, Any]], entry: str, codes: Any, seed: int, sample: int) -> dict[str, Any]:
    """Every tensor of one item, by name."""
    values: dict[str, Any] = {entry: codes}
    for node in nodes:
        values[node["output"]] = evaluate(node, values, seed, sample)
    return values


def evaluate(node: dict[str, Any], values: dict[str, Any], seed: int, sample: int) -> Any:
    kind, x = node["kind"], values[node["input"]]
    if kind in ("MatMul", "Readout"):
        gain = node.get("gain", 1)
        return scalar.matmul([[gain * w for w in row] for row in node["weight"]], node["bias"], flat(x))
    if kind == "Conv":
        return conv(node["weight"], node["bias"], x, node["stride"], node["pad"])
    if kind in ("MaxPool", "AveragePool"):
        return pool(x, node["kernel"], node["stride"], max if kind == "MaxPool" else sum)
    if kind == "Add":
        return added(x, values[node["other"]], node["gain"], node["other_gain"])
    if kind == "EmbeddingBag":
        return embedding_bag(node["weight"], x, node["multiplier"], node["shift"], node["low"], node["high"])
    if kind == "Requantize":
        codes = [
            each(channel, partial(scalar.requantize, multiplier=m, shift=s, low=node["low"], high=node["high"]))
            for channel, m, s in zip(x, _per_channel(node["multiplier"], x), _per_channel(node["shift"], x), strict=True)
        ]
        silenced = {unit for unit, dead in enumerate(node.get("dead", [])) if dead}
        return [each(channel, lambda code: 0) if unit in silenced else channel for unit, channel in enumerate(codes)]
    if kind == "Lut":
        tables = node["table"] if isinstance(node["table"][0], list) else [node["table"]] * len(x)
        return [each(channel, partial(_look_up, table)) for channel, table in zip(x, tables, strict=True)]
    if kind == "TopK":
        return topk(x, node["k"], [i for i, dead in enumerate(node.get("dead", [])) if dead])
    if kind == "ThermalNoise":
        shifts = node["shift_a"], node["shift_b"]
        return thermal_noise(x, flat(values[node["codes"]]), node["k"], shifts, seed, sample, node["stream"])
    if kind == "ChaosLayer" and node["sampling"] != "ticks":
        return sampled(node, x, seed, sample)
    if kind == "ChaosLayer":
        layer = {"sigma": [0] * len(x), **node, "sigma_shift": max(1, node["sigma_shift"])}
        spikes = scalar.layer(layer, [x] * node["ticks"], seed, sample, node["fail_q"], [], [])
        return [sum(column) for column in zip(*spikes, strict=True)]
    assert kind == "ArgMax"
    return [x.index(max(x))]


def flip(node: dict[str, Any], target: str, word: int, bits: int) -> dict[str, Any]:
    """The node with the bits of the mask `bits` of one stored word toggled; words are counted row-major."""
    width = node["bits"] if target == "weight" else 32
    count = iter(range(len(flat(node[target]))))
    return {**node, target: each(node[target], lambda v: scalar.flipped(v, bits, width) if next(count) == word else v)}


def _per_channel(values: Row, x: Any) -> Row:
    return values if len(values) > 1 else values * len(x)


def _look_up(table: Row, code: int) -> int:
    return table[code + 128]
