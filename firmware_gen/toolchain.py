"""A C compiler: how it is called, which flags it takes for a firmware, and how to get it; a file of `toolchains/`, or a plug-in's, each.

It runs as an argument list in a folder of its own; a BuildError has the first lines that it said.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from edgechaos.firmware_gen.compilers.c.generate import Firmware
from edgechaos.support.errors import BuildError
from edgechaos.support.registry import Registry, one_of

TIMEOUT_S = 300.0
FIRST_LINES = 12


@dataclass(frozen=True, slots=True)
class Toolchain:
    """title: in text. run: compiles and links, (arguments, folder); raises MissingExtra, or BuildError with the compiler's words.
    flags: its arguments for a firmware besides the sources. found: its version or place; "" where it is not installed. remedy: the
    command that installs it."""

    title: str
    run: Callable[[Sequence[str], Path], None]
    flags: Callable[[Firmware], tuple[str, ...]]
    found: Callable[[], str]
    remedy: str


DEFAULT = "zig"
"""The one whose firmware is the same bytes on every machine."""
TOOLCHAINS = Registry(
    "compiler", one_of(Toolchain), folder="edgechaos.firmware_gen.toolchains", attribute="TOOLCHAIN", group="edgechaos.toolchains"
)


def cache_folder(kind: str) -> Path:
    """A folder of the user's cache, made if absent."""
    folder = Path(platformdirs.user_cache_dir("edgechaos", appauthor=False)) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compile_in(compiler: Sequence[str], arguments: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run any compiler in `folder`. Raises BuildError where it is not there, fails or takes longer than 5 minutes."""
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
