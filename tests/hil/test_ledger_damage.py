"""A ledger that a disk has changed: nothing damaged is believed, nothing sound is lost, no traceback."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgechaos.hil.analysis.results import Results
from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute.evaluate import Failed, Finished
from edgechaos.hil.execute.ledger import Ledger
from edgechaos.hil.execute.ledger_file import checksum, connect
from edgechaos.hil.runner import open_ledger
from edgechaos.support.errors import EdgeChaosError
from tests.helpers.campaigns import GRAPH, campaign, items, rows, run

SPEC = campaign(masks=3)
TRIALS = plan_campaign(SPEC).trials


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """A finished campaign: its ledger and its results."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "ledger.sqlite", run(folder, SPEC)


def resumed(tmp_path: Path, notices: list[str]) -> Results:
    return run(tmp_path, SPEC, resume=True, notice=notices.append)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(SPEC, GRAPH, items(), tmp_path / "new.sqlite", resume=False) as opened:
        yield opened


@pytest.mark.slow
def test_flipped_bits_never_change_a_result(tmp_path: Path, whole: tuple[Path, Results]) -> None:
    """One to four bits anywhere in the file, 60 times: the same results, or one line that names the ledger."""
    sound = whole[0].read_bytes()
    chance = random.Random(5)
    mended = 0
    for k in range(60):
        spoiled = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "ledger.sqlite").write_bytes(spoiled)
        notices: list[str] = []
        try:
            results = resumed(folder, notices)
        except EdgeChaosError as error:
            assert "\n" not in str(error), error  # noqa: PT017 (the other outcome is as good)
            assert str(folder / "ledger.sqlite") in str(error)  # noqa: PT017
        else:
            assert results.curves == whole[1].curves
            assert results.about["trials"] == whole[1].about["trials"]
            mended += bool(notices)
        shutil.rmtree(folder)
    assert mended > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "plan = 'x' || substr(plan, 2)",
        "seed = seed + 1",
        "device = 'plaim'",
        "images = images + 1",
        "outcome = 'crash'",
        "attempts = 7",
        "result = replace(result, '\"correct\": ', '\"correct\": 1')",
        "result = '{'",
        "result = CAST(x'7bff' AS TEXT)",
        "correct_bits = zeroblob(length(correct_bits))",
        "correct_bits = CAST(correct_bits AS TEXT)",
        "crc = crc + 1",
    ],
)
def test_a_changed_column_is_found_and_its_trial_run_again(tmp_path: Path, whole: tuple[Path, Results], change: str) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(whole[0], path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE trials SET {change} WHERE plan = ? AND seed = ?", (TRIALS[1].plan.id, TRIALS[1].seed))
    spoiled = path.read_bytes()
    notices: list[str] = []
    assert resumed(tmp_path, notices).to_json() == whole[1].to_json()
    damaged = path.with_name("ledger.sqlite.damaged")
    assert notices == [f"ledger {path} was damaged: 1 of its trials are run again; the damaged file is {damaged}"]
    assert damaged.read_bytes() == spoiled
    assert rows(path) == rows(whole[0])
    notices.clear()
    assert resumed(tmp_path, notices).to_json() == whole[1].to_json()
    assert notices == []


def test_a_damaged_device_row_is_written_again(tmp_path: Path, whole: tuple[Path, Results]) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(whole[0], path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE devices SET info = replace(info, 'fake', 'host')")
    notices: list[str] = []
    assert resumed(tmp_path, notices).about["devices"] == whole[1].about["devices"]
    assert "what cannot be read is run again" in notices[0]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE meta SET value = '7' WHERE key = 'seed'", "is damaged: nobody can say whose it is; choose another output"),
        ("DELETE FROM meta WHERE key = 'model'", "is damaged: nobody can say whose it is"),
        ("UPDATE meta SET value = '1' WHERE key = 'format'", r"has format '1', this release writes 3; finish it with the release that"),
        ("DELETE FROM meta", "has format '0', this release writes 3"),
        ("DROP TABLE devices", "is no ledger of a campaign; choose another output"),
    ],
)
def test_what_cannot_be_mended_is_refused(tmp_path: Path, whole: tuple[Path, Results], statement: str, message: str) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(whole[0], path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    with pytest.raises(EdgeChaosError, match=message):
        resumed(tmp_path, [])


def test_a_ledger_of_format_1_is_refused_by_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.execute("CREATE TABLE devices (spec TEXT PRIMARY KEY, info TEXT NOT NULL) WITHOUT ROWID")
        connection.execute("CREATE TABLE trials (model TEXT, plan TEXT, seed INTEGER, PRIMARY KEY (model, plan, seed)) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('format', '1')")
    with pytest.raises(EdgeChaosError, match="has format '1', this release writes 3; finish it with the release that began it, or choose"):
        resumed(tmp_path, [])


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(EdgeChaosError, match="is no ledger of a campaign; choose another output"):
        resumed(tmp_path, [])
    assert sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_half_a_file(tmp_path: Path, whole: tuple[Path, Results]) -> None:
    data = whole[0].read_bytes()
    (tmp_path / "ledger.sqlite").write_bytes(data[: len(data) // 2])
    notices: list[str] = []
    try:
        assert resumed(tmp_path, notices).curves == whole[1].curves
    except EdgeChaosError as error:
        assert str(tmp_path / "ledger.sqlite") in str(error)  # noqa: PT017
    else:
        assert notices


def test_writes_are_durable_or_refused(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    monkeypatch.setattr("edgechaos.hil.execute.ledger.connect", lambda path: connect(Path(":memory:")))
    with pytest.raises(EdgeChaosError, match=r"does not write durably here \(journal memory, synchronous 2\); choose another output"):
        run(tmp_path, SPEC)


def test_a_decided_trial_is_never_written_again(ledger: Ledger, whole: tuple[Path, Results]) -> None:
    with open_ledger(SPEC, GRAPH, items(), whole[0], resume=True) as finished:
        entry = finished.entry(TRIALS[0])
    assert entry is not None
    assert entry.result is not None
    event = Finished(TRIALS[0], entry.result)
    with ledger.transaction():
        ledger.finish([event])
    before = rows(ledger.path)
    writes: tuple[Callable[[], None], ...] = (lambda: ledger.finish([event]), lambda: ledger.abandon(TRIALS[0], "infrastructure", "late"))
    for write in writes:
        with pytest.raises(AssertionError, match="a decided trial is never written again"), ledger.transaction():
            write()
    ledger._known.clear()  # and SQLite itself does not, either
    with pytest.raises(AssertionError, match="a decided trial is never written again"), ledger.transaction():
        ledger.finish([event])
    assert rows(ledger.path) == before


def test_each_outcome_has_its_own_allowance(ledger: Ledger) -> None:
    """A worker that somebody kills in between does not decide what a crashing device would have."""
    with ledger.transaction():
        lasts = [ledger.fail(Failed(TRIALS[1], outcome, "why"), 2) for outcome in ("crash", "infrastructure", "crash")]
    assert lasts == [False, False, True]
    entry = ledger.entry(TRIALS[1])
    assert entry is not None
    assert (entry.attempts, entry.outcome, entry.detail) == (3, "crash", "why")


def test_what_a_failed_transaction_wrote_is_forgotten(ledger: Ledger) -> None:
    def half_done() -> None:
        with ledger.transaction():
            ledger.abandon(TRIALS[0], "infrastructure", "lost")
            raise KeyError

    with pytest.raises(KeyError):
        half_done()
    assert ledger.entry(TRIALS[0]) is None
    assert sum(len(g.trials) for g in ledger.remaining(plan_campaign(SPEC))) == len(TRIALS)
    with ledger.transaction():
        assert not ledger.fail(Failed(TRIALS[0], "infrastructure", "why"), 2)


def test_damage_while_a_campaign_runs_is_found_when_it_is_read(tmp_path: Path, whole: tuple[Path, Results]) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(whole[0], path)
    with open_ledger(SPEC, GRAPH, items(), path, resume=True) as opened:
        with sqlite3.connect(path) as other:
            other.execute("UPDATE trials SET attempts = 2 WHERE plan = ? AND seed = ?", (TRIALS[2].plan.id, TRIALS[2].seed))
            other.execute("UPDATE devices SET info = '{}'")
        with pytest.raises(EdgeChaosError, match=rf"the row of plan {TRIALS[2].plan.id}, mask {TRIALS[2].mask} is damaged; continue with"):
            opened.entry(TRIALS[2])
        with pytest.raises(EdgeChaosError, match="the row of a device is damaged; continue with --resume"):
            opened.devices()


def test_checksums_tell_types_and_places_apart() -> None:
    rows_ = [
        ("a", "b"),
        ("ab", ""),
        ("", "ab"),
        ("a", b"b"),
        (1, "2"),
        ("1", 2),
        (None, ""),
        ("", None),
        ("a",),
        ("a", "b", None),
        (1.0, 2),
    ]
    assert len({checksum(row) for row in rows_}) == len(rows_)
    assert checksum(("\udcff", 1)) != checksum(("?", 1))
