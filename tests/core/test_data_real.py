"""The real files, where $EDGECHAOS_DATA names a folder that holds them: sizes, balance and statistics as published.

Without the variable nothing is collected here: there is nothing to test.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgechaos import data
from edgechaos.data.dataset import normalization_of

TEST_ITEMS = {"mnist": 10_000, "fashion_mnist": 10_000, "emnist_letters": 20_800, "cifar10": 10_000, "ag_news": 7_600, "imdb": 25_000}
FOLDER = os.environ.get(data.DATA_FOLDER)

if FOLDER:

    @pytest.mark.parametrize("name", [name for name in TEST_ITEMS if (Path(FOLDER) / name).is_dir()])
    def test_real_files_are_what_was_published(name: str) -> None:
        known = data.load(name)
        counts = np.bincount(known.test_labels)
        assert (len(known.test_items), len(counts)) == (TEST_ITEMS[name], len(known.classes))
        assert name == "mnist" or len(set(counts.tolist())) == 1, "all classes but MNIST's have as many test items"
        assert len(set(known.test_labels[:500].tolist())) == len(known.classes), "the first items must hold all classes"
        if known.text is None and name != "emnist_letters":
            # 20,000 of CIFAR-10's training images are 0.0045 off the mean of all.
            np.testing.assert_allclose((known.mean, known.std), normalization_of(known.train_items), atol=6e-3)
        elif known.text is not None:
            assert (known.test_items > 1).mean(where=known.test_items > 0) > 0.9, "most words must be known"
