"""Files that are whole or absent: atomic writes, and one clear error for a full disk or a missing file.

Whatever a user names is opened here: a pipe or a device would block for ever or never end.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

from edgechaos.support.errors import EdgeChaosError


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, executable: bool = False) -> Path:
    """Write to a temporary file beside `path`, flush it to disk, then rename: a reader sees the old file or the new.

    executable: whoever may read the file may run it, from the moment it has its name.
    Raises EdgeChaosError where the folder cannot be made or written, or the disk is full; the old file stays.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_and_rename(temporary, target, data.encode() if isinstance(data, str) else data, executable)
    except OSError as error:
        raise EdgeChaosError(
            f"cannot write {target}: {error.strerror}; this file was not changed; free space or choose another place"
        ) from error
    return target


def _write_and_rename(temporary: Path, target: Path, data: bytes, executable: bool) -> None:
    try:
        with open(temporary, "xb") as out:
            out.write(data)
            out.flush()
            if executable:
                mode = os.fstat(out.fileno()).st_mode
                os.fchmod(out.fileno(), mode | (mode & 0o444) >> 2)
            os.fsync(out.fileno())
        os.replace(temporary, target)
    finally:
        # Also on Ctrl-C; after the rename there is nothing to remove.
        temporary.unlink(missing_ok=True)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A file open for reading. Raises OSError, whose `strerror` says what it is, for anything but a regular file."""
    # Without O_NONBLOCK opening a named pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}, not a file")
    return os.fdopen(descriptor, "rb")


_KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFSOCK: "socket"}


def read_file(path: str | os.PathLike[str], what: str, limit: int = 1 << 28) -> bytes:
    """The bytes of a file that a user named. Raises EdgeChaosError where it is missing, unreadable, no file or beyond `limit`."""
    source = Path(path)
    try:
        with open_regular(source) as file:
            # Read, not stat: a growing file says nothing true about its size.
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise EdgeChaosError(f"cannot read {what} {source}: {getattr(error, 'strerror', error)}; check the path") from error
    if len(data) > limit:
        raise EdgeChaosError(f"{what} {source} has more than {limit:,} bytes, which no real one has; check the path")
    return data


MAX_DIRECTORY = 1 << 24
"""Bytes of a zip's directory, some 100,000 entries; it is read into objects ten times as large before anything can be asked."""
_END, _END64, _END_BYTES, _COMMENT_BYTES = b"PK\5\6", b"PK\6\6", 22, 1 << 16


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """The archive in an open file. Raises BadZipFile for what is none, or one whose directory is larger than MAX_DIRECTORY."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    directory = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if directory == 0xFFFFFFFF:  # told in the record of a zip64 instead
        at = tail.rfind(_END64)
        directory = int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else 0
    if directory > MAX_DIRECTORY:
        raise zipfile.BadZipFile(f"its directory claims {directory:,} bytes, more than {MAX_DIRECTORY:,}")
    return zipfile.ZipFile(file)
