"""The rules of docs/semantics.md once more, in plain Python integers, one value at a time: no NumPy, nothing of the package.

Written from the page, not from the code. Where both agree on the vectors, and the vectors on every target, the rules
have been read the same way twice. Signed arithmetic is unbounded here: a result that needs wrapping would differ.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import comb
from statistics import NormalDist
from typing import Any

M32 = (1 << 32) - 1
Row = list[int]


def mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x21F0AAAD & M32
    x ^= x >> 15
    x = x * 0xD35A2D97 & M32
    return x ^ (x >> 15)


def word(seed: int, sample: int, tick: int, stream: int, neuron: int) -> int:
    head = mix(seed ^ (0x9E3779B9 * (stream + 1) & M32))
    prefix_a = mix(mix(head ^ sample) ^ tick)
    prefix_b = mix((mix((mix((head + 0x85EBCA6B) & M32) + sample) & M32) + tick) & M32)
    x = (prefix_a + neuron * 0x9E3779B9) & M32
    x ^= x >> 16
    x = x * 0x21F0AAAD & M32
    x ^= x >> 15
    x = (x + prefix_b) & M32
    x = x * 0xD35A2D97 & M32
    return x ^ (x >> 16)


def gaussian(index: int) -> int:
    """Entry of the table: the quantile at (index + 1/2) / 1024 in units of 2^-13, odd about the middle."""
    if index < 512:
        return -gaussian(1023 - index)
    return int(NormalDist().inv_cdf((index + 0.5) / 1024) * 8192 + 0.5)


def binomial_table(ticks: int, fail_q: int) -> Row:
    """floor(2^31 * P(count <= k)), k = 0..ticks-1, from the closed form."""
    survive = 65536 - fail_q
    below = [sum(comb(ticks, j) * survive**j * fail_q ** (ticks - j) for j in range(k + 1)) for k in range(ticks)]
    return [(b << 31) // 65536**ticks for b in below]


def binomial_count(word_: int, table: Row) -> int:
    return sum(entry <= word_ >> 1 for entry in table)


def requantize(acc: int, multiplier: int, shift: int, low: int, high: int) -> int:
    return max(low, min(high, (acc * multiplier + (1 << (shift - 1))) >> shift))


def rounded_shift(x: int, shift: int) -> int:
    return (x + (1 << (shift - 1))) >> shift


def noise(word_: int, sigma: int, shift: int) -> int:
    return rounded_shift(gaussian(word_ >> 22) * sigma, shift)


def sites(seed: int, stream: int, count: int, rate: float) -> Row:
    """floor(rate * count + 1/2) indices of lowest word, ties to the lowest index."""
    ranked = sorted(range(count), key=lambda n: (word(seed, 0, 0, stream, n), n))
    return sorted(ranked[: int(rate * count + 0.5)])


def stateful(drives: list[int], noises: list[int], lost: list[bool], threshold: int, decay: int, refractory_decay: int) -> list[Row]:
    """One neuron over its ticks: [[membrane after the tick, refractoriness after it, spike], ...]."""
    membrane = refractory = 0
    states = []
    for drive, jitter, gone in zip(drives, noises, lost, strict=True):
        membrane = max(-32768, min(32767, membrane + drive + jitter))
        membrane = rounded_shift(membrane * (32768 - refractory), 15)
        spike = int(membrane > threshold and not gone)
        refractory = min(32768, rounded_shift(refractory * refractory_decay, 15) + 32768 * spike)
        membrane = rounded_shift(membrane * (32768 - decay), 15)
        states.append([membrane, refractory, spike])
    return states


def flipped(value: int, bits: int, width: int) -> int:
    """The two's complement word of `width` bits with the bits of the mask `bits` toggled."""
    pattern = ((value & ((1 << width) - 1)) ^ bits) & ((1 << width) - 1)
    return pattern - (1 << width) if pattern >> (width - 1) else pattern


def state_hash(read: Row, logits: Row) -> int:
    return zlib.crc32(
        b"".join(v.to_bytes(1, "little", signed=True) for v in read) + b"".join(v.to_bytes(4, "little", signed=True) for v in logits)
    )


def matmul(weight: list[Row], bias: Row, x: Sequence[int]) -> Row:
    return [b + sum(w * v for w, v in zip(row, x, strict=True)) for row, b in zip(weight, bias, strict=True)]


def layer(model: dict[str, Any], drive: list[Row], seed: int, sample: int, fail_q: int, dead: Row, stuck: Row) -> list[Row]:
    """Spikes (ticks x neurons) of a layer in the vectors' notation, one drive per tick."""
    spikes: list[Row] = [[] for _ in range(model["ticks"])]
    for n, threshold in enumerate(model["threshold"]):
        ticks = range(model["ticks"])
        lost = [word(seed, sample, t, model["fail_stream"], n) & 0xFFFF < fail_q for t in ticks]
        jitter = [noise(word(seed, sample, t, model["noise_stream"], n), model["sigma"][n], model["sigma_shift"]) for t in ticks]
        lost = [gone or n in dead for gone in lost]
        if model["mode"] == "parallel":
            fires = [int(drive[t][n] + jitter[t] > threshold and not lost[t]) for t in ticks]
        else:
            fires = _stuck_stateful(model, [drive[t][n] for t in ticks], jitter, lost, threshold, n in stuck)
        for t in ticks:
            spikes[t].append(1 if n in stuck else fires[t])
    return spikes


def _stuck_stateful(model: dict[str, Any], drive: Row, jitter: Row, lost: list[bool], threshold: int, stuck: bool) -> Row:
    # A stuck neuron's output does not depend on its state, so its state needs no model here.
    if stuck:
        return [1] * len(drive)
    states = stateful(drive, jitter, lost, threshold, model["decay_q15"], model["refractory_decay_q15"])
    return [state[2] for state in states]


def run(model: dict[str, Any], codes: Row, seed: int, sample: int, fault: dict[str, Any]) -> dict[str, Any]:
    """A whole model of the vectors: {"counts", "logits", "label", "state_hash"} of one item under one fault."""
    weights = {name: [row[:] for row in model[name]["weight"]] for name in ("input", "readout")}
    biases = {name: model[name]["bias"][:] for name in ("input", "readout")}
    for name, target, index, bits in fault["flips"]:
        if target == "weight":
            columns = len(weights[name][0])
            row = weights[name][index // columns]
            row[index % columns] = flipped(row[index % columns], bits, 8)
        else:
            biases[name][index] = flipped(biases[name][index], bits, 32)
    acc = matmul(weights["input"], biases["input"], codes)
    cortex = model["cortex"]
    if cortex["mode"] == "stateful":
        acc = [requantize(a, cortex["multiplier"], cortex["shift"], -32768, 32767) for a in acc]
    fail_q = cortex["fail_q"] if fault["fail_q"] is None else fault["fail_q"]
    spikes = layer(cortex, [acc] * cortex["ticks"], seed, sample, fail_q, fault["dead"], fault["stuck"])
    counts = [sum(column) for column in zip(*spikes, strict=True)]
    logits = matmul(weights["readout"], biases["readout"], counts)
    return {"counts": counts, "logits": logits, "label": logits.index(max(logits)), "state_hash": state_hash(counts, logits)}
