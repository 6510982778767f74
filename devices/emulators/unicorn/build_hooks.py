"""Builds hooks.c for this machine, once: the library is cached under the hash of its source and its compiler.

Without a compiler the hooks run in Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import tempfile
from pathlib import Path

from edgechaos.firmware_gen.toolchain import cache_folder
from edgechaos.firmware_gen.toolchains.zig import zig_cc, zig_version
from edgechaos.support.files import write_atomic

SOURCE = Path(__file__).parent / "hooks.c"
FLAGS = ("-shared", "-fPIC", "-O2", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fno-sanitize=all")


def hook_library() -> Path | None:
    """The compiled hooks. Raises BuildError where there is a compiler and it fails."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    identity = f"{zig_version()} {platform.system()} {platform.machine()} {FLAGS}".encode()
    name = hashlib.sha256(SOURCE.read_bytes() + identity).hexdigest()[:32]
    library = cache_folder("emulator") / f"hooks-{name}"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix="edgechaos-emulator-") as folder:
            zig_cc([*FLAGS, str(SOURCE), "-o", "hooks"], Path(folder))
            write_atomic(library, (Path(folder) / "hooks").read_bytes())
    return library
