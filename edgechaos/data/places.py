"""Where the files of a data set are: a folder that the user names, or the cache, filled by downloads with checksums."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgechaos.support.errors import DataError
from edgechaos.support.extras import need

DATA_FOLDER = "EDGECHAOS_DATA"
"""Environment variable: a folder that holds a folder per data set, such as `mnist/train-images-idx3-ubyte.gz` and its companions."""


def place_of(name: str, title: str, wanted: str, folder: str | os.PathLike[str] | None, files: Mapping[str, str] | None) -> Path:
    """The folder of data set `name`: `folder`, or $EDGECHAOS_DATA/name, or the cache after a download.

    wanted: the files that belong there, for the message. files: URL to "algorithm:checksum"; None where no download is allowed.
    Raises DataError where there is no such folder, or the download fails.
    """
    if folder is not None:
        return Path(folder)
    if os.environ.get(DATA_FOLDER):
        return Path(os.environ[DATA_FOLDER]) / name
    if files is None:
        raise DataError(f"{title} is not here: set {DATA_FOLDER} to a folder that holds {wanted}, or allow the download (--download)")
    return _download(name, files)


def _download(name: str, files: Mapping[str, str]) -> Path:
    import platformdirs

    pooch = need("pooch", "data")
    place = Path(platformdirs.user_cache_dir("edgechaos")) / name
    for url, checksum in files.items():
        try:
            pooch.retrieve(url, checksum, fname=url.rsplit("/", 1)[1], path=place)
        except (OSError, ValueError) as error:  # the network; a checksum that does not match
            raise DataError(f"cannot download {url}: {error}; put the files into a folder and set {DATA_FOLDER}") from error
    return place
