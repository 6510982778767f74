"""ChaosNet restated in plain NumPy, one line per step of the published tick; writes and checks the committed golden file.

    python -m tests.helpers.chaosnet_oracle     # rewrites tests/golden/chaosnet.npz

The file holds, for each tick mode, inputs, weights, spikes and logits of a two-layer net with noise and losses. The
weights are chosen so that no membrane comes near the threshold: float32 and float64 then agree on every spike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from tests.helpers.places import GOLDEN

SPIKES = GOLDEN / "chaosnet.npz"
SIZES = (16, 12, 8, 5)
TICKS = 6
SEED = 7
MARGIN = 1e-4
OPTIONS: dict[str, Any] = {"threshold": 0.5, "noise_std": 0.05, "decay": 0.1, "refractory_decay": 0.7, "fail_prob": 0.3}


def tick_by_tick(
    inputs: NDArray[np.float64], weights: dict[str, NDArray[np.float64]], mode: str, samples: NDArray[np.uint32]
) -> tuple[list[NDArray[np.bool_]], NDArray[np.float64], float]:
    """(spikes of each layer (batch, ticks, n), logits, the smallest |membrane - threshold|) by the published order."""
    drive = np.repeat(inputs[:, None], TICKS, axis=1)
    layers, nearest = [], np.inf
    for k in range(len(SIZES) - 2):
        n = SIZES[k + 1]
        noise = random_bits.gaussian(random_bits.words(SEED, 2 * k + 1, samples, TICKS, n)) / 2**13 * OPTIONS["noise_std"]
        lost = random_bits.lost(random_bits.words(SEED, 2 * k, samples, TICKS, n), random_bits.fail_q(OPTIONS["fail_prob"]))
        mem, refr = np.zeros((len(inputs), n)), np.zeros((len(inputs), n))
        spikes = np.zeros((len(inputs), TICKS, n), bool)
        for t in range(TICKS):
            if mode == "parallel":
                mem, refr = np.zeros_like(mem), np.zeros_like(refr)
            mem = mem + drive[:, t] @ weights[f"input{k}"].T + noise[:, t]
            mem = mem * (1 - refr)
            nearest = min(nearest, float(np.abs(mem - OPTIONS["threshold"]).min()))
            spikes[:, t] = (mem > OPTIONS["threshold"]) & ~lost[:, t]
            refr = np.clip(OPTIONS["refractory_decay"] * refr + spikes[:, t], 0, 1)
            mem = mem * (1 - OPTIONS["decay"])
        layers.append(spikes)
        drive = spikes @ weights[f"recurrent{k}"].T
    return layers, layers[-1].mean(axis=1) @ weights["readout"].T + weights["bias"], nearest


def draw(seed: int, batch: int = 9) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Random inputs and weights, representable in float32."""
    rng = np.random.default_rng(seed)
    weights = {}
    for k in range(len(SIZES) - 2):
        weights[f"input{k}"] = rng.normal(0, 0.4, (SIZES[k + 1], SIZES[k]))
        weights[f"recurrent{k}"] = rng.normal(0.2, 0.5, (SIZES[k + 1], SIZES[k + 1]))
    weights["readout"] = rng.normal(0, 1, (SIZES[-1], SIZES[-2]))
    weights["bias"] = rng.normal(0, 1, SIZES[-1])
    exact = {name: value.astype(np.float32).astype(np.float64) for name, value in weights.items()}
    return rng.normal(0, 1, (batch, SIZES[0])).astype(np.float32).astype(np.float64), exact


def write() -> None:
    """Search for a draw that stays clear of the threshold in both modes, and store it."""
    samples = np.arange(100, 109, dtype=np.uint32)
    for seed in range(1000):
        inputs, weights = draw(seed)
        results = {mode: tick_by_tick(inputs, weights, mode, samples) for mode in ("parallel", "stateful")}
        if min(nearest for _, _, nearest in results.values()) > MARGIN:
            break
    arrays: dict[str, NDArray[Any]] = {"inputs": inputs.astype(np.float32), "samples": samples}
    arrays |= {f"weight_{name}": value.astype(np.float32) for name, value in weights.items()}
    for mode, (spikes, logits, _) in results.items():
        arrays |= {f"{mode}_spikes{k}": s.astype(np.uint8) for k, s in enumerate(spikes)} | {f"{mode}_logits": logits}
    GOLDEN.mkdir(exist_ok=True)
    np.savez_compressed(SPIKES, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    write()
