"""The data set of every head of a model, and its items as codes, those of calibration among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.data import Dataset
from edgechaos.floatgraph.float_model import FloatModel
from edgechaos.support.errors import DataError

if TYPE_CHECKING:
    from edgechaos.quantize.fake_quant import FakeQuantModel

CALIBRATION_ITEMS = 1024


def by_head(model: FloatModel, data: Dataset | Mapping[str, Dataset]) -> dict[str, Dataset]:
    """The data set of every head, in the heads' order. Raises DataError where one is missing, left over, or not of the head's classes."""
    names = [head.name for head in model.heads]
    given = dict.fromkeys(names[:1], data) if isinstance(data, Dataset) else dict(data)
    if set(given) != set(names):
        raise DataError(f"model '{model.name}' has heads {', '.join(names)}, but data sets are given for {', '.join(given) or 'none'}")
    if len(names) > 1:
        for head in model.heads:
            if given[head.name].classes != head.classes:
                raise DataError(
                    f"head '{head.name}' has other classes than data set '{given[head.name].name}'; give the one it was trained on"
                )
    return {name: given[name] for name in names}


def input_codes(model: FloatModel, items: NDArray[Any], head: str | None = None) -> NDArray[Any]:
    """Codes (n, *input shape) of raw items for a head, by default the first. Raises DataError where the sizes differ."""
    spec = next(h for h in model.heads if head in (None, h.name))
    if items[:1].size != spec.size:
        raise DataError(f"model '{model.name}' takes items of {spec.size} elements, the data set has {items.shape[1:]}")
    codes = spec.encoding.codes(items).reshape(len(items), *spec.shape)
    return codes.astype(np.int32) if spec.encoding.kind == "tokens" else codes  # torch computes little with uint16


def calibration(fake: FakeQuantModel, data: Dataset, head: str | None = None) -> Any:
    """(codes, conditions) of the first training items of a head, clean."""
    import torch

    from edgechaos.models.spiking import Conditions

    codes = torch.from_numpy(input_codes(fake.described, data.train_items[:CALIBRATION_ITEMS], head))
    return codes, Conditions(0, torch.arange(len(codes)))
