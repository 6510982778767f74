"""Data sets of texts: AG News rows, a user's CSV, vocabularies; malformed files are named with their row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgechaos import data
from edgechaos.errors import DataError, EdgeChaosError
from edgechaos.texts import vocabulary


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
        (b"text,label\nx,a\ny,a\n", "has 1 classes; at least two"),
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
