"""The ledger: one SQLite file that knows every trial of a campaign that has a result, whatever killed the campaign.

Enters: trials, results, failed attempts. Leaves: the same, and what remains to be done. A trial's key is what it
computes (model hash, plan id, seed, device, data hash, images); clocks are recorded but key nothing. There is one
writer, held by a lock; each batch is one transaction, so that a result is there whole or not at all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgechaos.devices.contract import DeviceInfo
from edgechaos.errors import EdgeChaosError
from edgechaos.hil.evaluate import Failed, Finished, TrialResult
from edgechaos.hil.plan import CampaignPlan, Group, Trial

FORMAT = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (spec TEXT PRIMARY KEY, info TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (
    model TEXT, plan TEXT, seed INTEGER, device TEXT, data TEXT, images INTEGER,
    faults TEXT NOT NULL, mask INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    outcome TEXT,          -- NULL: attempted, to be tried again; 'ok': has a result; else why it never will
    detail TEXT NOT NULL,  -- of the last failed attempt
    result TEXT, correct_bits BLOB, baseline BLOB,
    recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (model, plan, seed, device, data, images)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two runs one campaign: a ledger accepts more rates, masks or devices, but no other model, data or seed.

    model: content hash. data: the data set's name (its items' hash is in every trial's key).
    """

    name: str
    seed: int
    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial's row. outcome: None while an attempt failed and others are left, "ok", or why there is no result."""

    attempts: int
    outcome: str | None
    detail: str
    result: TrialResult | None


