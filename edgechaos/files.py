"""Files that are whole or absent: atomic writes, and one clear error for a full disk or a missing file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgechaos.errors import EdgeChaosError


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write to a temporary file beside `path`, flush it to disk, then rename: a reader sees the old file or the new.

    Raises EdgeChaosError where the folder cannot be made or written, or the disk is full; the old file stays.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as out:
            out.write(data.encode() if isinstance(data, str) else data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise EdgeChaosError(f"cannot write {target}: {error.strerror}; nothing was changed; free space or choose another place") from error
    return target


def read_file(path: str | os.PathLike[str], what: str, limit: int = 1 << 28) -> bytes:
    """The bytes of a file that a user named. Raises EdgeChaosError where it is missing, unreadable or beyond `limit`."""
    source = Path(path)
    try:
        size = source.stat().st_size
        if size > limit:
            raise EdgeChaosError(f"{what} {source} has {size:,} bytes, more than the {limit:,} that any real one has; check the path")
        return source.read_bytes()
    except OSError as error:
        raise EdgeChaosError(f"cannot read {what} {source}: {error.strerror}; check the path") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
