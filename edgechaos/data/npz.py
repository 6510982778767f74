"""Arrays of an `.npz` that anyone may have made: what a header claims meets what the archive holds before anything is allocated.

Source: NEP 1, the .npy format, versions 1 and 2. Nothing is unpickled.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgechaos.data.dataset import MAX_BYTES
from edgechaos.support.errors import DataError
from edgechaos.support.files import open_regular, open_zip

MAX_ARRAYS = 100
ENCRYPTED = 1
"""The bit of a zip entry's flags."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive as np.savez or np.savez_compressed writes it, all together at most MAX_BYTES.

    Raises DataError where the file is missing, no such archive, corrupt, too large, or holds objects.
    """
    try:
        with open_regular(path) as file, open_zip(file) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_BYTES:
                raise DataError(f"{path}: unpacks to {unpacked:,} bytes, more than {MAX_BYTES:,}; split it")
            if len(entries) > MAX_ARRAYS:
                raise DataError(f"{path}: holds {len(entries):,} arrays, more than {MAX_ARRAYS}")
            found = {}
            for entry in entries:
                if entry.flag_bits & ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{entry.filename} is encrypted, or compressed in a way that is not read")
                with archive.open(entry) as member:
                    found[entry.filename.removesuffix(".npy")] = _array(member, entry.file_size)
            return found
    except OSError as error:
        raise DataError(f"cannot read data set {path}: {error.strerror or error}; check the path") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise DataError(f"{path}: not an .npz file, or corrupt ({error}); save with np.savez(path, items=..., labels=...)") from error


def _array(member: IO[bytes], size: int) -> NDArray[Any]:
    version = npy.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"an array of .npy version {version}")
    shape, fortran, dtype = _HEADERS[version](member)
    if dtype.hasobject or dtype.fields is not None:
        raise ValueError(f"an array of {dtype}, not of numbers")
    count = size - member.tell()
    if math.prod(shape) * dtype.itemsize != count:
        raise ValueError(f"an array of {dtype} {shape} in {count:,} bytes")
    data = member.read(count)
    if len(data) != count:
        raise EOFError(f"{len(data):,} of {count:,} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
