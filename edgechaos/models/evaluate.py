"""Run a torch model over a data set under faults: the float peer of the integer graph's targets.

Sample ids are the items' positions, as everywhere, so that each item meets the same random words on every target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.data import Dataset
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.models.base import Model
from edgechaos.models.spiking import Conditions, LayerFaults, torch_faults
from edgechaos.support.errors import UnsupportedError

BATCH = 256


def evaluate_under(model: Model, items: NDArray[Any], plan: ResolvedPlan = CLEAN, seed: int = 0, batch: int = BATCH) -> NDArray[np.float32]:
    """Logits (n, classes) float32 of raw items under a plan, in inference mode, `batch` items at a time.

    Raises ShapeError for items of another shape, UnsupportedError for a plan that flips bits of integer weights, or that names a layer
    which the model does not have, or spikes of one that does not spike.
    """
    faults = torch_faults(plan)
    _refuse(model, faults)
    logits = np.empty((len(items), len(model.config.classes)), np.float32)
    with torch.inference_mode():
        for start in range(0, len(items), batch):
            x = model.preprocess(items[start : start + batch])
            samples = torch.arange(start, start + len(x))
            logits[start : start + len(x)] = model(x, Conditions(seed, samples, faults)).numpy()
    return logits


def _refuse(model: Model, faults: Mapping[str, LayerFaults]) -> None:
    failing = {layer.name: layer.spiking for layer in model.failing_layers()}
    for name, of_layer in faults.items():
        if not model.knows(name):
            have = ", ".join(failing)
            raise UnsupportedError(f"'{name}': what can fail in this float model is {have}; run the plan on the integer graph", name)
        if not failing.get(name, True) and (of_layer.fail_q is not None or of_layer.stuck is not None):
            raise UnsupportedError(f"'{name}': has no spikes to lose or to send; its units can be dead", name)


def omission_everywhere(model: Model, omission: float | None) -> ResolvedPlan:
    """The plan that replaces every layer's own loss probability; None leaves the model as it is."""
    if omission is None:
        return CLEAN
    return ResolvedPlan.of(fail_q={layer.name: fail_q(omission) for layer in model.spiking_layers()})


def evaluate(model: Model, data: Dataset, *, seed: int = 0, omission: float | None = None) -> float:
    """Test accuracy in 0..1, with each spike lost with probability `omission` (None: the model's own)."""
    logits = evaluate_under(model, data.test_items, omission_everywhere(model, omission), seed)
    return float((logits.argmax(axis=1) == data.test_labels).mean())
