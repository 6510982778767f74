"""Data sets out of torch Datasets: uint8 or codes / 255, a split of their own or ours, and pairs that are refused by position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from edgechaos import data
from edgechaos.data import arrays
from edgechaos.support.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), np.uint8)
LABELS = np.arange(20) % 2


def test_a_torch_dataset_is_split_and_normalized_per_channel() -> None:
    mine = data.from_torch(TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), name="mine")
    assert (mine.name, mine.classes, mine.image, len(mine.train_items), len(mine.test_items)) == ("mine", ("0", "1"), (3, 4, 5), 16, 4)
    assert "TensorDataset" in mine.source
    np.testing.assert_allclose(mine.mean, mine.train_items.mean(axis=(0, 2, 3)) / 255)
    np.testing.assert_allclose(mine.std, mine.train_items.std(axis=(0, 2, 3)) / 255)


def test_floats_that_are_codes_over_255_come_back_as_the_codes() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(2, 128)
    floats = [(torch.from_numpy(row).float().div(255), label) for label, row in enumerate(codes)]
    mine = data.from_torch(floats, name="mine", test=list(zip(codes, (0, np.int64(1)), strict=True)), classes=("low", "high"))
    np.testing.assert_array_equal(mine.train_items, codes)
    assert (mine.test_labels.tolist(), mine.classes, mine.image) == ([0, 1], ("low", "high"), ())
    assert mine.content_hash == data.from_torch(list(zip(codes, (0, 1), strict=True)), name="x", test=floats).content_hash


ROW = np.zeros(4, np.uint8)


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(ROW, 0)])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (Stream(), "has no length; a stream"),
        ([], "is empty"),
        ([(ROW, 0), ROW], "item 1: is no pair of an item and a label but ndarray"),
        ([("text", 0)], "item 0: is no array or tensor of one value or more but str; use ToTensor"),
        ([(ROW, 0), (ROW[:2], 1)], r"item 1: has shape \(2,\), item 0 has \(4,\)"),
        ([(ROW, 0), (ROW, 0.5)], r"item 1: label 0\.5 is not an integer"),
        ([(ROW, -1), (ROW, 1)], r"labels must lie in 0\.\.65535, not -1\.\.1"),
        ([(ROW.astype(np.int32), 0)], "int32 values are neither uint8 nor codes"),
        ([(np.full(4, -0.42), 0)], "leave normalization to the model"),
        ([(np.full(4, 0.5), 0)], "leave normalization to the model"),
        ([(np.full(4, np.nan), 0)], "leave normalization to the model"),
    ],
)
def test_other_pairs_are_refused_by_position(pairs: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"data set 'mine'.*{message}|mine: {message}"):
        data.from_torch(pairs, name="mine")


def test_sizes_are_bounded_before_they_are_allocated_and_tests_must_match(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"test items are \(2,\), training items \(4,\)"):
        data.from_torch([(ROW, 0)], name="mine", test=[(ROW[:2], 0)])
    monkeypatch.setattr(arrays, "MAX_BYTES", 7)
    with pytest.raises(DataError, match="2 items of 4 bytes are more than 7"):
        data.from_torch([(ROW, 0), (ROW, 1)], name="mine")
