"""The ledger alone, without a campaign: attempts, allowances, resuming, what is released and what is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechaos.hil.campaign.plan import plan_campaign
from edgechaos.hil.execute.evaluate import Failed
from edgechaos.hil.execute.ledger import INFRASTRUCTURE, Entry, Identity, Ledger
from edgechaos.support.errors import EdgeChaosError
from tests.helpers.campaigns import campaign

PLAN = plan_campaign(campaign())
WHO = Identity("test", 1, "ab" * 32, "drawn")
DATA = {24: "cd" * 32}
FIRST, SECOND = PLAN.trials[0], PLAN.trials[1]


def opened(folder: Path, resume: bool = True) -> Ledger:
    return Ledger.open(folder / "ledger.sqlite", WHO, DATA, resume=resume)


def failed(ledger: Ledger, outcome: str, allowed: int) -> bool:
    with ledger.transaction():
        return ledger.fail(Failed(FIRST, outcome, "why"), allowed)


def test_a_folder_is_made_and_the_lock_released(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    ledger = opened(folder, resume=False)
    with pytest.raises(EdgeChaosError, match="is being written by another campaign"):
        opened(folder)
    ledger.close()
    ledger.close()
    again = opened(folder)
    again.close()
    with pytest.raises(EdgeChaosError, match="exists; continue it"):
        opened(folder, resume=False)
    opened(folder).close()  # a refused opening holds no lock


def test_each_outcome_has_its_own_allowance(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.entry(FIRST) is None
        assert [failed(ledger, INFRASTRUCTURE, 3), failed(ledger, "crash", 2), failed(ledger, INFRASTRUCTURE, 3)] == [False, False, False]
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert (entry.attempts, entry.outcome, entry.result) == (3, None, None)
        assert failed(ledger, "crash", 2)
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert (entry.attempts, entry.outcome, entry.detail) == (4, "crash", "why")
        assert FIRST not in [t for g in ledger.remaining(PLAN) for t in g.trials]
        assert SECOND in [t for g in ledger.remaining(PLAN) for t in g.trials]
        assert ledger.worked() == set()


def test_one_attempt_may_be_all(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert failed(ledger, "hang", 1)


@pytest.mark.parametrize("decided", [False, True])
def test_resuming_gives_all_attempts_again_after_the_infrastructure_failed(tmp_path: Path, decided: bool) -> None:
    with opened(tmp_path) as ledger:
        assert not failed(ledger, INFRASTRUCTURE, 2)
        assert not decided or failed(ledger, INFRASTRUCTURE, 2)
    with opened(tmp_path) as ledger:
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert (entry.attempts, entry.outcome, entry.detail) == (1 + decided, None, "why")
        assert FIRST in [t for g in ledger.remaining(PLAN) for t in g.trials]
        assert [failed(ledger, INFRASTRUCTURE, 2), failed(ledger, INFRASTRUCTURE, 2)] == [False, True]
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert entry.attempts == 3 + decided


def test_resuming_leaves_what_a_device_decided(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert failed(ledger, "crash", 1)
    with opened(tmp_path) as ledger:
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert entry.outcome == "crash"


def test_a_transaction_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        failed(ledger, "crash", 3)
        with pytest.raises(KeyError):
            _broken(ledger)
        entry = ledger.entry(FIRST)
        assert entry is not None
        assert (entry.attempts, entry.detail) == (1, "why")
        assert ledger.entry(SECOND) is None
        assert [failed(ledger, "crash", 3), failed(ledger, "crash", 3)] == [False, True]


def _broken(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.fail(Failed(FIRST, "crash", "lost"), 3)
        ledger.abandon(SECOND, INFRASTRUCTURE, "lost")
        raise KeyError


def test_abandoned_is_no_attempt(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        with ledger.transaction():
            ledger.abandon(SECOND, INFRASTRUCTURE, "left")
        entry = ledger.entry(SECOND)
        assert entry is not None
        assert (entry.attempts, entry.outcome, entry.detail) == (0, INFRASTRUCTURE, "left")


def test_what_was_abandoned_is_tried_when_the_campaign_is_resumed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, ledger.transaction():
        ledger.abandon(SECOND, INFRASTRUCTURE, "left")
    with opened(tmp_path) as ledger:
        assert SECOND in [t for g in ledger.remaining(PLAN) for t in g.trials]
        assert ledger.entry(SECOND) == Entry(0, None, "left", None)


def test_only_a_file_that_holds_something_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    opened(tmp_path, resume=False).close()
    with pytest.raises(EdgeChaosError, match="exists; continue it"):
        opened(tmp_path, resume=False)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeChaosError, match=r"cannot write ledger .*: (File exists|Not a directory); choose another output"):
        opened(tmp_path / "file")


def test_a_refused_opening_leaves_no_open_file(tmp_path: Path) -> None:
    """SQLite's log beside a ledger goes with the last connection."""
    opened(tmp_path).close()
    with pytest.raises(EdgeChaosError, match="model is abababababab there, efefefefefef here; data is drawn there, else here") as caught:
        Ledger.open(tmp_path / "ledger.sqlite", Identity("test", 1, "ef" * 32, "else"), DATA, resume=True)
    assert caught.value
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")) == ["ledger.sqlite"]


def test_another_identity_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    for other in (
        Identity("else", 1, WHO.model, WHO.data),
        Identity("test", 2, WHO.model, WHO.data),
        Identity("test", 1, "ef" * 32, "drawn"),
    ):
        with pytest.raises(EdgeChaosError, match="belongs to another campaign"):
            Ledger.open(tmp_path / "ledger.sqlite", other, DATA, resume=True)
