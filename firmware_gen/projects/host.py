"""The same sources for the machine at hand: a shared library, and a server that speaks the protocol over a pipe or pty.

Each is built once and kept in the user's cache under the hash of everything that went into it: opening a model a second time takes
milliseconds.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.places import RUNTIME
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.project import Made, Project
from edgechaos.firmware_gen.toolchain import DEFAULT, cache_folder
from edgechaos.firmware_gen.toolchains.zig import zig_cc, zig_version
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ConfigError
from edgechaos.support.files import write_atomic


def build_host(graph: IntegerGraph, out_dir: str | Path | None = None, *, faults: bool = True, kernel: Choice = "auto") -> Path:
    """The shared library of a model (API: runtime/server/ec_host.h), -O3 for this CPU.

    Returns its path in the cache or, with out_dir, of a copy there. Raises UnsupportedError, BuildError, MissingExtra.
    """
    return _library(generate(graph, None, faults=faults, kernel=kernel), out_dir)


def build_host_server(graph: IntegerGraph, out_dir: str | Path | None = None, *, faults: bool = True) -> Path:
    """An executable that serves the protocol on stdin and stdout, or on the pty or serial device named as its argument.

    Returns its path; errors as for `build_host`.
    """
    return _server(generate(graph, None, faults=faults), out_dir)


def _library(firmware: Firmware, out_dir: str | Path | None) -> Path:
    return _deliver(_cached(firmware, "library", ("-shared",)), out_dir, f"lib{firmware.name}.so")


def _server(firmware: Firmware, out_dir: str | Path | None) -> Path:
    return _deliver(_cached(firmware, "server", ("server_main.c",)), out_dir, f"{firmware.name}-server")


def _deliver(built: Path, out_dir: str | Path | None, name: str) -> Path:
    if out_dir is None:
        return built
    return write_atomic(Path(out_dir) / name, built.read_bytes(), executable=True)


def _cached(firmware: Firmware, kind: str, arguments: tuple[str, ...]) -> Path:
    main = {name: (RUNTIME / "server" / name).read_bytes() for name in arguments if name.endswith(".c")}
    digest = hashlib.sha256("\n".join((firmware.firmware_hash, kind, zig_version(), _processor(), *arguments)).encode())
    for data in main.values():
        digest.update(data)
    target = cache_folder("host") / f"{kind}-{digest.hexdigest()[:32]}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="edgechaos-host-") as scratch:
        folder = Path(scratch)
        (folder / "src").mkdir()
        for path, data in {**firmware.files, **main}.items():
            (folder / path).write_bytes(data)
        zig_cc([*firmware.flags, "-iquote", "src", *firmware.sources, *arguments, "-o", "built"], folder)
        # Renamed into place: two processes that build at once both end with a whole file.
        write_atomic(target, (folder / "built").read_bytes(), executable=True)
    return target


@cache
def _processor() -> str:
    """What "this CPU" is: a cache may lie in a home folder that several machines share."""
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    return f"{platform.system()} {platform.machine()} {platform.processor()} {flags}"


def _made(build: Callable[[Firmware, Path], Path]) -> Callable[[Firmware, Path, str], Made]:
    def make(firmware: Firmware, folder: Path, compiler: str) -> Made:
        if compiler != DEFAULT:
            raise ConfigError(f"what runs on this host is built by {DEFAULT}, not by '{compiler}'; leave the compiler out", "compiler")
        built = build(firmware, folder)
        record = {"model_hash": firmware.model_hash, "firmware_hash": firmware.firmware_hash, "faults": firmware.faults}
        return Made(built, record | {"path": str(built)}, (f"{built}: firmware {firmware.firmware_hash[:12]} for this host",))

    return make


LIBRARY = Project("a shared library for this host", _made(_library), for_board=False)
SERVER = Project("a server on this host that speaks the wire protocol", _made(_server), for_board=False)
