"""Members of a compressed tar that anyone may have made, one after another; nothing is written to disk.

What is unpacked in all, and each member, is bounded; other names, links and devices are passed over.
"""

from __future__ import annotations

import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from edgechaos.data.places import DATA_FOLDER
from edgechaos.support.errors import DataError
from edgechaos.support.files import open_regular

MAX_UNPACKED = 1 << 29
"""The largest of the published archives, IMDB's, unpacks to about 0.4 GB."""


class _Bounded:
    """A stream that ends with an error after MAX_UNPACKED bytes: tarfile takes long headers into memory as large as they claim."""

    def __init__(self, stream: IO[bytes], where: Path) -> None:
        self.stream, self.where, self.left = stream, where, MAX_UNPACKED

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.where}: unpacks to more than {MAX_UNPACKED:,} bytes, which no real one does; fetch it again")
        return data


def members(path: Path, name: re.Pattern[str], largest: int) -> Iterator[tuple[re.Match[str], bytes]]:
    """The match of `name` and the contents of each regular file that it matches whole, in the order of the archive.

    Raises DataError where the archive is missing or corrupt, or more is in it than MAX_UNPACKED, or in a file than `largest` bytes.
    """
    try:
        with (
            open_regular(path) as packed,
            _decompressed(path, packed) as stream,
            tarfile.open(fileobj=cast(Any, _Bounded(stream, path)), mode="r|") as archive,
        ):
            for member in archive:
                named = name.fullmatch(member.name)
                file = archive.extractfile(member) if named and member.isreg() else None
                if named and file is not None:
                    if member.size > largest:
                        raise DataError(f"{path}, {member.name}: has {member.size:,} bytes, more than {largest:,}; fetch it again")
                    yield named, file.read()
                # tarfile remembers every member for random access, which a stream has not.
                cast(Any, archive).members.clear()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check {DATA_FOLDER}") from error


def _decompressed(path: Path, file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(file) if path.suffix == ".xz" else gzip.open(file))
