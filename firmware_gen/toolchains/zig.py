"""Calls the C compiler, zig's clang from a wheel or an installed GCC, as an argument list in a folder of its own.

A BuildError has the compiler's first lines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from edgechaos.support.errors import BuildError
from edgechaos.support.extras import need

ARM_GCC = "arm-none-eabi-gcc"
TIMEOUT_S = 300.0
FIRST_LINES = 12


def cache_folder(kind: str) -> Path:
    """A folder of the user's cache, made if absent."""
    folder = Path(platformdirs.user_cache_dir("edgechaos", appauthor=False)) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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


def arm_gcc(arguments: Sequence[str], folder: Path) -> None:
    """Run `arm-none-eabi-gcc` in `folder`. Raises BuildError where it is not there, fails or takes longer than 5 minutes."""
    if shutil.which(ARM_GCC) is None:
        raise BuildError(f"{ARM_GCC} is not on the PATH; on Debian: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")
    compile_in((ARM_GCC,), arguments, folder, {**os.environ, "SOURCE_DATE_EPOCH": "0"})


def compile_in(compiler: Sequence[str], arguments: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run any compiler in `folder`; errors as for `zig_cc`."""
    command = [*compiler, *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler took longer than {TIMEOUT_S:.0f} s in {folder}; try again on an idle machine") from error
    except OSError as error:
        raise BuildError(f"cannot run {compiler[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[:FIRST_LINES]
        raise BuildError(f"the compiler refused the sources in {folder}:", *lines)
