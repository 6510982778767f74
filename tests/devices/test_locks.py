"""Locks of boards and ports: one process on the whole machine, whichever user, HOME or name; gone with their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgechaos.devices.boards import locks
from edgechaos.support.errors import LinkError
from tests.helpers.places import ROOT

HOLDER = """
import os, signal, sys
from pathlib import Path
from edgechaos.devices.boards import locks
from edgechaos.support.errors import LinkError
locks.SHARED_FOLDERS = (Path(sys.argv[1]),)
os.umask(0o077)
if os.geteuid() == 0 and sys.argv[3] == "another":
    locks.hold_board("warm").release()  # everything is imported before the rights to read it are gone
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    lock = locks.hold_board(sys.argv[2])
    print("held", flush=True)
    if sys.argv[4] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
except LinkError as error:
    print(error, flush=True)
"""
"""Arguments: the folder, the UID, "same" or "another" user (where the suite may change it), "wait" for the end of input or "die"."""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder into which every user may write: not below pytest's own, which every other run of pytest closes to them again."""
    with tempfile.TemporaryDirectory() as name:
        shared = Path(name)
        shared.chmod(0o1777)
        monkeypatch.setattr(locks, "SHARED_FOLDERS", (shared,))
        yield shared


def start(folder: Path, uid: str, user: str, then: str = "wait", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), uid, user, then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.parametrize("user", ["same", "another"])
def test_a_board_is_held_against_every_home_and_every_user(user: str, folder: Path, tmp_path: Path) -> None:
    elsewhere = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    lock = locks.hold_board("aa")
    with start(folder, "aa", user, **elsewhere) as child:
        assert "the board with UID aa is in use" in said(child)
    lock.release()
    with start(folder, "aa", user, **elsewhere) as child:
        assert said(child) == "held"
        with pytest.raises(LinkError, match="the board with UID aa is in use"):
            locks.hold_board("aa")
        locks.hold_board("bb").release()
        child.communicate("")
    locks.hold_board("aa").release()


@pytest.mark.parametrize("user", ["same", "another"])
def test_a_lock_ends_with_its_process_and_its_file_can_be_used_by_all(user: str, folder: Path) -> None:
    with start(folder, "cc", user, "die") as child:
        assert said(child) == "held"
        assert child.wait() == -signal.SIGKILL
    (file,) = folder.glob("*cc.lock")
    assert file.stat().st_mode & 0o777 == 0o666, "whatever the umask of who came first"
    locks.hold_board("cc").release()


def test_a_port_has_one_lock_by_whatever_name(folder: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "ttyACM0", tmp_path / "usb-board-if00"
    real.touch()
    link.symlink_to(real)
    lock = locks.hold_port(str(link))
    for name in (str(real), str(link), os.path.relpath(real)):
        with pytest.raises(LinkError, match="is in use"):
            locks.hold_port(name)
    locks.hold_port(str(tmp_path / "ttyACM00")).release()
    locks.hold_port(str(tmp_path / "tty-ACM0")).release()
    lock.release()
    locks.hold_port(str(real)).release()


def test_names_that_read_alike_have_locks_of_their_own(folder: Path) -> None:
    held = [locks.hold_port(name) for name in ("/dev/a-b", "/dev/a_b", "/dev/a/b", "/dev/" + "x" * 200, "/dev/" + "y" + "x" * 200)]
    for lock in held:
        lock.release()


def test_a_folder_is_the_machines_not_a_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    for made, mode in ((private, 0o755), (shared, 0o1777)):
        made.mkdir()
        made.chmod(mode)
    monkeypatch.setattr(locks, "SHARED_FOLDERS", (tmp_path / "absent", private, shared))
    assert locks.lock_folder() == shared
    shared.chmod(0o777)  # anyone could take another's file away
    assert locks.lock_folder() not in (private, shared)


def test_a_lock_that_cannot_be_had_is_one_line(folder: Path) -> None:
    (folder / "edgechaos-board-dd.lock").mkdir()
    with pytest.raises(LinkError, match="cannot lock the board with UID dd"):
        locks.hold_board("dd")
