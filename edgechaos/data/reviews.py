"""The reviews inside the archive of IMDB, read member by member; nothing is written to disk.

Enters: a tar, compressed by gzip or xz, that anyone may have made. Leaves: texts by part, class and number. What is read in all, and
each review, is bounded; members that are not `aclImdb/train|test/pos|neg/NUMBER_STARS.txt`, links among them, are passed over.
Source: the Large Movie Review Dataset (Maas et al. 2011), its README.
"""

from __future__ import annotations

import gzip
import lzma
import re
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

from edgechaos.data.places import DATA_FOLDER
from edgechaos.errors import DataError

MEMBER = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/([0-9]{1,9})_[0-9]{1,2}\.txt")
MAX_UNPACKED = 1 << 29
"""The published archive unpacks to about 0.4 GB, its unlabeled half included."""
MAX_REVIEW = 1 << 20

Reviews = dict[tuple[str, str], dict[int, str]]
"""(train or test, neg or pos) to number to text."""


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


def read_reviews(path: Path) -> Reviews:
    """The reviews of a .tar.gz or .tar.xz. Raises DataError where it is missing, corrupt, too large or has none of a kind."""
    found: Reviews = {(part, kind): {} for part in ("train", "test") for kind in ("neg", "pos")}
    try:
        with _decompressed(path) as stream, tarfile.open(fileobj=cast(Any, _Bounded(stream, path)), mode="r|") as archive:
            for member in archive:
                named = MEMBER.fullmatch(member.name)
                file = archive.extractfile(member) if named and member.isreg() else None
                if named and file is not None:
                    if member.size > MAX_REVIEW:
                        raise DataError(f"{path}, {member.name}: has {member.size:,} bytes, more than {MAX_REVIEW:,}; fetch it again")
                    found[named[1], named[2]][int(named[3])] = file.read().decode()
                # tarfile remembers every member for random access, which a stream has not.
                cast(Any, archive).members.clear()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError) as error:  # also not UTF-8
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check {DATA_FOLDER}") from error
    for (part, kind), reviews in found.items():
        if not reviews:
            raise DataError(f"{path}: has no review aclImdb/{part}/{kind}/NUMBER_STARS.txt; fetch it again")
    return found


def _decompressed(path: Path) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(path) if path.suffix == ".xz" else gzip.open(path))
