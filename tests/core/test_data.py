"""Data sets: fixed splits, the user's own arrays, the idx format, and hostile or missing files."""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import data
from edgechaos.data import idx, npz
from edgechaos.support.errors import ConfigError, DataError, MissingExtra


def test_digits8x8_is_a_fixed_stratified_split() -> None:
    digits = data.load("digits8x8")
    assert (digits.train_items.shape, digits.test_items.shape) == ((1438, 8, 8), (359, 8, 8))
    assert (digits.train_items.max(), digits.inputs, len(digits.classes)) == (255, 64, 10)
    assert digits.content_hash == data.load("digits8x8").content_hash
    assert digits.content_hash[:8] == "3827dde2", "the split must be the same on every machine"
    np.testing.assert_allclose((digits.mean[0], digits.std[0]), (digits.train_items.mean() / 255, digits.train_items.std() / 255))


def test_mnist5k_is_400_and_100_of_each_digit() -> None:
    mnist = data.load("mnist5k")
    assert (mnist.train_items.shape, mnist.test_items.shape) == ((4000, 28, 28), (1000, 28, 28))
    assert np.bincount(mnist.train_labels).tolist() == [400] * 10
    assert np.bincount(mnist.test_labels).tolist() == [100] * 10
    assert len(set(mnist.train_labels[:50].tolist())) > 5, "training items must come shuffled"
    assert mnist.content_hash[:8] == "953d3725"


