"""The ledger: one SQLite file that knows every trial of a campaign that has a result, whatever killed the campaign.

A trial's key is what it computes (model hash, plan id, seed, device, data hash, images); clocks are recorded but key nothing. There is
one writer, held by a lock; each batch is one transaction, so that a result is there whole or not at all. What a disk has changed is never
believed (`edgechaos.hil.execute.ledger_file`): such trials are run again.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgechaos.devices.contract import DeviceInfo
from edgechaos.hil.campaign.plan import CampaignPlan, Group, Trial
from edgechaos.hil.execute.evaluate import Failed, Finished, TrialResult
from edgechaos.hil.execute.ledger_file import (
    COLUMNS,
    FORMAT,
    TABLES,
    Row,
    checksum,
    connect,
    create,
    damaged_path,
    is_sound,
    make_durable,
    rebuild,
    sound_rows,
)
from edgechaos.support.errors import EdgeChaosError

INFRASTRUCTURE = "infrastructure"
Key = tuple[str, int, str, str, int]
"""Plan, seed, device, data, images; the model is the ledger's."""
SAID = tuple(f.name for f in fields(TrialResult) if f.name not in ("correct_bits", "baseline"))
"""What a row's JSON says of a result; the others have columns of their own."""
STORE = (
    f"INSERT INTO trials ({COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS.split(', ')))}) ON CONFLICT DO UPDATE SET"
    f" {', '.join(f'{name} = excluded.{name}' for name in COLUMNS.split(', '))}, recorded = CURRENT_TIMESTAMP"
    " WHERE outcome IS NULL OR outcome = 'infrastructure'"
)


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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept in memory of a row."""

    attempts: int
    failures: dict[str, int]
    outcome: str | None


class Ledger:
    """Open with `Ledger.open`; a context manager that releases the lock.

    data: images -> data hash, for each number of images that the campaign uses. notices: what a user should hear of the opening.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock, identity: Identity, data: dict[int, str]) -> None:
        self.path = path
        self.identity = identity
        self.notices: list[str] = []
        self._connection = connection
        self._lock = lock
        self._data = data
        self._known: dict[Key, _Known] = {}
        self._undo: dict[Key, _Known | None] = {}
        self._keys: dict[Trial, Key] = {}

    @classmethod
    def open(cls, path: Path, identity: Identity, data: dict[int, str], *, resume: bool = False) -> Ledger:
        """Create the ledger, or continue it where `resume`; trials that the infrastructure failed then have all their attempts again.

        Raises EdgeChaosError where it exists and `resume` is not given, another process writes it, it is no ledger, is of another
        format, another campaign's, or damaged where nothing can replace what was lost.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{path}.lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise EdgeChaosError(f"ledger {path} is being written by another campaign; wait for it or choose another output") from error
        except OSError as error:
            raise EdgeChaosError(f"cannot write ledger {path}: {error.strerror}; choose another output") from error
        try:
            if path.exists() and path.stat().st_size and not resume:
                raise EdgeChaosError(f"ledger {path} exists; continue it with --resume or choose another output")
            ledger = cls(path, connect(path), lock, identity, data)
            try:
                ledger._begin()
            except BaseException:
                ledger._connection.close()
                raise
            return ledger
        except BaseException:
            lock.release()
            raise

    def _begin(self) -> None:
        with self._translated():
            make_durable(self._connection, self.path)
            tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not TABLES.keys() <= tables:
            raise EdgeChaosError(f"{self.path} is no ledger of a campaign; choose another output")
        if not tables:
            with self.transaction():
                create(self._connection, asdict(self.identity))
        with self._translated():
            self._check_meta()
            sound = is_sound(self._connection)
            kept, lost = sound_rows(self._connection, "trials")
            devices, lost_devices = sound_rows(self._connection, "devices")
            if not sound or lost or lost_devices:
                self._connection.close()
                self._connection = rebuild(self.path, asdict(self.identity), {"trials": kept, "devices": devices})
                several = f"{lost} of its trials are" if lost else "what cannot be read is"
                self.notices.append(f"ledger {self.path} was damaged: {several} run again; the damaged file is {damaged_path(self.path)}")
        for row in kept:
            self._known[_key_of(row)] = _Known(row[8], json.loads(row[9]), row[10])
        self._allow_again(kept)

    def _check_meta(self) -> None:
        """Format first: an older one has no checksums."""
        (text,) = self._connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() or ("0",)
        if text != json.dumps(FORMAT):
            raise EdgeChaosError(
                f"ledger {self.path} has format {text!r:.20}, this release writes {FORMAT}; finish it with the release that began it,"
                " or choose another output"
            )
        rows, lost = sound_rows(self._connection, "meta")
        stored = {key: json.loads(value) for key, value, _ in rows}
        if lost or stored.keys() != {"format", *asdict(self.identity)}:
            raise EdgeChaosError(f"ledger {self.path} is damaged: nobody can say whose it is; choose another output")
        others = [f"{k} is {_short(stored[k])} there, {_short(v)} here" for k, v in asdict(self.identity).items() if stored[k] != v]
        if others:
            raise EdgeChaosError(f"ledger {self.path} belongs to another campaign ({'; '.join(others)}); choose another output")

    def _allow_again(self, rows: Iterable[Row]) -> None:
        """What the infrastructure failed may be tried again, with all attempts: whoever resumes has mended it."""
        with self.transaction():
            for row in rows:
                if row[10] in (None, INFRASTRUCTURE):
                    values = [*row[:-1]]
                    values[9], values[10] = "{}", None
                    self._store(tuple(values))

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
            self._undo.clear()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                for key, known in self._undo.items():
                    if known is None:
                        self._known.pop(key, None)
                    else:
                        self._known[key] = known
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
            result = {name: getattr(event.result, name) for name in SAID}  # not asdict, which copies deeply
            if not result["inferred"]:
                del result["inferred"]
            self._write(event.trial, "ok", "", json.dumps(result), event.result.correct_bits, event.result.baseline)

    def fail(self, event: Failed, attempts_allowed: int) -> bool:
        """Record a failed attempt; inside a transaction. Whether it was the last: then its outcome is the trial's.

        Each outcome has its own allowance, so that a worker that somebody kills does not decide what a crashing device would have.
        """
        known = self._known.get(self._key(event.trial))
        failures = dict(known.failures) if known else {}
        failures[event.outcome] = failures.get(event.outcome, 0) + 1
        last = failures[event.outcome] >= attempts_allowed
        self._write(event.trial, event.outcome if last else None, event.detail, failures=failures)
        return last

    def abandon(self, trial: Trial, outcome: str, detail: str) -> None:
        """Record that a trial will have no result in this run, without an attempt at it; inside a transaction."""
        self._write(trial, outcome, detail, attempt=0)

    def _write(
        self,
        trial: Trial,
        outcome: str | None,
        detail: str,
        result: str | None = None,
        bits: bytes | None = None,
        baseline: bytes | None = None,
        *,
        attempt: int = 1,
        failures: dict[str, int] | None = None,
    ) -> None:
        key = self._key(trial)
        known = self._known.get(key)
        assert known is None or known.outcome is None, f"a decided trial is never written again: {trial}"
        attempts = attempt + (known.attempts if known else 0)
        plan, seed, device, data, images = key
        about = (json.dumps(trial.plan.to_json()), trial.mask, attempts, json.dumps(failures or {}), outcome, detail)
        self._store((self.identity.model, plan, seed, device, data, images, *about, result, bits, baseline))

    def _store(self, values: Row) -> None:
        """Insert a row, or replace one that is not decided; values: all columns but the checksum."""
        key = _key_of(values)
        self._undo.setdefault(key, self._known.get(key))
        self._known[key] = _Known(values[8], json.loads(values[9]), values[10])
        done = self._connection.execute(STORE, (*values, checksum(values)))
        assert done.rowcount == 1, f"a decided trial is never written again: {key}"

    def _key(self, trial: Trial) -> Key:
        known = self._keys.get(trial)
        if known is None:  # a plan's id costs more than everything else about a row
            known = self._keys[trial] = trial.plan.id, trial.seed, trial.device, self._data[trial.images], trial.images
        return known

    def entry(self, trial: Trial) -> Entry | None:
        """A trial's row; None where it was never attempted. Raises EdgeChaosError where it was damaged since the ledger was opened."""
        with self._translated():
            row = self._connection.execute(
                f"SELECT {COLUMNS} FROM trials WHERE model = ? AND plan = ? AND seed = ? AND device = ? AND data = ? AND images = ?",
                (self.identity.model, *self._key(trial)),
            ).fetchone()
        if row is None:
            return None
        if row[-1] != checksum(row[:-1]):
            raise EdgeChaosError(
                f"ledger {self.path}: the row of plan {trial.plan.id}, mask {trial.mask} is damaged; continue with --resume"
            )
        attempts, _, outcome, detail, result, bits, baseline = row[8:15]
        if result is None:
            return Entry(attempts, outcome, detail, None)
        fields = json.loads(result)
        fields["per_class"] = tuple(fields["per_class"])
        return Entry(attempts, outcome, detail, TrialResult(**fields, correct_bits=bits, baseline=baseline))

    def result(self, trial: Trial) -> TrialResult | None:
        """What a trial gave; None where it gave nothing yet."""
        known = self._known.get(self._key(trial))
        entry = self.entry(trial) if known is not None and known.outcome == "ok" else None
        return entry.result if entry else None

    def remaining(self, plan: CampaignPlan) -> tuple[Group, ...]:
        """The groups that still hold trials without an outcome; a clean run that is known travels as the baseline."""
        groups = []
        for group in plan.groups:
            todo = tuple(t for t in group.trials if (known := self._known.get(self._key(t))) is None or known.outcome is None)
            if todo:
                clean = self.entry(group.trials[0]) if self._key(group.trials[0]) in self._known else None
                groups.append(Group(todo, clean.result.baseline if clean and clean.result else None))
        return tuple(groups)

    def worked(self) -> set[str]:
        """Devices that have finished a trial."""
        return {key[2] for key, known in self._known.items() if known.outcome == "ok"}

    def record_device(self, spec: str, info: DeviceInfo) -> None:
        """Remember who answered; inside a transaction.

        Raises EdgeChaosError where the same device ran another firmware before: its trials would not be one experiment.
        """
        about = {**asdict(info), "levels": sorted(info.levels)}
        before = self.devices().get(spec)
        if before is not None and before["firmware_hash"] != about["firmware_hash"]:
            raise EdgeChaosError(
                f"device {spec} runs firmware {about['firmware_hash'][:12]}, but ledger {self.path} was begun with"
                f" {before['firmware_hash'][:12]}; choose another output"
            )
        row = (spec, json.dumps(about))
        self._connection.execute("INSERT OR REPLACE INTO devices VALUES (?, ?, ?)", (*row, checksum(row)))

    def devices(self) -> dict[str, dict[str, Any]]:
        """Who answered, by device spec."""
        with self._translated():
            rows, lost = sound_rows(self._connection, "devices")
        if lost:
            raise EdgeChaosError(f"ledger {self.path}: the row of a device is damaged; continue with --resume")
        return {spec: json.loads(info) for spec, info, _ in sorted(rows)}


def _key_of(row: Row) -> Key:
    _, plan, seed, device, data, images = row[:6]
    return sys.intern(plan), seed, sys.intern(device), sys.intern(data), images


def _short(value: object) -> str:
    return str(value)[:12]
