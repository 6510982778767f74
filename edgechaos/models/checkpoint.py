"""Checkpoints: a trained model in one safetensors file, its configuration and training facts as JSON in the header.

Enters: a model. Leaves: a file written atomically, and back. Also reads the state_dict of a published `.pt` file, which holds
weights alone (`edgechaos.models.importers` makes a model of it). What is read is hostile until checked: nothing is unpickled
beyond plain tensors, nothing is allocated that the file does not hold, unknown keys are refused.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import cattrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from edgechaos.errors import ArtifactError, ConfigError, EdgeChaosError
from edgechaos.files import read_file, write_atomic
from edgechaos.models.base import Model
from edgechaos.models.chaosnet import ChaosNet, ChaosNetConfig
from edgechaos.models.dlm import Dlm, DlmConfig
from edgechaos.models.plain import PlainConfig, PlainNet
from edgechaos.models.shared import SharedChaosNet, SharedConfig
from edgechaos.models.tnn import Tnn, TnnConfig

FAMILIES: Mapping[str, tuple[type[Model], type]] = MappingProxyType(
    {
        "chaosnet": (ChaosNet, ChaosNetConfig),
        "dlm": (Dlm, DlmConfig),
        "tnn": (Tnn, TnnConfig),
        "plain": (PlainNet, PlainConfig),
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
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
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


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a published checkpoint, `torch.save` of a state_dict. Raises ArtifactError for anything else."""
    data = read_file(path, "published checkpoint")
    place = os.fspath(path)
    try:
        _refuse_compressed(data)
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises pickle, zip and runtime errors alike: every one means a file to refuse
        raise ArtifactError(f"{place}: not a plain state_dict, or corrupt ({type(error).__name__}); nothing was executed", place) from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ArtifactError(f"{place}: not a state_dict of tensors", place)
    for name, tensor in state.items():
        if not _is_stored(tensor):
            raise ArtifactError(f"{place}: {name} is no plain tensor: the file does not hold all {tensor.numel():,} values of it", place)
    return dict(state)


def _refuse_compressed(data: bytes) -> None:
    """`torch.save` compresses nothing: a file that unpacks to more than it has would take memory that nobody sent."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(data):
                raise ValueError("unpacks to more bytes than the file has")


def _is_stored(tensor: Tensor) -> bool:
    """Every value lies in the file: a view with a stride of 0 of one value may claim any size."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


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
