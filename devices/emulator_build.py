"""Builds emulator_hooks.c for this machine, once: the library is cached under the hash of its source and its compiler.

Enters: nothing. Leaves: the library's path, or None where there is no compiler: then the hooks run in Python.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

from edgechaos.errors import BuildError
from edgechaos.files import write_atomic

SOURCE = Path(__file__).parent / "emulator_hooks.c"
FLAGS = ("-shared", "-fPIC", "-O2", "-std=c99", "-fno-sanitize=all")


def hook_library() -> Path | None:
    """The compiled hooks. Raises BuildError where there is a compiler and it fails."""
    try:
        compiler = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        return None
    identity = f"{compiler} {platform.machine()} {sys.platform} {FLAGS}".encode()
    name = hashlib.sha256(SOURCE.read_bytes() + identity).hexdigest()[:16]
    cache = Path(platformdirs.user_cache_dir("edgechaos"))
    library = cache / "emulator" / f"hooks-{name}.so"
    return library if library.exists() else write_atomic(library, _compile(cache))


def _compile(cache: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgechaos-") as folder:
        output = Path(folder) / "hooks.so"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(SOURCE), "-o", str(output)]
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"), "ZIG_LOCAL_CACHE_DIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        if done.returncode != 0:
            first = "; ".join(done.stderr.strip().splitlines()[:3])
            raise BuildError(f"the emulator's hooks do not compile: {first}; run `edgechaos doctor`")
        return output.read_bytes()
