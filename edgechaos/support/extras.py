"""Optional packages: imported where they are used, with the command that installs them where they are absent."""

from __future__ import annotations

import importlib
from typing import Any

from edgechaos.support.errors import MissingExtra


def need(package: str, extra: str) -> Any:
    """The imported module `package`. Raises MissingExtra, which names `pip install 'edgechaos[extra]'`."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is not None and package.split(".")[0] != error.name.split(".")[0]:
            raise  # installed, but something of its own is missing: that is another fault
        raise MissingExtra(package.split(".")[0], extra) from error
