"""Images: CIFAR-10 out of its binary archive and of zips of PNGs, a user's folder, and files that are refused by name."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgechaos import data
from edgechaos.data import pictures
from edgechaos.support.errors import DataError, MissingExtra

CLASSES = pictures.CIFAR_CLASSES
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def zip_of(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def zips(folder: Path) -> Path:
    zip_of(folder / "cifar10_train20k_png.zip", {f"train/{CLASSES[i // 2]}/x_{i}.png": encoded(PIXELS[i]) for i in range(20)})
    zip_of(folder / "cifar10_test_png.zip", {f"test/{CLASSES[i]}/y.png": encoded(PIXELS[2 * i]) for i in range(10)})
    return folder


def test_cifar10_is_read_from_zips_of_pngs_channels_first_and_shuffled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar10"
    folder.mkdir()
    zips(folder)
    monkeypatch.setenv(data.DATA_FOLDER, str(tmp_path))
    cifar = data.load("cifar10")
    assert (cifar.train_items.shape, cifar.test_items.shape, cifar.image) == ((20, 3, 32, 32), (10, 3, 32, 32), (3, 32, 32))
    assert cifar.mean == (0.4914, 0.4822, 0.4465)
    for item, label in zip(cifar.test_items, cifar.test_labels, strict=True):
        np.testing.assert_array_equal(item, PIXELS[2 * label].transpose(2, 0, 1))
    assert sorted(cifar.train_labels.tolist()) == [i // 2 for i in range(20)] != cifar.train_labels.tolist()


def batches(folder: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_cifar10_is_read_from_its_binary_archive(tmp_path: Path) -> None:
    records = [bytes([i % 10]) + PIXELS[i].transpose(2, 0, 1).tobytes() for i in range(6)]
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    batches(tmp_path, {"readme.html": b"x"} | dict(zip(names, records, strict=True)))
    cifar = data.load("cifar10", folder=tmp_path)
    np.testing.assert_array_equal(cifar.train_items, PIXELS[:5].transpose(0, 3, 1, 2))
    assert (cifar.train_labels.tolist(), cifar.test_labels.tolist()) == ([0, 1, 2, 3, 4], [5])
    batches(tmp_path, {name: b"short" for name in names})
    with pytest.raises(DataError, match=r"has no cifar-10-batches-bin/data_batch_1\.bin of records of 3,073 bytes"):
        data.load("cifar10", folder=tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(DataError, match="truncated or corrupt"):
        data.load("cifar10", folder=tmp_path)


def test_pickles_are_refused_by_name_and_missing_files_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"has no files of CIFAR-10; put cifar10/cifar-10-binary\.tar\.gz or"):
        data.load("cifar10", folder=tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"cifar-10-batches-py: holds pickles, which run code when they are read; put .*binary.* instead"):
        data.load("cifar10", folder=tmp_path)
    monkeypatch.delenv(data.DATA_FOLDER, raising=False)
    with pytest.raises(DataError, match="or allow the download"):
        data.load("cifar10")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims that size."""
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + b"\0\0\0\1IDATx\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/../../x.png", encoded(PIXELS[0]), "expected train/CLASS/NAME.png"),
        ("train/unicorn/x.png", encoded(PIXELS[0]), "expected train/CLASS/NAME.png"),
        ("train/cat/x.png", bytes(1 << 17), "of at most 65,536 bytes"),
        ("train/cat/x.png", encoded(PIXELS[0, :16]), "is 32 x 16 pixels, not 32 x 32"),
        ("train/cat/x.png", b"text", "is no readable image"),
        ("train/cat/x.png", encoded(PIXELS[0], "GIF"), "is no readable image"),
        ("train/cat/x.png", encoded(PIXELS[0])[:300], "truncated or corrupt"),
        ("train/cat/x.png", bomb(60_000, 60_000), "is no readable image .*exceeds limit"),
        ("train/cat/x.png", bomb(8000, 8000), "is 8000 x 8000 pixels, more than 1,048,576"),
    ],
    ids=["path", "class", "large", "size", "text", "format", "cut", "bomb", "wide"],
)
def test_hostile_pngs_in_a_zip_are_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    zip_of(zips(tmp_path) / "cifar10_train20k_png.zip", {name: content})
    with pytest.raises(DataError, match=message):
        data.load("cifar10", folder=tmp_path)


