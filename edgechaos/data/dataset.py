"""What a data set is: items and labels in a fixed split, with normalization, provenance and a content hash.

The hash goes into checkpoints and artifacts. Order and split come from counter-based words, so that they are the same on every
machine.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.streams import SPLIT_STREAM
from edgechaos.graph.tokenizer import Text
from edgechaos.support.errors import DataError
from edgechaos.support.shown import html_table

MAX_BYTES = 1 << 30
"""Of one file or array that is read: beyond every set named here, and bearable."""
MAX_CLASSES = 65536
"""A class is a uint16."""
MAX_NAME = 200
"""Characters of the name of a data set or a class: tables and error messages show them."""
TEST_SHARE = 0.2
OWN = "the user's own"
"""The licence of a data set that a user brings."""
CHUNK = 4096

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of items / 255, one value per channel."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """Items (n, ...) uint8, labels (n,) int64 of 0..len(classes)-1, in a fixed split.

    Images are (n, height, width) or, channels first, (n, channels, height, width).
    mean, std: of the training items / 255, one per channel. content_hash: SHA-256 over all items and labels.
    Sensor windows (signals) are items (n, channels, time) float32; mean and std are in the samples' own units (`edgechaos.graph.signals`).
    Texts are items (n, length) uint16, their token ids under `text`; `texts` keeps (training, test) as they were read.
    """

    name: str
    train_items: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_items: NDArray[Any]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str
    text: Text | None = None
    texts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    signals: bool = False
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        for kind, names in (("data set", (self.name,)), ("class", self.classes)):
            for name in names:
                if not 0 < len(name) <= MAX_NAME or not name.isprintable():
                    raise DataError(f"{kind} name {name[:MAX_NAME]!r} is empty, long or not printable; give it 1 to {MAX_NAME} characters")
        digest = hashlib.sha256()
        for items, labels in ((self.train_items, self.train_labels), (self.test_items, self.test_labels)):
            _check(self.name, items, labels, len(self.classes), "float32" if self.signals else "uint8" if self.text is None else "uint16")
            for array in (items, labels):
                digest.update(f"{array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
        object.__setattr__(self, "content_hash", digest.hexdigest())

    def __repr__(self) -> str:
        items = "x".join(map(str, self.train_items.shape[1:]))
        counts = f"{len(self.train_items):,} training and {len(self.test_items):,} test items"
        return f"<Dataset {self.name!r}: {counts}, {self.train_items.dtype} {items}, {len(self.classes)} classes>"

    def _repr_html_(self) -> str:
        counts = [np.bincount(labels, minlength=len(self.classes)) for labels in (self.train_labels, self.test_labels)]
        rows = [(name, f"{training:,}", f"{test:,}") for name, training, test in zip(self.classes, *counts, strict=True)]
        return html_table(f"{repr(self)[1:-1]}; {self.source}, {self.licence}", rows, ("class", "training items", "test items"))

    @property
    def inputs(self) -> int:
        """Elements of one item."""
        return math.prod(self.train_items.shape[1:])

    @property
    def record(self) -> dict[str, str]:
        """What checkpoints and artifacts keep of it."""
        return {"name": self.name, "hash": self.content_hash, "source": self.source, "licence": self.licence}

    @property
    def image(self) -> tuple[int, ...]:
        """(channels, height, width) of one item, or () where items are no images."""
        shape = self.train_items.shape[1:]
        return () if self.text is not None or self.signals or len(shape) not in (2, 3) else (*(1,) * (3 - len(shape)), *shape)

    def tokenized(self, text: Text, length: int) -> Dataset:
        """The same texts under another vocabulary, `length` tokens each. Raises DataError for a set that is not of texts."""
        if self.text is None:
            raise DataError(f"data set '{self.name}' has no texts; this model takes texts")
        if (text, length) == (self.text, self.inputs):
            return self
        return replace(self, text=text, train_items=text.ids(self.texts[0], length), test_items=text.ids(self.texts[1], length))


def shuffled(count: int, stream: int = SPLIT_STREAM) -> NDArray[np.int64]:
    """The positions 0..count-1 in an order that is the same on every machine; another stream gives another order."""
    return np.argsort(random_bits.words(0, stream, [0], 1, count)[0, 0], kind="stable")


def split_order(labels: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(training, test) positions: shuffled by counter-based words, a fifth of every class for testing."""
    order = shuffled(len(labels))
    test = np.zeros(len(labels), bool)
    by_class = order[np.argsort(labels[order], kind="stable")]
    for members in np.split(by_class, np.cumsum(np.bincount(labels, minlength=classes))[:-1]):
        test[members[: int(TEST_SHARE * len(members) + 0.5)]] = True
    return order[~test[order]], order[test[order]]


def split(
    name: str,
    items: NDArray[Any],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    normalization: Normalization | None,
    source: str,
    licence: str,
) -> Dataset:
    """Shuffle by counter-based words and keep a fifth of every class for testing, on any machine the same fifth.

    normalization: (mean, std); by default those of the training items.
    """
    _check(name, items, labels, len(classes))
    train_order, test_order = split_order(labels, len(classes))
    train = items[train_order]
    mean, std = normalization or normalization_of(train)
    return Dataset(name, train, labels[train_order], items[test_order], labels[test_order], classes, mean, std, source, licence)


def normalization_of(items: NDArray[np.uint8]) -> Normalization:
    """Mean and standard deviation of uint8 items / 255 per channel; a constant channel has that of one code.

    items: (n, channels, height, width), or any other rank as one channel. Counts codes, so that no float copy is made.
    """
    channels = items.shape[1] if items.ndim == 4 else 1
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK].reshape(-1, channels, math.prod(items.shape[1:]) // channels)
        for c in range(channels):
            counts[c] += np.bincount(chunk[:, c].ravel(), minlength=256)
    codes, total = np.arange(256) / 255.0, counts.sum(axis=1)
    mean = counts @ codes / total
    variance = (counts * (codes - mean[:, None]) ** 2).sum(axis=1) / total
    return tuple(mean.tolist()), tuple(np.maximum(np.sqrt(variance), 1.0 / 255.0).tolist())


def _check(name: str, items: NDArray[Any], labels: NDArray[Any], classes: int, dtype: str = "uint8") -> None:
    if items.dtype != np.dtype(dtype) or items.ndim < 2 or items[:1].size == 0:
        raise DataError(f"data set '{name}': items must be {dtype} (n, ...) with at least one, not {items.dtype} {items.shape}")
    if labels.shape != (len(items),):
        raise DataError(f"data set '{name}': {len(items)} items, but labels are {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"data set '{name}': labels must lie in 0..{classes - 1}, not {labels.min()}..{labels.max()}")
