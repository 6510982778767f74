"""Data sets of texts: AG News rows, a user's CSV, vocabularies; malformed files are named with their row."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest

from edgechaos import data
from edgechaos.data import tars, texts
from edgechaos.data.texts import vocabulary
from edgechaos.support.errors import DataError, EdgeChaosError


def test_vocabularies_are_ranked_by_count_then_first_occurrence() -> None:
    texts = ["b a c", "a B d", "c b"]
    assert vocabulary(texts, min_count=1).vocabulary == ("b", "a", "c", "d")
    assert vocabulary(texts, min_count=2).vocabulary == ("b", "a", "c")
    assert vocabulary(texts, size=4, min_count=1).vocabulary == ("b", "a")


def test_ag_news_is_read_from_the_folder_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "ag_news"
    folder.mkdir()
    (folder / "train_subset.csv").write_text('"3","Oil up","the oil ""price"" of oil oil oil",""\n"1","The vote","ends",""\n')
    (folder / "test.csv").write_text('"4","Oil","chips"\n')
    monkeypatch.setenv(data.DATA_FOLDER, str(tmp_path))
    known = data.load("ag_news")
    assert known.text is not None
    assert known.text.vocabulary == ("oil",), "five times or more, in training texts"
    assert known.texts == (('Oil up the oil "price" of oil oil oil', "The vote ends"), ("Oil chips",))
    assert (known.inputs, known.image, known.test_labels.tolist()) == (128, (), [3])
    np.testing.assert_array_equal(known.test_items[0, :3], [2, 1, 0])
    (folder / "train.csv").write_text('"1","a","b"\n"5","a","b"\n')
    with pytest.raises(DataError, match='row 2: expected "class 1-4","title","description"'):
        data.load("ag_news")
    monkeypatch.delenv(data.DATA_FOLDER)
    with pytest.raises(DataError, match=r"set EDGECHAOS_DATA to a folder that holds ag_news/train\.csv"):
        data.load("ag_news")


def test_a_users_csv_is_split_and_its_labels_are_names(tmp_path: Path) -> None:
    path = tmp_path / "mail.csv"
    rows = [f"{i},{'spam' if i % 2 else 'ham'},word{i} mail\n" for i in range(40)]
    path.write_text("id,label,text\n" + "".join(rows))
    known = data.load(str(path))
    assert (known.name, known.classes, len(known.train_items), len(known.test_items)) == ("mail", ("ham", "spam"), 32, 8)
    assert np.bincount(known.test_labels).tolist() == [4, 4]
    assert known.text is not None
    assert known.text.vocabulary[0] == "mail"
    assert data.load(str(path)).content_hash == known.content_hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line must name the columns"),
        (b"a,b\n1,2\n", "the first line must name the columns"),
        (b"text,label\nx\n", "row 2: has 1 columns, the first line 2"),
        (b"text,label\nx,a\ny,a\n", "has 1 classes; 2 to 65,536 are read"),
        (b"text,label\n\xff\xfe,a\n", "not a CSV file in UTF-8"),
        (b"text,label\n" + b"x" * 2_000_000 + b",a\n", "not a CSV file in UTF-8 .field larger"),
    ],
)
def test_malformed_csv_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load(str(path))
    path.unlink()
    with pytest.raises(EdgeChaosError, match="cannot read data set"):
        data.load(str(path))


def test_ag_news_downloads_with_the_published_checksums(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import platformdirs
    import pooch

    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        asked.append((url.rsplit("/", 1)[1], known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_text('"4","Oil","chips"\n')
        return str(path / fname)

    monkeypatch.delenv(data.DATA_FOLDER, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert data.load("ag_news", download=True).texts == (("Oil chips",), ("Oil chips",))
    assert asked == [("train.csv", "md5:b1a00f826fdfbd249f79597b59e1dc12"), ("test.csv", "md5:d52ea96a97a2d943681189a97654912d")]


REVIEWS = {
    f"aclImdb/{part}/{kind}/{i}_{stars}.txt": f"{part} review {i} is {'good' if kind == 'pos' else 'bad'}".encode()
    for part in ("train", "test")
    for kind, stars in (("neg", 2), ("pos", 9))
    for i in range(12)
}


def tar_of(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_imdb_is_the_same_out_of_either_archive(tmp_path: Path) -> None:
    (tmp_path / "aclImdb_labelled.tar.xz").write_bytes(lzma.compress(tar_of(REVIEWS)))
    imdb = data.load("imdb", folder=tmp_path)
    assert (imdb.classes, imdb.train_items.shape, imdb.test_items.shape) == (("negative", "positive"), (24, 256), (24, 256))
    for reviews, labels in zip(imdb.texts, (imdb.train_labels, imdb.test_labels), strict=True):
        assert [text.endswith("good") for text in reviews] == labels.astype(bool).tolist()
        assert len(set(reviews)) == 24
        assert len(set(labels[:8].tolist())) == 2, "reviews must come shuffled"
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(gzip.compress(tar_of(dict(reversed(REVIEWS.items())))))
    (tmp_path / "aclImdb_labelled.tar.xz").unlink()
    assert data.load("imdb", folder=tmp_path).content_hash == imdb.content_hash


def test_hostile_members_of_an_archive_are_passed_over_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = {"../../escape.txt": b"x", "/aclImdb/train/pos/1_9.txt": b"x", "aclImdb/train/pos/../../../1_9.txt": b"x"}
    hostile |= {"aclImdb/train/unsup/1_0.txt": b"x", "aclImdb/imdb.vocab": b"x"}
    links = ("aclImdb/train/pos/77_9.txt", "aclImdb/test/neg/78_1.txt")
    path = tmp_path / "in" / "aclImdb_labelled.tar.xz"
    path.parent.mkdir()
    path.write_bytes(lzma.compress(tar_of(hostile | REVIEWS, links)))
    monkeypatch.chdir(tmp_path)
    assert [named[0] for named, _ in tars.members(path, texts.REVIEW, 1000)] == list(REVIEWS)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


def long_header() -> bytes:
    """A tar whose first header claims a name of a mebibyte."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 20
    return header.tobuf(tarfile.GNU_FORMAT) + bytes((1 << 20) + 1024)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not xz", "truncated or corrupt"),
        (lzma.compress(tar_of(REVIEWS))[:-200], "truncated or corrupt"),
        (lzma.compress(b"not a tar" * 200), "truncated or corrupt"),
        (lzma.compress(tar_of({"aclImdb/train/pos/1_9.txt": b"\xff"})), "aclImdb/train/pos/1_9.txt: not UTF-8"),
        (lzma.compress(tar_of({"aclImdb/train/pos/1_9.txt": b"x"})), "has no review aclImdb/train/neg/NUMBER_STARS.txt"),
        (lzma.compress(tar_of({"aclImdb/train/pos/1_9.txt": bytes(2000)})), "has 2,000 bytes, more than 1,000"),
        (lzma.compress(tar_of({"other": bytes(300_000)})), "unpacks to more than 200,000 bytes"),
        (lzma.compress(long_header()), "unpacks to more than 200,000 bytes"),
    ],
    ids=["not xz", "cut", "not tar", "not text", "lacking", "long review", "large", "long header"],
)
def test_hostile_archives_of_reviews_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str) -> None:
    monkeypatch.setattr(texts, "MAX_REVIEW", 1000)
    monkeypatch.setattr(tars, "MAX_UNPACKED", 200_000)
    path = tmp_path / "aclImdb_labelled.tar.xz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load("imdb", folder=tmp_path)


def test_a_missing_imdb_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"cannot read .*aclImdb_v1\.tar\.gz: No such file"):
        data.load("imdb", folder=tmp_path)
    monkeypatch.delenv(data.DATA_FOLDER, raising=False)
    with pytest.raises(DataError, match=r"holds imdb/aclImdb_v1\.tar\.gz or imdb/aclImdb_labelled\.tar\.xz, or allow the download"):
        data.load("imdb")
