"""Where on this machine a user's own data set lies: by its content hash, so that no path is in a checkpoint or an artifact.

A small file in the user's data folder maps the hash to the path. Checkpoints and artifacts keep the name and the hash alone: they
travel, and where a user keeps files is private.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgechaos.data.catalog import NAMES, load
from edgechaos.data.dataset import OWN, Dataset
from edgechaos.graph.tokenizer import Text
from edgechaos.support.errors import DataError
from edgechaos.support.files import read_file, write_atomic

HASH = re.compile(r"[0-9a-f]{64}")
MAX_BYTES = 1 << 16


def remember(data: Dataset, name: str) -> None:
    """Note that the items of `data` came from the path `name`; nothing is noted of a name such as `mnist`.

    Raises EdgeChaosError where the note cannot be written.
    """
    if name not in NAMES:
        write_atomic(_note(data.content_hash), json.dumps({"path": str(Path(name).resolve())}))


def recall(record: Mapping[str, Any], where: str, text: Text | None = None, length: int = 0) -> Dataset:
    """The data set that a checkpoint or an artifact names, `length` tokens of `text` where it is of texts.

    record: its `dataset`, with `name`, `hash` and `licence`. A user's own set is read from where this machine last read it and must
    have the recorded hash. Raises DataError, naming `where`, the path and --data, where it is unknown, has moved or has changed.
    """
    name, wanted = record.get("name"), record.get("hash")
    path = remembered(wanted)
    if path is None:
        if name in NAMES and record.get("licence") != OWN:
            return _tokenized(load(str(name)), text, length)
        what = f"was made with the data set '{name}', which is not known here" if name else "does not name its data set"
        raise DataError(f"{where} {what}; give one with --data NAME or --data PATH")
    try:
        data = _tokenized(load(path), text, length)
    except DataError as error:
        raise DataError(f"{where}: its data set '{name}' was last read from {path}: {error}; if it has moved, give --data PATH") from error
    if data.content_hash != wanted:
        raise DataError(
            f"{where}: the data set at {path} has changed: its hash is {data.content_hash[:12]}, that of '{name}' was {str(wanted)[:12]}; "
            "restore it, or use it as it is with --data PATH"
        )
    return data


def remembered(content_hash: Any) -> str | None:
    """The path that was last noted for a hash; None where there is none, or the note is damaged."""
    if not isinstance(content_hash, str) or not HASH.fullmatch(content_hash) or not _note(content_hash).is_file():
        return None
    try:
        path = json.loads(read_file(_note(content_hash), "note", MAX_BYTES)).get("path")
    except (ValueError, AttributeError, RecursionError):
        return None
    return path if isinstance(path, str) else None


def _note(content_hash: str) -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("edgechaos", appauthor=False)) / "datasets" / f"{content_hash}.json"


def _tokenized(data: Dataset, text: Text | None, length: int) -> Dataset:
    return data if text is None else data.tokenized(text, length)
