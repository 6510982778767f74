"""Files that are whole or absent: atomic writes, and one clear error for a full disk or a missing file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from edgechaos.errors import EdgeChaosError


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
        raise EdgeChaosError(f"cannot write {target}: {error.strerror}; nothing was changed; free space or choose another place") from error
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


def read_file(path: str | os.PathLike[str], what: str, limit: int = 1 << 28) -> bytes:
    """The bytes of a file that a user named. Raises EdgeChaosError where it is missing, unreadable or beyond `limit`."""
    source = Path(path)
    try:
        with open(source, "rb") as file:
            # Read, not stat: a device or a growing file says nothing true about its size.
            data = file.read(limit + 1)
    except OSError as error:
        raise EdgeChaosError(f"cannot read {what} {source}: {error.strerror}; check the path") from error
    if len(data) > limit:
        raise EdgeChaosError(f"{what} {source} has more than {limit:,} bytes, which no real one has; check the path")
    return data
