"""Images: CIFAR-10, and a user's folder with one sub-folder per class.

Channels come first. One file is decoded at a time, into memory that was bounded beforehand; sizes are read off headers before a
pixel is decoded.
Sources: CIFAR-10 (Krizhevsky 2009): records of a label and 3 x 32 x 32 bytes. Its Python batches are pickles, which run code when
they are read, and are refused by name.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.data.dataset import MAX_BYTES, OWN, Dataset, Normalization, shuffled, split
from edgechaos.data.places import DATA_FOLDER, place_of
from edgechaos.data.tars import members
from edgechaos.support.errors import DataError
from edgechaos.support.extras import need
from edgechaos.support.files import open_regular, open_zip

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_NORMALIZATION: Normalization = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR_MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_TRAIN_ZIPS = ("cifar10_train_png.zip", "cifar10_train20k_png.zip")
CIFAR_TEST_ZIP = "cifar10_test_png.zip"
CIFAR_PICKLES = ("cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1")
CIFAR_SHAPE = (3, 32, 32)
CIFAR_RECORD = 1 + 3 * 32 * 32
CIFAR_MEMBER = re.compile(r"cifar-10-batches-bin/(data_batch_[1-5]|test_batch)\.bin")
MAX_ITEMS = 100_000
"""Of CIFAR-10, which has 60,000."""
ENCRYPTED = 1
"""The bit of a zip entry's flags."""
MAX_PNG = 1 << 16
"""Bytes of a PNG of 32 x 32 pixels: ten times the largest."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "JPEG", "BMP")
MAX_PIXELS = 1 << 20
"""Of a user's image: far beyond what a microcontroller takes."""
GRAY, COLOR = ("1", "L"), ("P", "RGB", "RGBA", "LA")


def cifar10(folder: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """CIFAR-10 from its binary archive, or from zips of PNGs named `train/CLASS/*.png` and `test/CLASS/*.png`.

    Items (n, 3, 32, 32) uint8. Zips list one class after another, so that their order is shuffled, the same on every machine.
    Raises DataError where files are missing, pickles or corrupt, and MissingExtra without pillow.
    """
    wanted = f"cifar10/{CIFAR_ARCHIVE} or cifar10/{CIFAR_TRAIN_ZIPS[0]} and cifar10/{CIFAR_TEST_ZIP}"
    place = place_of("cifar10", "CIFAR-10", wanted, folder, {CIFAR_URL + CIFAR_ARCHIVE: CIFAR_MD5} if download else None)
    train_zip = next((place / name for name in CIFAR_TRAIN_ZIPS if (place / name).is_file()), None)
    if (place / CIFAR_ARCHIVE).is_file():
        train, test = _binary_batches(place / CIFAR_ARCHIVE)
    elif train_zip is not None:
        train, test = _zipped(train_zip, "train"), _zipped(place / CIFAR_TEST_ZIP, "test")
    else:
        pickles = [name for name in CIFAR_PICKLES if (place / name).exists()]
        if pickles:
            raise DataError(f"{place / pickles[0]}: holds pickles, which run code when they are read; put {wanted} there instead")
        raise DataError(f"{place}: has no files of CIFAR-10; put {wanted} into the folder that {DATA_FOLDER} names")
    about = ("CIFAR-10 (Krizhevsky 2009)", "none stated; cite the report")
    return Dataset("cifar10", *train, *test, CIFAR_CLASSES, *CIFAR_NORMALIZATION, *about)


Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _binary_batches(path: Path) -> tuple[Part, Part]:
    found = {named[1]: content for named, content in members(path, CIFAR_MEMBER, MAX_ITEMS * CIFAR_RECORD)}
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name in names:
        if not found.get(name) or len(found[name]) % CIFAR_RECORD:
            raise DataError(f"{path}: has no cifar-10-batches-bin/{name}.bin of records of {CIFAR_RECORD:,} bytes; fetch it again")
    return _records(b"".join(found[name] for name in names[:5])), _records(found[names[5]])


def _records(data: bytes) -> Part:
    rows = np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)
    return rows[:, 1:].reshape(-1, *CIFAR_SHAPE), rows[:, 0].astype(np.int64)