def test_damaged_zips_are_refused(tmp_path: Path) -> None:
    path = zips(tmp_path) / "cifar10_train20k_png.zip"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="truncated or corrupt"):
        data.load("cifar10", folder=tmp_path)
    zip_of(path, {})
    with pytest.raises(DataError, match="has 0 files"):
        data.load("cifar10", folder=tmp_path)
    (zips(tmp_path) / "cifar10_test_png.zip").unlink()
    with pytest.raises(DataError, match=r"cannot read .*cifar10_test_png\.zip: No such file"):
        data.load("cifar10", folder=tmp_path)


def own(root: Path, pixels: np.ndarray, kinds: tuple[str, ...] = ("PNG",)) -> Path:
    for i, image in enumerate(pixels):
        kind = kinds[i % len(kinds)]
        place = root / ("cats", "dogs")[i % 2] / f"{i:02}.{kind.lower()}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(image, kind))
    return root


def test_a_users_folder_of_gray_images(tmp_path: Path) -> None:
    mine = data.load(str(own(tmp_path / "pets", PIXELS[..., 0], ("PNG", "BMP"))))
    assert (mine.name, mine.classes, mine.image, len(mine.train_items)) == ("pets", ("cats", "dogs"), (1, 32, 32), 16)
    both_sides = np.concatenate([mine.train_items, mine.test_items])
    assert sorted(map(bytes, both_sides)) == sorted(map(bytes, PIXELS[..., 0])), "every image stands on exactly one side"
    where = {bytes(image): i % 2 for i, image in enumerate(PIXELS[..., 0])}
    assert mine.test_labels.tolist() == [where[bytes(item)] for item in mine.test_items]


def test_one_color_image_makes_all_of_them_color(tmp_path: Path) -> None:
    own(tmp_path / "pets", PIXELS[..., 0])
    (tmp_path / "pets" / "cats" / "00.png").write_bytes(encoded(PIXELS[0]))
    (tmp_path / "pets" / "cats" / ".hidden").write_bytes(b"x")
    mine = data.load(str(tmp_path / "pets"))
    assert mine.image == (3, 32, 32)
    np.testing.assert_allclose(mine.mean, mine.train_items.mean(axis=(0, 2, 3)) / 255)
    both_sides = {bytes(item) for item in np.concatenate([mine.train_items, mine.test_items])}
    assert bytes(PIXELS[0].transpose(2, 0, 1).copy()) in both_sides


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zz.png", encoded(PIXELS[0, :16]), r"zz\.png: is 32 x 16 pixels, .*00\.png is 32 x 32; bring all to one size"),
        ("zz.txt", b"x", r"zz\.txt: is no \.png, \.jpg, \.jpeg, \.bmp file"),
        ("zz.png", b"x", r"zz\.png: is no readable image"),
        ("zz.png", encoded(PIXELS[0, ..., 0].astype(np.uint16)), r"zz\.png: has pixels of mode I;16; save it as 8-bit"),
        ("zz.png", encoded(PIXELS[0])[:300], r"zz\.png: truncated or corrupt"),
        ("zz.png", bomb(8000, 8000), r"zz\.png: is 8000 x 8000 pixels, more than 1,048,576"),
    ],
    ids=["size", "suffix", "text", "16 bits", "cut", "wide"],
)
def test_an_image_that_differs_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (own(tmp_path, PIXELS[..., 0]) / "dogs" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path))


def test_folders_without_classes_or_too_large_and_an_absent_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="needs a sub-folder with images for each of two classes"):
        data.load(str(tmp_path))
    own(tmp_path, PIXELS[..., 0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="needs a sub-folder with images"):
        data.load(str(tmp_path))
    (tmp_path / "empty").rmdir()
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="20 images take 20,480 bytes, more than 1,000"):
        data.load(str(tmp_path))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"'PIL'|'pillow'"):
        data.load(str(tmp_path))
