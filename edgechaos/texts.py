"""Data sets of texts: AG News, and a user's CSV; the vocabulary is made of the training texts alone.

Enters: CSV files. Leaves: a Dataset of token ids that keeps its texts, so that a model with another vocabulary can read them too.
Sources: AG News (Zhang, Zhao and LeCun 2015), rows of class 1..4, title, description; the published language models' vocabulary:
words that occur 5 times or more, the most frequent first, ties by first occurrence.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgechaos.data import Dataset, split_order
from edgechaos.errors import DataError
from edgechaos.files import read_file
from edgechaos.text import FIRST_WORD, Text

AG_NEWS_CLASSES = ("World", "Sports", "Business", "Sci/Tech")
AG_NEWS_LENGTH = 128
VOCABULARY = 20_000
MIN_COUNT = 5
MAX_FIELD = 1 << 20


def vocabulary(texts: Sequence[str], size: int = VOCABULARY, min_count: int = MIN_COUNT) -> Text:
    """The tokenizer of texts: at most `size` ids with padding and unknown, words seen `min_count` times or more."""
    counts = Counter(token for text in texts for token in Text(()).tokens(text))
    ranked = sorted(counts, key=lambda word: -counts[word])  # stable: a Counter keeps the order of first occurrence
    return Text(tuple(word for word in ranked if counts[word] >= min_count)[: size - FIRST_WORD])


def ag_news(folder: Path) -> Dataset:
    """AG News from `test.csv` and `train.csv`, or `train_subset.csv` where the whole is absent. Raises DataError."""
    whole = folder / "train.csv"
    parts = [_ag_news_rows(path) for path in (whole if whole.is_file() else folder / "train_subset.csv", folder / "test.csv")]
    text = vocabulary(parts[0][0])
    arrays = [(text.ids(texts, AG_NEWS_LENGTH), np.array(labels, np.int64)) for texts, labels in parts]
    source = "AG News (Zhang, Zhao and LeCun 2015)"
    texts = (tuple(parts[0][0]), tuple(parts[1][0]))
    return Dataset(
        "ag_news", *arrays[0], *arrays[1], AG_NEWS_CLASSES, (0.0,), (1.0,), source, "non-commercial research", text=text, texts=texts
    )


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
    if len(classes) < 2:
        raise DataError(f"{path}: has {len(classes)} classes; at least two are needed")
    labels = np.array([classes.index(name) for name in names], np.int64)
    train, test = (order.tolist() for order in split_order(labels, len(classes)))
    parts = tuple(texts[i] for i in train), tuple(texts[i] for i in test)
    text = vocabulary(parts[0], min_count=1)
    ids = [text.ids(part, length) for part in parts]
    about = (classes, (0.0,), (1.0,), str(path), "the user's own")
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
        yield from csv.reader(io.StringIO(read_file(path, "data set").decode(), newline=""))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error
