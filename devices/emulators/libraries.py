"""Builds what emulators call back for this machine, once: a library is cached under the hash of its source and its compiler."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import tempfile
from pathlib import Path

from edgechaos.firmware_gen.toolchain import cache_folder
from edgechaos.firmware_gen.toolchains.zig import zig_cc, zig_version
from edgechaos.support.files import write_atomic

HERE = Path(__file__).parent
FLAGS = (
    "-shared",
    "-fPIC",
    "-O2",
    "-std=c99",
    "-D_POSIX_C_SOURCE=200809L",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-fno-sanitize=all",
)


def hook_library() -> Path | None:
    """Unicorn's hooks; None without a compiler: then they run in Python. Raises BuildError where there is one and it fails."""
    return None if importlib.util.find_spec("ziglang") is None else _built(HERE / "unicorn" / "hooks.c")


def plugin_library() -> Path:
    """QEMU's plugin. Raises MissingExtra, BuildError."""
    return _built(HERE / "qemu" / "plugin.c")


def _built(source: Path) -> Path:
    identity = f"{zig_version()} {platform.system()} {platform.machine()} {FLAGS}".encode()
    library = cache_folder("emulator") / f"{source.stem}-{hashlib.sha256(source.read_bytes() + identity).hexdigest()[:32]}"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix="edgechaos-emulator-") as folder:
            zig_cc([*FLAGS, str(source), "-o", "built"], Path(folder))
            write_atomic(library, (Path(folder) / "built").read_bytes())
    return library
