"""EdgeChaos: fault-tolerant networks on devices that fail. The names that a user types; each loads its module when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgechaos.support import registry
from edgechaos.support.version import __version__

_FACE = {
    "Campaign": "edgechaos.hil.campaign.config",
    "Dataset": "edgechaos.data",
    "DeadNeurons": "edgechaos.faults.kinds.dead",
    "EdgeChaosError": "edgechaos.support.errors",
    "EvaluationSet": "edgechaos.hil.execute.evaluate",
    "FaultPlan": "edgechaos.faults.plan",
    "IntegerGraph": "edgechaos.graph.integer_graph",
    "Omission": "edgechaos.faults.kinds.omission",
    "StuckAtOne": "edgechaos.faults.kinds.stuck_at_1",
    "WeightBitFlip": "edgechaos.faults.kinds.weight_bit_flip",
    "apply": "edgechaos.faults.plan",
    "build_model": "edgechaos.models.build:build",
    "encode": "edgechaos.reference",
    "harden_model": "edgechaos.harden.base:harden",
    "load": "edgechaos.graph.artifact",
    "load_checkpoint": "edgechaos.models.checkpoint:load",
    "load_dataset": "edgechaos.data:load",
    "open_device": "edgechaos.devices.registry",
    "parse_hardening": "edgechaos.harden.base",
    "quantize_model": "edgechaos.quantize.pipeline:quantize",
    "read_campaign": "edgechaos.hil.campaign.reading",
    "resolve": "edgechaos.faults.plan",
    "run": "edgechaos.reference",
    "run_campaign": "edgechaos.hil.runner",
    "save": "edgechaos.graph.artifact",
    "train_model": "edgechaos.train.fit:train",
    "verify": "edgechaos.export.verify",
}
"""Name -> module, or module:name where it is called otherwise there."""

if TYPE_CHECKING:  # the same once more, for editors and type checkers; tests/house/test_face.py compares the two
    from edgechaos.data import Dataset
    from edgechaos.data import load as load_dataset
    from edgechaos.devices.registry import open_device
    from edgechaos.export.verify import verify
    from edgechaos.faults.kinds.dead import DeadNeurons
    from edgechaos.faults.kinds.omission import Omission
    from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
    from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
    from edgechaos.faults.plan import FaultPlan, apply, resolve
    from edgechaos.graph.artifact import load, save
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.harden.base import harden as harden_model
    from edgechaos.harden.base import parse_hardening
    from edgechaos.hil.campaign.config import Campaign
    from edgechaos.hil.campaign.reading import read_campaign
    from edgechaos.hil.execute.evaluate import EvaluationSet
    from edgechaos.hil.runner import run_campaign
    from edgechaos.models.build import build as build_model
    from edgechaos.models.checkpoint import load as load_checkpoint
    from edgechaos.quantize.pipeline import quantize as quantize_model
    from edgechaos.reference import encode, run
    from edgechaos.support.errors import EdgeChaosError
    from edgechaos.train.fit import train as train_model

__all__ = [
    "Campaign",
    "Dataset",
    "DeadNeurons",
    "EdgeChaosError",
    "EvaluationSet",
    "FaultPlan",
    "IntegerGraph",
    "Omission",
    "StuckAtOne",
    "WeightBitFlip",
    "__version__",
    "apply",
    "build_model",
    "encode",
    "harden_model",
    "load",
    "load_checkpoint",
    "load_dataset",
    "open_device",
    "parse_hardening",
    "quantize_model",
    "read_campaign",
    "resolve",
    "run",
    "run_campaign",
    "save",
    "train_model",
    "verify",
]


def __getattr__(name: str) -> Any:
    """PEP 562: called for a name that is not there yet."""
    if name not in _FACE:
        raise AttributeError(f"module 'edgechaos' has no attribute {name!r}")
    module, _, original = _FACE[name].partition(":")
    value = registry.load(f"{module}:{original or name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
