"""What the weights of the published checkpoints do not say: the answers to `edgechaos.models.importers.load_published` by file name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKPOINTS = Path(os.environ.get("EDGECHAOS_CHECKPOINTS", "nowhere"))
CLEAN: Mapping[str, Any] = {"fail_prob": 0.0, "noise_std": 0.0}
VISION: Mapping[str, Any] = {"ticks": 10, "normalization": "mnist", "image": (28, 28), **CLEAN}
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "a_mnist_sleep_f0.5_lr1e-3": {"ticks": 5, "mode": "parallel", "normalization": "mnist", **CLEAN},
    "b_vision5K_parallel_16x64_t10": {"mode": "parallel", **VISION},
    "b_vision5K_stateful_16x64_t10": {"mode": "stateful", **VISION},
    "b_agnews_parallel_16x64_t10": {
        "ticks": 10, "mode": "parallel", "length": 128, "vocabulary": CHECKPOINTS / "ag_news_vocab.json", **CLEAN,
    },
    "c_tnn_784_256_10_s0.05": {"normalization": "mnist", "sparsity": 0.05},
    "c_dlm_784_256_10_T0.1": {"normalization": "mnist", "current_strength": 0.1, "temperature": 0.0},
}  # fmt: skip
"""ChaosNet, TNN and DLM."""
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "d_mlp_784_128_10": {"normalization": "mnist", "architecture": "plain"},
    "d_cnn_8_16": {"normalization": "mnist", "image": (28, 28), "architecture": "plain"},
}
"""The plain networks beside them."""
