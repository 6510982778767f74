"""Optional packages: imported where they are used, with the command that installs them where they are absent."""

from __future__ import annotations

import importlib.util
from typing import Any

from edgechaos.support.errors import MissingExtra
from edgechaos.support.registry import load

Needs = tuple[tuple[str, str], ...]
"""(package as it is imported, the extra that brings it) of each."""


def need(package: str, extra: str) -> Any:
    """The imported module `package`. Raises MissingExtra, which names `pip install 'edgechaos[extra]'`."""
    try:
        return load(package)
    except ModuleNotFoundError as error:
        if error.name is not None and package.split(".")[0] != error.name.split(".")[0]:
            raise  # installed, but something of its own is missing: that is another fault
        raise MissingExtra(package.split(".")[0], extra) from error


def check_installed(needs: Needs) -> None:
    """Raises MissingExtra for the first package that is not installed; imports nothing."""
    for package, extra in needs:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra)


def remedy(needs: Needs) -> str:
    """The command that installs what is not installed; empty where all is."""
    missing = sorted({extra for package, extra in needs if importlib.util.find_spec(package) is None})
    return f"pip install 'edgechaos[{','.join(missing)}]'" if missing else ""
