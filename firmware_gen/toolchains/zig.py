"""zig's clang, from a wheel: the same compiler on every machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edgechaos.firmware_gen.toolchain import Toolchain, cache_folder, compile_in
from edgechaos.support.errors import MissingExtra
from edgechaos.support.extras import need


def zig_version() -> str:
    """The version of the compiler. Raises MissingExtra where it is not installed."""
    need("ziglang", "firmware")
    from importlib.metadata import version

    return version("ziglang")


def zig_cc(arguments: Sequence[str], folder: Path) -> None:
    """Run `zig cc` in `folder`. Raises MissingExtra, or BuildError where it fails or takes longer than 5 minutes."""
    need("ziglang", "firmware")
    # Both caches: the local one would otherwise appear in whatever folder the build runs in.
    cache = str(cache_folder("zig"))
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache, "SOURCE_DATE_EPOCH": "0"}
    compile_in((sys.executable, "-m", "ziglang", "cc"), arguments, folder, environment)


def _found() -> str:
    try:
        return zig_version()
    except MissingExtra:
        return ""


TOOLCHAIN = Toolchain("zig's clang", zig_cc, lambda firmware: firmware.flags, _found, "pip install 'edgechaos[firmware]'")
