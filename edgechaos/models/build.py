"""An untrained model of every kind for a data set, and the recipe that suits it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from edgechaos.arithmetic.seeds import check_seed
from edgechaos.data import Dataset
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig, config_for
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.options import unknown_option
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.shared import SharedChaosNet, shared_config
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.support.errors import ConfigError, DataError
from edgechaos.support.suggest import suggestion

KINDS: Mapping[str, tuple[type[Model], type]] = MappingProxyType(
    {
        "pixels": (ChaosNet, ChaosNetConfig),
        "vision": (ChaosNet, ChaosNetConfig),
        "language": (ChaosNet, ChaosNetConfig),
        "dlm": (Dlm, DlmConfig),
        "tnn": (Tnn, TnnConfig),
        "mlp": (PlainNet, PlainConfig),
        "cnn": (PlainNet, PlainConfig),
    }
)
"""Model and configuration of every kind."""
RECIPES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"pixels": {"learning_rate": 1e-2, "weight_decay": 0.5}, "language": {"learning_rate": 1e-2, "weight_decay": 0.01}}
)
"""What differs from OTHERS."""
OTHERS: Mapping[str, float] = MappingProxyType({"learning_rate": 3e-3, "weight_decay": 0.01})
CNN_CHANNELS = (8, 16)


def recipe_for(kind: str) -> dict[str, float]:
    """learning_rate and weight_decay of a kind, for `edgechaos.train.fit.Recipe`."""
    return dict(RECIPES.get(kind, OTHERS))


def build(kind: str, data: Dataset | Mapping[str, Dataset], *, seed: int = 0, **options: Any) -> Model:
    """An untrained model; its weights depend on `seed` alone.

    Kind "shared" takes a data set per task, in the order of training, and options of `edgechaos.models.shared.shared_config`.
    Raises ConfigError for an unknown kind or an option that it does not have, DataError where the data set does not suit it.
    """
    if not isinstance(data, Dataset):
        if kind != "shared":
            raise DataError(f"model '{kind}' learns one data set, not {len(data)}; use 'shared' for several")
        shared = shared_config(data, **options)
        return drawn(SharedChaosNet, shared, seed)
    if kind == "shared":
        raise DataError(f"model 'shared' learns several tasks; give a data set for each by name, not '{data.name}' alone")
    if kind not in KINDS:
        raise ConfigError(f"no model is called {kind!r}{suggestion(kind, KINDS)}; there are {', '.join(KINDS)}", "model")
    model_type, config_type = KINDS[kind]
    for key in options:
        why = unknown_option(kind, key)
        if why is not None:
            raise ConfigError(why, key)
    if (kind == "language") != (data.text is not None):
        what, wanted = ("texts", "language") if data.text is not None else ("images", "one of the other kinds")
        raise DataError(f"data set '{data.name}' holds {what}, which model '{kind}' does not read; use {wanted}")
    if kind in ("vision", "cnn") and not data.image:
        raise DataError(f"data set '{data.name}' has items of shape {data.train_items.shape[1:]}, not images, which model '{kind}' needs")
    if model_type is ChaosNet:
        config: Any = config_for(data, **({"front": kind} | options))
    else:
        about: dict[str, Any] = {
            "inputs": data.inputs,
            "classes": data.classes,
            "mean": data.mean,
            "std": data.std,
            "signals": data.signals,
        }
        about |= {"channels": CNN_CHANNELS, "image": data.image} if kind == "cnn" else {}
        config = config_type(**about | options)
    return drawn(model_type, config, seed)


def drawn(model_type: type[Model], config: Any, seed: int) -> Model:
    """A model with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        return model_type(config)