class Ledger:
    """Open with `Ledger.open`; a context manager that releases the lock.

    data: images -> data hash, for each number of images that the campaign uses.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock, identity: Identity, data: dict[int, str]) -> None:
        self.path = path
        self.identity = identity
        self._connection = connection
        self._lock = lock
        self._data = data

    @classmethod
    def open(cls, path: Path, identity: Identity, data: dict[int, str], *, resume: bool = False) -> Ledger:
        """Create the ledger, or continue it where `resume`.

        Raises EdgeChaosError where it exists and `resume` is not given, another process writes it, it is no ledger, or it
        is another campaign's.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise EdgeChaosError(f"ledger {path} is being written by another campaign; wait for it or choose another output") from error
        try:
            if path.exists() and path.stat().st_size and not resume:
                raise EdgeChaosError(f"ledger {path} exists; continue it with --resume or choose another output")
            connection = sqlite3.connect(path, isolation_level=None)
            ledger = cls(path, connection, lock, identity, data)
            try:
                ledger._begin()
            except BaseException:
                connection.close()
                raise
            return ledger
        except BaseException:
            lock.release()
            raise

    def _begin(self) -> None:
        with self._translated():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")  # a power cut loses no committed batch either
        with self.transaction():
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                for statement in _SCHEMA.split(";\n"):
                    self._connection.execute(statement)
                about = {"format": FORMAT, **asdict(self.identity)}
                self._connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in about.items()])
        with self._translated():
            stored = {k: json.loads(v) for k, v in self._connection.execute("SELECT key, value FROM meta")}
        if stored.get("format") != FORMAT:
            raise EdgeChaosError(
                f"ledger {self.path} has format {stored.get('format')}, this release writes {FORMAT}; choose another output"
            )
        others = [f"{k} is {_short(stored.get(k))} there, {_short(v)} here" for k, v in asdict(self.identity).items() if stored.get(k) != v]
        if others:
            raise EdgeChaosError(f"ledger {self.path} belongs to another campaign ({'; '.join(others)}); choose another output")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock; safe to call twice."""
        self._connection.close()
        self._lock.release()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is recorded inside, or nothing of it. Raises EdgeChaosError where the disk is full."""
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if "full" in str(error):
                raise EdgeChaosError(
                    f"no space left for ledger {self.path}; what was recorded is kept: free space and continue with --resume"
                ) from error
            raise EdgeChaosError(f"ledger {self.path}: {error}; if it is no ledger of a campaign, choose another output") from error

    def finish(self, events: Iterable[Finished]) -> None:
        """Record results; inside a transaction."""
        for event in events:
            result = asdict(event.result)
            bits, baseline = result.pop("correct_bits"), result.pop("baseline")
            self._write(event.trial, "ok", "", json.dumps(result), bits, baseline)

    def fail(self, event: Failed, attempts_allowed: int) -> None:
        """Record a failed attempt, the last one as the trial's outcome; inside a transaction."""
        entry = self.entry(event.trial)
        last = (entry.attempts if entry else 0) + 1 >= attempts_allowed
        self._write(event.trial, event.outcome if last else None, event.detail)

    def abandon(self, trial: Trial, outcome: str, detail: str) -> None:
        """Record that a trial will have no result, without an attempt at it; inside a transaction."""
        self._write(trial, outcome, detail, attempt=0)

    def _write(
        self, trial: Trial, outcome: str | None, detail: str, result: str | None = None, *blobs: bytes | None, attempt: int = 1
    ) -> None:
        bits, baseline = blobs or (None, None)
        self._connection.execute(
            "INSERT INTO trials (model, plan, seed, device, data, images, faults, mask, attempts, outcome, detail, result,"
            " correct_bits, baseline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, outcome = excluded.outcome,"
            " detail = excluded.detail, result = excluded.result, correct_bits = excluded.correct_bits,"
            " baseline = excluded.baseline, recorded = CURRENT_TIMESTAMP WHERE outcome IS NULL",  # what is decided stays
            (*self._key(trial), json.dumps(trial.plan.to_json()), trial.mask, attempt, outcome, detail, result, bits, baseline),
        )

    def _key(self, trial: Trial) -> tuple[Any, ...]:
        return self.identity.model, trial.plan.id, trial.seed, trial.device, self._data[trial.images], trial.images

    def entry(self, trial: Trial) -> Entry | None:
        """A trial's row; None where it was never attempted."""
        with self._translated():
            row = self._connection.execute(
                "SELECT attempts, outcome, detail, result, correct_bits, baseline FROM trials WHERE"
                " model = ? AND plan = ? AND seed = ? AND device = ? AND data = ? AND images = ?",
                self._key(trial),
            ).fetchone()
        if row is None:
            return None
        attempts, outcome, detail, result, bits, baseline = row
        if result is None:
            return Entry(attempts, outcome, detail, None)
        fields = json.loads(result)
        fields["per_class"] = tuple(fields["per_class"])
        return Entry(attempts, outcome, detail, TrialResult(**fields, correct_bits=bits, baseline=baseline))

    def remaining(self, plan: CampaignPlan) -> tuple[Group, ...]:
        """The groups that still hold trials without an outcome; a clean run that is known travels as the baseline."""
        groups = []
        for group in plan.groups:
            entries = [self.entry(t) for t in group.trials]
            todo = tuple(t for t, e in zip(group.trials, entries, strict=True) if e is None or e.outcome is None)
            clean = entries[0]
            if todo:
                groups.append(Group(todo, clean.result.baseline if clean and clean.result else None))
        return tuple(groups)

    def record_device(self, spec: str, info: DeviceInfo) -> None:
        """Remember who answered; inside a transaction.

        Raises EdgeChaosError where the same device ran another firmware before: its trials would not be one experiment.
        """
        about = {**asdict(info), "capabilities": sorted(info.capabilities)}
        before = self.devices().get(spec)
        if before is not None and before["firmware_hash"] != about["firmware_hash"]:
            raise EdgeChaosError(
                f"device {spec} runs firmware {about['firmware_hash'][:12]}, but ledger {self.path} was begun with"
                f" {before['firmware_hash'][:12]}; choose another output"
            )
        self._connection.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", (spec, json.dumps(about)))

    def devices(self) -> dict[str, dict[str, Any]]:
        """Who answered, by device spec."""
        with self._translated():
            return {spec: json.loads(info) for spec, info in self._connection.execute("SELECT spec, info FROM devices ORDER BY spec")}

    def counts(self) -> dict[str, int]:
        """Trials per outcome ("pending": attempted, to be tried again)."""
        with self._translated():
            return dict(self._connection.execute("SELECT coalesce(outcome, 'pending'), count(*) FROM trials GROUP BY 1 ORDER BY 1"))


def _short(value: object) -> str:
    return str(value)[:12]