def _zipped(path: Path, part: str) -> Part:
    classes = {f"{part}/{name}": label for label, name in enumerate(CIFAR_CLASSES)}
    try:
        with open_regular(path) as file, open_zip(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if not 0 < len(entries) <= MAX_ITEMS:
                raise DataError(f"{path}: has {len(entries):,} files; CIFAR-10 has 1..{MAX_ITEMS:,}")
            entries.sort(key=lambda entry: entry.filename)
            items, labels = np.empty((len(entries), *CIFAR_SHAPE), np.uint8), np.empty(len(entries), np.int64)
            for row, position in enumerate(shuffled(len(entries)).tolist()):
                entry = entries[position]
                where, label = f"{path}, {entry.filename}", classes.get(entry.filename.rpartition("/")[0])
                if label is None or entry.file_size > MAX_PNG:
                    raise DataError(f"{where}: expected {part}/CLASS/NAME.png of at most {MAX_PNG:,} bytes, CLASS of {CIFAR_CLASSES}")
                if entry.flag_bits & ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError(f"{where}: encrypted, or compressed in a way that is not read; fetch it again")
                # Sizes in a directory may lie; what is read may not be longer.
                with archive.open(entry) as member:
                    png = io.BytesIO(member.read(MAX_PNG))
                labels[row], items[row] = label, _pixels(where, png, (32, 32), "RGB")
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check {DATA_FOLDER}") from error
    return items, labels


def from_folder(path: str | os.PathLike[str]) -> Dataset:
    """A user's images: one sub-folder per class, PNG, JPEG or BMP, all of one size; a fifth of each class is the test.

    Gray images are (n, height, width); where any has colors all become (n, 3, height, width), transparency dropped. Classes are the
    names of the sub-folders in alphabetical order. Hidden files are passed over. Raises DataError, naming the file, and MissingExtra.
    """
    root = Path(path)
    try:
        folders = sorted(p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir())
        files = [(p, label) for label, f in enumerate(folders) for p in sorted(f.iterdir()) if not p.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read {root}: {error.strerror}; check the path") from error
    counts = np.bincount([label for _, label in files], minlength=len(folders))
    if len(folders) < 2 or not counts.all():
        raise DataError(f"{root}: needs a sub-folder with images for each of two classes or more")
    headers = [_header(file) for file, _ in files]
    size = headers[0][0]
    for (file, _), (other, _) in zip(files, headers, strict=True):
        if other != size:
            raise DataError(f"{file}: is {other[0]} x {other[1]} pixels, {files[0][0]} is {size[0]} x {size[1]}; bring all to one size")
    mode = "L" if all(mode in GRAY for _, mode in headers) else "RGB"
    shape = (*(() if mode == "L" else (3,)), size[1], size[0])
    needed = len(files) * int(np.prod(shape))
    if needed > MAX_BYTES:
        raise DataError(f"{root}: {len(files):,} images take {needed:,} bytes, more than {MAX_BYTES:,}; take fewer or smaller ones")
    items = np.empty((len(files), *shape), np.uint8)
    for row, (file, _) in zip(items, files, strict=True):
        row[...] = _pixels(str(file), file, size, mode)
    labels = np.array([label for _, label in files], np.int64)
    return split(root.resolve().name, items, labels, tuple(f.name for f in folders), None, root.resolve().name, OWN)


def _header(file: Path) -> tuple[tuple[int, int], str]:
    if file.suffix.lower() not in SUFFIXES or not file.is_file():
        raise DataError(f"{file}: is no {', '.join(SUFFIXES)} file; leave only images in the folder of a class")
    with _opened(str(file), file) as image:
        if image.mode not in (*GRAY, *COLOR):
            raise DataError(f"{file}: has pixels of mode {image.mode}; save it as 8-bit gray or RGB")
        return image.size, image.mode


def _pixels(where: str, source: Any, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """(height, width) for mode L, (3, height, width) for RGB."""
    with _opened(where, source) as image:
        if image.size != size:
            raise DataError(f"{where}: is {image.size[0]} x {image.size[1]} pixels, not {size[0]} x {size[1]}")
        try:
            pixels = np.asarray(image.convert(mode))
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:  # what decoders raise
            raise DataError(f"{where}: truncated or corrupt ({error}); save it again") from error
    return pixels if mode == "L" else pixels.transpose(2, 0, 1)


def _opened(where: str, source: Any) -> Any:
    pillow = need("PIL.Image", "data")
    try:
        image = pillow.open(source, formats=FORMATS)
    except (OSError, SyntaxError, ValueError, EOFError, pillow.DecompressionBombError) as error:
        raise DataError(f"{where}: is no readable image ({error}); save it again as PNG") from error
    if image.size[0] * image.size[1] > MAX_PIXELS:
        image.close()
        raise DataError(f"{where}: is {image.size[0]} x {image.size[1]} pixels, more than {MAX_PIXELS:,} in all; make it smaller")
    return image
