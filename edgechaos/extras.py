"""Optional packages, imported when they are needed: one place that says which command installs a missing one."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from edgechaos.errors import MissingExtra


def need(package: str, extra: str) -> Any:
    """The imported module `package`, which `pip install edgechaos[extra]` brings.

    Raises MissingExtra where it is not installed. A package that is there but broken raises its own ImportError.
    """
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        raise MissingExtra(package.partition(".")[0], extra)
    return importlib.import_module(package)
