"""Data sets by name, or from a user's path: the one entry to all loaders.

Each loader's module tells its files, bounds and source; docs/data.md lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from edgechaos.data import arrays, pictures, texts
from edgechaos.data.dataset import Dataset
from edgechaos.data.idx import IDX_SETS, idx_set
from edgechaos.support.errors import ConfigError
from edgechaos.support.suggest import suggestion

Folder = str | os.PathLike[str] | None

SHIPPED: Mapping[str, Callable[[], Dataset]] = MappingProxyType({"digits8x8": arrays.digits8x8, "mnist5k": arrays.mnist5k})
FILED: Mapping[str, Callable[[Folder, bool], Dataset]] = MappingProxyType(
    {"cifar10": pictures.cifar10, "ag_news": texts.ag_news, "imdb": texts.imdb}
)
NAMES = (*SHIPPED, *IDX_SETS, *FILED)


def load(name: str, *, folder: Folder = None, download: bool = False) -> Dataset:
    """A data set by name, or from the path of an `.npz`, a `.csv` of texts, or a folder of images with a sub-folder per class.

    folder: where a set that is not shipped looks for its files, by default $EDGECHAOS_DATA/NAME. download: fetch the files into the
    user's cache where that folder is not given. Raises ConfigError for a name that there is not, DataError and MissingExtra, each naming
    the remedy.
    """
    if name in SHIPPED:
        return SHIPPED[name]()
    if name in IDX_SETS:
        return idx_set(IDX_SETS[name], folder, download)
    if name in FILED:
        return FILED[name](folder, download)
    if name.endswith(".npz"):
        return arrays.from_npz(name)
    if name.endswith(".csv"):
        return texts.from_csv(Path(name))
    if Path(name).is_dir():
        return pictures.from_folder(name)
    raise ConfigError(
        f"no data set is called {name!r}{suggestion(name, NAMES)}; "
        f"there are {', '.join(NAMES)}, or give the path of an .npz, a .csv or a folder of images",
        "data",
    )
