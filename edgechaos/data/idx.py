"""Data sets of idx files: MNIST, Fashion-MNIST and EMNIST Letters.

What a header claims is bounded before it is allocated. Sources: MNIST (LeCun, Cortes and Burges); Fashion-MNIST (Xiao, Rasul and
Vollgraf); EMNIST (Cohen, Afshar, Tapson and van Schaik 2017), whose images are stored transposed and whose letters are labeled from
1.
"""

from __future__ import annotations

import gzip
import math
import os
import string
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.data.dataset import MAX_BYTES, Dataset, Normalization
from edgechaos.data.places import DATA_FOLDER, place_of
from edgechaos.support.errors import DataError
from edgechaos.support.files import open_regular, open_zip

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
)
"""Checksums of the four files, as published; they are compared on download."""
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_FILES: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }
)
EMNIST_URL = "https://biometrics.nist.gov/cs_links/EMNIST/"
EMNIST_ARCHIVE = "gzip.zip"
EMNIST_FILES = tuple(f"emnist-letters-{part}-{what}-ubyte.gz" for part in ("train", "test") for what in ("images-idx3", "labels-idx1"))

DIGITS = tuple(string.digits)
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MNIST_NORMALIZATION: Normalization = ((0.1307,), (0.3081,))


@dataclass(frozen=True, slots=True)
class IdxSet:
    """A data set of four idx files: training images and labels, test images and labels.

    downloads: names below `url` with their checksums. archive: the zip whose folder `gzip` may hold the four files instead.
    first_label: what the first class is called in the files. transposed: images are stored column by column.
    """

    name: str
    title: str
    url: str
    files: tuple[str, ...]
    downloads: Mapping[str, str]
    classes: tuple[str, ...]
    normalization: Normalization
    licence: str
    archive: str = ""
    first_label: int = 0
    transposed: bool = False


_MNIST = IdxSet(
    "mnist",
    "MNIST (LeCun, Cortes and Burges)",
    MNIST_URL,
    tuple(MNIST_FILES),
    MNIST_FILES,
    DIGITS,
    MNIST_NORMALIZATION,
    "CC BY-SA 3.0",
)
_FASHION = IdxSet(
    "fashion_mnist",
    "Fashion-MNIST (Xiao, Rasul and Vollgraf)",
    FASHION_URL,
    tuple(FASHION_FILES),
    FASHION_FILES,
    GARMENTS,
    ((0.2860,), (0.3530,)),
    "MIT",
)
_EMNIST = IdxSet(
    "emnist_letters",
    "EMNIST Letters (Cohen, Afshar, Tapson and van Schaik)",
    EMNIST_URL,
    EMNIST_FILES,
    MappingProxyType({EMNIST_ARCHIVE: "md5:58c8d27c78d21e728a6bc7b3cc06412e"}),
    tuple(string.ascii_uppercase),
    MNIST_NORMALIZATION,
    "none stated; made of NIST Special Database 19",
    archive=EMNIST_ARCHIVE,
    first_label=1,
    transposed=True,
)
IDX_SETS: Mapping[str, IdxSet] = MappingProxyType({known.name: known for known in (_MNIST, _FASHION, _EMNIST)})


def idx_set(known: IdxSet, folder: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """One of IDX_SETS, from `folder`, $EDGECHAOS_DATA or the cache. Raises DataError, naming the remedy."""
    wanted = f"{known.name}/{known.files[0]} and its companions"
    downloads = {known.url + name: checksum for name, checksum in known.downloads.items()} if download else None
    place = place_of(known.name, f"the full {known.title}", wanted, folder, downloads)
    packed = bool(known.archive) and not (place / known.files[0]).is_file() and (place / known.archive).is_file()
    arrays = [read_idx(place / known.archive, f"gzip/{name}") if packed else read_idx(place / name) for name in known.files]
    images = [np.ascontiguousarray(a.swapaxes(-1, -2)) if known.transposed and a.ndim == 3 else a for a in arrays[::2]]
    labels = [array.astype(np.int64) - known.first_label for array in arrays[1::2]]
    source = f"{known.title}, {known.url}"
    return Dataset(
        known.name, images[0], labels[0], images[1], labels[1], known.classes, *known.normalization, source=source, licence=known.licence
    )


def read_idx(path: Path, member: str = "") -> NDArray[np.uint8]:
    """The uint8 array of one gzipped idx file, or of that member of a zip.

    Raises DataError where it is missing, truncated or of another type.
    Source: the format as MNIST defines it: 00 00 08 rank, rank big-endian uint32 dimensions, then the bytes.
    """
    where = f"{path}, {member}" if member else str(path)
    try:
        with _unzipped(path, member) as raw, gzip.open(raw) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise DataError(f"{where}: not an idx file of bytes")
            dimensions = stream.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise EOFError("the header ends early")
            shape = tuple(int.from_bytes(dimensions[i : i + 4], "big") for i in range(0, len(dimensions), 4))
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise DataError(f"{where}: claims {size:,} bytes, more than {MAX_BYTES:,}")
            data = stream.read(size + 1)
    except KeyError as error:
        raise DataError(f"{path}: has no {member}; fetch it again") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: truncated or corrupt ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror}; check {DATA_FOLDER}") from error
    if len(data) != size:
        raise DataError(f"{where}: has not the {size:,} bytes that it claims; fetch it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _unzipped(path: Path, member: str) -> Iterator[IO[Any]]:
    if not member:
        with open_regular(path) as file:
            yield file
        return
    with open_regular(path) as whole, open_zip(whole) as archive, archive.open(member) as file:
        yield file
