"""The ledger's file: tables of SQLite, a CRC-32 in every row over key and content, and what to do where a disk has changed it.

Every sound row of a damaged file is kept; the damaged file itself is kept beside the mended one.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgechaos.support.errors import EdgeChaosError

FORMAT = 3
"""3: instructions are counted with the pairs that pipeline, LDRD and STRD among load_store_multiple."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (spec TEXT PRIMARY KEY, info TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (
    model TEXT, plan TEXT, seed INTEGER, device TEXT, data TEXT, images INTEGER,
    faults TEXT NOT NULL, mask INTEGER NOT NULL,
    attempts INTEGER NOT NULL, -- all there were
    failures TEXT NOT NULL,    -- outcome -> failed attempts, of the present allowance
    outcome TEXT,              -- NULL: to be tried again; 'ok': has a result; else why it has none
    detail TEXT NOT NULL,      -- of the last failed attempt
    result TEXT, correct_bits BLOB, baseline BLOB,
    crc INTEGER NOT NULL,      -- over everything before it
    recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (model, plan, seed, device, data, images)
) WITHOUT ROWID;
"""
COLUMNS = "model, plan, seed, device, data, images, faults, mask, attempts, failures, outcome, detail, result, correct_bits, baseline, crc"
_TAGS = {type(None): b"n", bytes: b"b", str: b"s", int: b"i"}
TABLES = {"meta": "key, value, crc", "devices": "spec, info, crc", "trials": COLUMNS}
_KEYS = {"meta": 1, "devices": 1, "trials": 6}
"""How many columns, from the first, are a table's key."""
_LENGTH = struct.Struct("<Q").pack
DURABLE = 2
"""PRAGMA synchronous = FULL."""

Row = tuple[Any, ...]


def connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions; text that is no UTF-8 is read too: the checksum says what is damaged."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    return connection


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """A power cut then loses no committed batch. Raises EdgeChaosError where SQLite does not agree to that."""
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute(f"PRAGMA synchronous = {DURABLE}")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if synchronous != DURABLE or journal in ("off", "memory"):
        raise EdgeChaosError(
            f"ledger {path}: SQLite does not write durably here (journal {journal}, synchronous {synchronous}); choose another output"
        )


def create(connection: sqlite3.Connection, identity: Mapping[str, Any]) -> None:
    """The tables and whose ledger it is; inside a transaction."""
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    rows = [(key, json.dumps(value)) for key, value in {"format": FORMAT, **identity}.items()]
    connection.executemany("INSERT INTO meta VALUES (?, ?, ?)", [(*row, checksum(row)) for row in rows])


def is_sound(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds its own structure whole."""
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def sound_rows(connection: sqlite3.Connection, table: str) -> tuple[list[Row], int]:
    """(rows whose checksum is right, each key once, in order; how many others were met), up to where the file can be read."""
    sound: dict[Row, Row] = {}
    lost = 0
    try:
        for row in connection.execute(f"SELECT {TABLES[table]} FROM {table}"):
            key = row[: _KEYS[table]]
            if row[-1] == checksum(row[:-1]) and key not in sound:
                sound[key] = row
            else:
                lost += 1
    except sqlite3.DatabaseError:
        lost += 1
    return list(sound.values()), lost


def damaged_path(path: Path) -> Path:
    """Where a damaged ledger is kept."""
    return path.with_name(f"{path.name}.damaged")


def rebuild(path: Path, identity: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]) -> sqlite3.Connection:
    """Write a new file of what is sound, keep a copy of the damaged one, and take its place at once. The old connection is closed before.

    Raises EdgeChaosError where there is no room for it.
    """
    fresh = path.with_name(f"{path.name}.mended")
    try:
        fresh.unlink(missing_ok=True)
        connection = connect(fresh)
        connection.execute(f"PRAGMA synchronous = {DURABLE}")
        connection.execute("BEGIN")
        create(connection, identity)
        for table, rows in tables.items():
            marks = ", ".join("?" * len(TABLES[table].split(",")))
            connection.executemany(f"INSERT INTO {table} ({TABLES[table]}) VALUES ({marks})", rows)
        connection.execute("COMMIT")
        connection.close()
        shutil.copyfile(path, damaged_path(path))
        for left in ("-wal", "-shm"):  # of the damaged file: what is sound in it has been read
            path.with_name(path.name + left).unlink(missing_ok=True)
        os.replace(fresh, path)
    except OSError as error:
        raise EdgeChaosError(f"ledger {path} is damaged and cannot be mended here: {error.strerror}; free space, then --resume") from error
    connection = connect(path)
    make_durable(connection, path)
    return connection


def checksum(values: Sequence[Any]) -> int:
    """CRC-32 over values as SQLite holds them: their types, lengths and bytes."""
    parts: list[bytes] = []
    for value in values:
        data = b"" if value is None else value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
        parts += _TAGS.get(type(value), b"?"), _LENGTH(len(data)), data
    return zlib.crc32(b"".join(parts))
