"""Checkpoints: a trained model in one safetensors file, its configuration and training facts as JSON in the header.

What is read is hostile until checked: nothing is unpickled, nothing is allocated that the file does not hold, unknown keys are
refused. (`edgechaos.models.importers` reads the `.pt` files of others.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import cattrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from edgechaos.graph.artifact import read_header
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet
from edgechaos.models.chaosnet_config import ChaosNetConfig
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.sequential import SequentialConfig, SequentialNet
from edgechaos.models.shared import SharedChaosNet, SharedConfig
from edgechaos.models.tnn import Tnn, TnnConfig
from edgechaos.support.errors import ArtifactError, ConfigError, EdgeChaosError
from edgechaos.support.files import read_file, write_atomic

FAMILIES: Mapping[str, tuple[type[Model], type]] = MappingProxyType(
    {
        "chaosnet": (ChaosNet, ChaosNetConfig),
        "dlm": (Dlm, DlmConfig),
        "tnn": (Tnn, TnnConfig),
        "plain": (PlainNet, PlainConfig),
        "sequential": (SequentialNet, SequentialConfig),
        "shared": (SharedChaosNet, SharedConfig),
    }
)
COUNTER = "num_batches_tracked"
"""The one integer that a batch normalization keeps; nothing is computed from it."""
FORMAT_VERSION = 1
KEY = "edgechaos_checkpoint"
MAX_LAYERS = 64


def read_tensors(path: str | os.PathLike[str], key: str, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file and the JSON object in its header under `key`.

    Raises ArtifactError where the file is truncated, corrupt or has no such object; EdgeChaosError where it is missing.
    """
    data = read_file(path, what)
    try:
        header = read_header(data)
        tensors = load_tensors(data)
        about = json.loads(header["__metadata__"][key])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{os.fspath(path)}: not a {what}, or truncated ({error})", os.fspath(path)) from error
    if not isinstance(about, dict):
        raise ArtifactError(f"{os.fspath(path)}: the header of this {what} is not an object", os.fspath(path))
    return tensors, about


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write weights, configuration and facts atomically."""
    config = cattrs.unstructure(model.config)
    about = {"format": FORMAT_VERSION, "family": model.family, "config": config, "facts": model.facts}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(path, save_tensors(tensors, {KEY: json.dumps(about, sort_keys=True)}))


def load(path: str | os.PathLike[str]) -> Model:
    """The model of a checkpoint, ready to evaluate.

    Raises ArtifactError where the file is truncated, corrupt, of another format or family, or its weights and its
    configuration disagree; EdgeChaosError where it is missing.
    """
    tensors, about = read_tensors(path, KEY, "checkpoint")
    place = os.fspath(path)
    family = about.get("family")
    if about.get("format") != FORMAT_VERSION or not isinstance(family, str) or family not in FAMILIES:
        found = f"format {about.get('format')!r}, family {family!r}"
        known = ", ".join(map(repr, FAMILIES))
        raise ArtifactError(f"{place}: {found} cannot be read; this release reads format {FORMAT_VERSION}, {known}", place)
    kind, config_kind = FAMILIES[family]
    try:
        config: Any = cattrs.Converter(forbid_extra_keys=True).structure(about["config"], config_kind)
    except Exception as error:  # cattrs raises groups of anything: every one means a malformed configuration
        raise ArtifactError(f"{place}: malformed configuration: {'; '.join(cattrs.transform_error(error)[:3])}", place) from error
    model = assemble(kind, config, tensors, place)
    facts = about.get("facts")
    model.facts = dict(facts) if isinstance(facts, Mapping) else {}
    return model


def assemble(kind: type[Model], config: Any, tensors: Mapping[str, Tensor], place: str) -> Model:
    """The model of a configuration and its weights. Raises ArtifactError, naming `place`, where they disagree."""
    try:
        if max(len(getattr(config, sizes, ())) for sizes in ("hidden", "channels")) > MAX_LAYERS:
            raise ConfigError(f"{kind.__name__}: {len(config.hidden)} layers are more than the {MAX_LAYERS} that are read", "hidden")
        with torch.device("meta"):  # allocates nothing: a hostile size meets the shapes in the file first
            model = kind(config)
        model.load_state_dict(dict(tensors), strict=True, assign=True)
    except EdgeChaosError as error:
        raise ArtifactError(f"{place}: {error}", place) from error
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{place}: weights and configuration disagree: {str(error).splitlines()[-1].strip()}", place) from error
    floats = (t for name, t in model.state_dict().items() if not name.endswith(COUNTER))
    if not all(t.is_floating_point() and bool(t.isfinite().all()) for t in floats):
        raise ArtifactError(f"{place}: a weight is not a finite float", place)
    return model.float().eval()
