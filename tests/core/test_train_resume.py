"""Interrupted training of models with state beside their weights: batch statistics, velocities, gains, consolidation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import data
from edgechaos.data import Dataset
from edgechaos.models import checkpoint
from edgechaos.models.base import Model
from edgechaos.models.build import build, recipe_for
from edgechaos.train.fit import Progress, Recipe, train

pytestmark = pytest.mark.trains

EPOCHS = 3
KINDS: Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "vision": ("vision", {"hidden": (8,), "channels": (2, 3), "embed": 4, "ticks": 3}, ("running_mean", "num_batches_tracked")),
    "vision, stateful": ("vision", {"hidden": (8,), "channels": (2,), "embed": 4, "ticks": 3, "mode": "stateful"}, ("running_var",)),
    "dlm": ("dlm", {"hidden": (8,)}, ("weight_velocity", "input_current", "output_current", "local_entropy_production")),
    "tnn": ("tnn", {"hidden": (16,), "sparsity": 0.25}, ("gain", "consolidation", "running_activity")),
    "language": ("language", {"hidden": (8,), "embed": 4, "ticks": 3}, ()),
    "signed": ("pixels", {"hidden": (8, 6), "ticks": 3, "signed": True}, ()),
    "mlp, dropout and noise": ("mlp", {"hidden": (8,), "dropout": 0.2, "noise_std": 0.1}, ()),
    "cnn": ("cnn", {"channels": (2, 3), "dropout": 0.2}, ()),
}
"""Kind, options, and the buffers that its training moves."""


class PowerCut(Exception):
    pass


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = data.load("digits8x8")
    return replace(whole, train_items=whole.train_items[:200], train_labels=whole.train_labels[:200])


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("mail") / "mail.csv"
    path.write_text("text,label\n" + "".join(f"{'buy now' if i % 3 else 'see you'} w{i},{i % 3}\n" for i in range(90)))
    return data.load(str(path))


def state(model: Model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("done", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_resumes_to_the_same_bits(name: str, done: int, digits: Dataset, mail: Dataset, tmp_path: Path) -> None:
    kind, options, buffers = KINDS[name]
    items = mail if kind == "language" else digits
    recipe = Recipe(epochs=EPOCHS, batch=32, omission=0.3, dead=0.5, **recipe_for(kind))  # type: ignore[arg-type]

    def cut(progress: Progress) -> None:
        if progress.done == done:
            raise PowerCut

    whole = train(build(kind, items, **options), items, recipe)
    with pytest.raises(PowerCut):
        train(build(kind, items, **options), items, recipe, output=tmp_path / "run", progress=cut)
    seen: list[int] = []
    resumed = train(build(kind, items, **options), items, recipe, output=tmp_path / "run", progress=lambda p: seen.append(p.done))
    assert seen == list(range(done + 1, EPOCHS + 1))
    wanted = state(whole)
    for found in (state(resumed), state(checkpoint.load(tmp_path / "run"))):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert resumed.facts == whole.facts
    start = state(build(kind, items, **options))
    for buffer in buffers:
        moved = [key for key in wanted if key.endswith(buffer) and not np.array_equal(wanted[key], start[key])]
        assert moved, f"{buffer} did not move: this test would not see it lost"