def packed(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in idx.MNIST_FILES:
        count = 20 if name.startswith("train") else 10
        array = rng.integers(0, 256, (count, 28, 28), np.uint8) if "images" in name else np.arange(count, dtype=np.uint8) % 10
        (folder / name).write_bytes(packed(array))
    return folder


def test_mnist_is_read_from_the_folder_in_the_environment(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.DATA_FOLDER, str(mnist_folder.parent))
    mnist = data.load("mnist")
    assert (mnist.train_items.shape, mnist.test_items.shape, mnist.mean) == ((20, 28, 28), (10, 28, 28), (0.1307,))
    assert mnist.test_labels.tolist() == list(range(10))
    assert mnist.content_hash == data.load("mnist", folder=mnist_folder).content_hash


def test_fashion_mnist_is_read_alike(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_folder.rename(mnist_folder.parent / "fashion_mnist")
    monkeypatch.setenv(data.DATA_FOLDER, str(mnist_folder.parent))
    fashion = data.load("fashion_mnist")
    assert (fashion.name, fashion.classes[9], fashion.std, fashion.image) == ("fashion_mnist", "Ankle boot", (0.3530,), (1, 28, 28))


@pytest.mark.parametrize("zipped", [False, True])
def test_emnist_letters_are_turned_upright_and_numbered_from_0(tmp_path: Path, zipped: bool) -> None:
    images, labels = np.random.default_rng(0).integers(0, 256, (26, 4, 4), np.uint8), np.arange(1, 27, dtype=np.uint8)
    contents = [packed(images), packed(labels), packed(images[:3]), packed(labels[:3])]
    if zipped:
        with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
            for name, content in zip(idx.EMNIST_FILES, contents, strict=True):
                archive.writestr(f"gzip/{name}", content)
    else:
        for name, content in zip(idx.EMNIST_FILES, contents, strict=True):
            (tmp_path / name).write_bytes(content)
    letters = data.load("emnist_letters", folder=tmp_path)
    np.testing.assert_array_equal(letters.train_items, images.transpose(0, 2, 1))
    assert (letters.train_labels.tolist(), letters.test_labels.tolist()) == (list(range(26)), [0, 1, 2])
    assert (letters.classes[0], letters.classes[25], letters.image) == ("A", "Z", (1, 4, 4))


def test_a_damaged_emnist_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gzip.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"gzip\.zip, gzip/emnist-letters-train-images.*truncated or corrupt .*fetch it again"):
        data.load("emnist_letters", folder=tmp_path)
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        archive.writestr("gzip/other", b"")
    with pytest.raises(DataError, match=r"has no gzip/emnist-letters-train-images-idx3-ubyte\.gz"):
        data.load("emnist_letters", folder=tmp_path)
    (tmp_path / idx.EMNIST_FILES[0]).write_bytes(packed(np.zeros((1, 2, 2), np.uint8)))
    with pytest.raises(DataError, match=r"cannot read .*emnist-letters-train-labels.*: No such file"):
        data.load("emnist_letters", folder=tmp_path)


def test_mnist_downloads_the_four_files_with_their_checksums(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import platformdirs
    import pooch

    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((mnist_folder / fname).read_bytes())
        return str(path / fname)

    monkeypatch.delenv(data.DATA_FOLDER, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(data.load("mnist", download=True).train_items) == 20
    assert asked == [(idx.MNIST_URL + name, sha) for name, sha in idx.MNIST_FILES.items()]

    def offline(*args: Any, **kwargs: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(DataError, match=r"no route to host; put the files into a folder and set EDGECHAOS_DATA"):
        data.load("mnist", download=True)


def test_a_missing_mnist_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(data.DATA_FOLDER, raising=False)
    with pytest.raises(DataError, match=r"set EDGECHAOS_DATA to a folder that holds mnist/train-images-idx3-ubyte.gz"):
        data.load("mnist")
    with pytest.raises(DataError, match=r"cannot read .*train-images.*: No such file"):
        data.load("mnist", folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "truncated or corrupt"),
        (packed(np.zeros((4, 2), np.uint8))[:-12], "truncated or corrupt"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\1\0\0\0\0"), "not an idx file of bytes"),
        (gzip.compress(b"\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff"), "claims 18,446,744,065,119,617,025 bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\5abc"), "has not the 5 bytes that it claims"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\2abc"), "has not the 2 bytes that it claims"),
        (gzip.compress(b"\0\0\x08\x02\0\0"), "truncated or corrupt"),
    ],
    ids=["not gzip", "cut", "other type", "enormous", "short", "long", "cut header"],
)
def test_hostile_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.read_idx(path)


def save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_a_users_npz_is_split_and_normalized(tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (50, 6), np.uint8)
    path = save(tmp_path / "mine.npz", items=items, labels=np.arange(50, dtype=np.uint8) % 5)
    mine = data.load(path)
    assert (mine.name, len(mine.train_items), len(mine.test_items), mine.classes) == ("mine", 40, 10, tuple("01234"))
    assert np.bincount(mine.test_labels).tolist() == [2] * 5
    both_sides = np.concatenate([mine.train_items, mine.test_items])
    assert sorted(map(bytes, both_sides)) == sorted(map(bytes, items)), "every item stands on exactly one side"


GOOD = np.zeros((4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"items": GOOD}, "has no array labels"),
        ({"items": GOOD, "labels": np.zeros(3, int)}, r"4 items, but labels are \(3,\)"),
        ({"items": GOOD.astype(float), "labels": np.zeros(4, int)}, "items are float64: images are uint8"),
        ({"items": GOOD, "labels": np.zeros(4)}, "labels must be a vector of integers"),
        ({"items": GOOD, "labels": np.array([0, -1, 0, 0])}, r"labels must lie in 0..65535, not -1..0"),
        ({"items": GOOD, "labels": np.array([0, 10**9, 0, 0])}, "labels must lie in"),
        ({"items": GOOD, "labels": np.array([{}] * 4, object)}, "not an .npz file, or corrupt"),
        ({"items": GOOD[:0], "labels": np.zeros(0, int)}, "labels must be a vector"),
    ],
)
def test_malformed_npz_files_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.load(save(tmp_path / "bad.npz", **arrays))


def test_missing_truncated_and_oversized_npz_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.npz", items=GOOD, labels=np.zeros(4, int))
    with pytest.raises(DataError, match="check the path"):
        data.load(str(tmp_path / "absent.npz"))
    (tmp_path / "cut.npz").write_bytes(Path(path).read_bytes()[:100])
    with pytest.raises(DataError, match=r"not an .npz file, or corrupt"):
        data.load(str(tmp_path / "cut.npz"))
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        archive.writestr("items.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'}")
        archive.writestr("labels.npy", b"")
    with pytest.raises(DataError, match=r"not an .npz file, or corrupt"):
        data.load(str(tmp_path / "lies.npz"))
    monkeypatch.setattr(npz, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="more than 100; split it"):
        data.load(path)


def test_unknown_names_and_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'cifar11', did you mean 'cifar10'\?; there are digits8x8, mnist5k, .*, imdb, or give the path"):
        data.load("cifar11")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgechaos\[data\]'"):
        data.load("digits8x8")
