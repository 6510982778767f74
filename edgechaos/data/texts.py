"""Data sets of texts: AG News, IMDB, and a user's CSV; the vocabulary is made of the training texts alone.

A Dataset of token ids keeps its texts, so that a model with another vocabulary can read them too. Sources: AG News (Zhang, Zhao and
LeCun 2015), rows of class 1..4, title, description; IMDB (Maas et al. 2011); the published language models' vocabulary: words that
occur 5 times or more, the most frequent first, ties by first occurrence.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgechaos.data.dataset import MAX_CLASSES, OWN, Dataset, shuffled, split_order
from edgechaos.data.places import place_of
from edgechaos.data.tars import members
from edgechaos.graph.tokenizer import FIRST_WORD, Text
from edgechaos.support.errors import DataError
from edgechaos.support.files import read_file

AG_NEWS_CLASSES = ("World", "Sports", "Business", "Sci/Tech")
AG_NEWS_LENGTH = 128
AG_NEWS_URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
AG_NEWS_FILES: Mapping[str, str] = MappingProxyType(
    {"train.csv": "md5:b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "md5:d52ea96a97a2d943681189a97654912d"}
)
IMDB_CLASSES = ("negative", "positive")
IMDB_LENGTH = 256
IMDB_VOCABULARY = 30_000
IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/"
IMDB_ARCHIVES = ("aclImdb_v1.tar.gz", "aclImdb_labelled.tar.xz")
IMDB_MD5 = "md5:7c2ac02c03563afcf9b574c7e56c153a"
"""Of the first archive."""
REVIEW = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/([0-9]{1,9})_[0-9]{1,2}\.txt")
MAX_REVIEW = 1 << 20
VOCABULARY = 20_000
MIN_COUNT = 5
MAX_FIELD = 1 << 20


def vocabulary(texts: Sequence[str], size: int = VOCABULARY, min_count: int = MIN_COUNT) -> Text:
    """The tokenizer of texts: at most `size` ids with padding and unknown, words seen `min_count` times or more."""
    counts = Counter(token for text in texts for token in Text(()).tokens(text))
    ranked = sorted(counts, key=lambda word: -counts[word])  # stable: a Counter keeps the order of first occurrence
    return Text(tuple(word for word in ranked if counts[word] >= min_count)[: size - FIRST_WORD])


def ag_news(folder: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """AG News from `test.csv` and `train.csv`, or `train_subset.csv` where the whole is absent. Raises DataError."""
    downloads = {AG_NEWS_URL + name: checksum for name, checksum in AG_NEWS_FILES.items()} if download else None
    place = place_of("ag_news", "AG News", "ag_news/train.csv and ag_news/test.csv", folder, downloads)
    whole = place / "train.csv"
    parts = [_ag_news_rows(path) for path in (whole if whole.is_file() else place / "train_subset.csv", place / "test.csv")]
    about = ("AG News (Zhang, Zhao and LeCun 2015)", "non-commercial research")
    return _published("ag_news", parts[0], parts[1], AG_NEWS_CLASSES, AG_NEWS_LENGTH, VOCABULARY, about)


def imdb(folder: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """IMDB from `aclImdb_v1.tar.gz` as published, or `aclImdb_labelled.tar.xz`. Raises DataError.

    Reviews are sorted by their number, then shuffled the same on every machine: in the archives each class comes in one piece.
    """
    downloads = {IMDB_URL + IMDB_ARCHIVES[0]: IMDB_MD5} if download else None
    place = place_of("imdb", "IMDB", f"imdb/{' or imdb/'.join(IMDB_ARCHIVES)}", folder, downloads)
    archive = next((place / name for name in IMDB_ARCHIVES if (place / name).is_file()), place / IMDB_ARCHIVES[0])
    found = _reviews(archive)
    parts = []
    for part in ("train", "test"):
        texts = [(text, label) for label, name in enumerate(("neg", "pos")) for _, text in sorted(found[part, name].items())]
        mixed = [texts[i] for i in shuffled(len(texts)).tolist()]
        parts.append(([text for text, _ in mixed], [label for _, label in mixed]))
    about = ("IMDB Large Movie Review Dataset (Maas et al. 2011)", "none stated; cite the paper")
    return _published("imdb", parts[0], parts[1], IMDB_CLASSES, IMDB_LENGTH, IMDB_VOCABULARY, about)


def _reviews(path: Path) -> dict[tuple[str, str], dict[int, str]]:
    """(train or test, neg or pos) to number to text."""
    found: dict[tuple[str, str], dict[int, str]] = {(part, kind): {} for part in ("train", "test") for kind in ("neg", "pos")}
    for named, content in members(path, REVIEW, MAX_REVIEW):
        try:
            found[named[1], named[2]][int(named[3])] = content.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, {named[0]}: not UTF-8 ({error}); fetch it again") from error
    for (part, kind), reviews in found.items():
        if not reviews:
            raise DataError(f"{path}: has no review aclImdb/{part}/{kind}/NUMBER_STARS.txt; fetch it again")
    return found


def _published(
    name: str,
    train: tuple[list[str], list[int]],
    test: tuple[list[str], list[int]],
    classes: tuple[str, ...],
    length: int,
    size: int,
    about: tuple[str, str],
) -> Dataset:
    text = vocabulary(train[0], size)
    ids = [text.ids(texts, length) for texts, _ in (train, test)]
    labels = [np.array(classes, np.int64) for _, classes in (train, test)]
    texts = (tuple(train[0]), tuple(test[0]))
    return Dataset(name, ids[0], labels[0], ids[1], labels[1], classes, (0.0,), (1.0,), *about, text=text, texts=texts)


def from_csv(path: Path, length: int = AG_NEWS_LENGTH) -> Dataset:
    """A user's CSV with columns `text` and `label`; labels are names, in alphabetical order; a fifth of each is the test.

    Raises DataError where the file is no such CSV.
    """
    rows = list(_rows(path))
    if not rows or not {"text", "label"} <= set(rows[0]):
        raise DataError(f"{path}: the first line must name the columns, 'text' and 'label' among them")
    columns = [rows[0].index(name) for name in ("text", "label")]
    for line, row in enumerate(rows[1:], 2):
        if len(row) <= max(columns):
            raise DataError(f"{path}, row {line}: has {len(row)} columns, the first line {len(rows[0])}")
    texts, names = ([row[column] for row in rows[1:]] for column in columns)
    classes = tuple(sorted(set(names)))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DataError(f"{path}: has {len(classes):,} classes; 2 to {MAX_CLASSES:,} are read: is 'label' the right column?")
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[name] for name in names], np.int64)
    train, test = (order.tolist() for order in split_order(labels, len(classes)))
    parts = tuple(texts[i] for i in train), tuple(texts[i] for i in test)
    text = vocabulary(parts[0], min_count=1)
    ids = [text.ids(part, length) for part in parts]
    about = (classes, (0.0,), (1.0,), path.name, OWN)
    return Dataset(path.stem, ids[0], labels[train], ids[1], labels[test], *about, text=text, texts=parts)


def _ag_news_rows(path: Path) -> tuple[list[str], list[int]]:
    texts, labels = [], []
    for line, row in enumerate(_rows(path), 1):
        if len(row) < 2 or row[0] not in ("1", "2", "3", "4"):
            raise DataError(f'{path}, row {line}: expected "class 1-4","title","description"')
        labels.append(int(row[0]) - 1)
        texts.append(" ".join(row[1:3]).strip())
    return texts, labels


def _rows(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_FIELD)
    try:
        yield from csv.reader(io.StringIO(read_file(path, "data set").decode("utf-8-sig"), newline=""))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error
