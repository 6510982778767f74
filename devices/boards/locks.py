"""Locks that hold on the whole machine: a board is driven by one process, whichever user runs it and whatever names it goes by.

The system releases a lock when its process ends, however it ends; the empty file that stays behind locks nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

import filelock

from edgechaos.support.errors import LinkError

SHARED_FOLDERS: tuple[Path, ...] = (Path("/run/lock"), Path("/tmp"))


def lock_folder() -> Path:
    """The first folder into which every user may write: the same for all of them, so neither a HOME's nor $TMPDIR.

    Where there is none, as on Windows, the user's temporary folder: then one user's processes exclude each other.
    """
    return next((f for f in SHARED_FOLDERS if _every_user_writes(f)), Path(tempfile.gettempdir()))


def _every_user_writes(folder: Path) -> bool:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and mode & 0o1777 == 0o1777


def hold_board(uid: str) -> filelock.BaseFileLock:
    """The lock of the board with that UID, held until its `release`. Raises LinkError where it is held already."""
    return _hold(f"board-{uid}", f"the board with UID {uid}")


def hold_port(port: str) -> filelock.BaseFileLock:
    """The same of a port, by whichever of its names: /dev/serial/by-id/... and /dev/ttyACM0 lead to one place."""
    real = os.path.realpath(port) if "\0" not in port else port
    readable = re.sub(r"[^A-Za-z0-9]+", "-", real).strip("-")[-60:]
    return _hold(f"port-{readable}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:8]}", f"port {port}")


def _hold(name: str, what: str) -> filelock.BaseFileLock:
    path = lock_folder() / f"edgechaos-{name}.lock"
    # Every user must be able to open it. Not bound to a thread: who closes a device need not be who opened it.
    lock = filelock.FileLock(path, timeout=0, mode=0o666, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise LinkError(f"{what} is in use, by another process or under another name; wait for it or stop it") from error
    except OSError as error:
        raise LinkError(f"cannot lock {what}: {path}: {error.strerror}; remove that file, it locks nothing while nobody runs") from error
    return lock
