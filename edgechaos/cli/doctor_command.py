"""`edgechaos doctor`: what this installation can do, and the command that adds what it cannot."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.show import checklist, mark, print_json, print_table
from edgechaos.support.registry import Registry

EXTRAS = {
    "data": ("scikit-learn", "mlxtend", "pooch", "pillow"),
    "train": ("torch", "brevitas"),
    "onnx": ("onnx", "onnxruntime"),
    "tvm": ("apache-tvm", "apache-tvm-ffi"),
    "firmware": ("ziglang", "pyelftools"),
    "emulate": ("unicorn", "capstone"),
    "report": ("matplotlib",),
    "dask": ("distributed",),
    "joulescope": ("pyjoulescope_driver",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. remedy: what to do about it; empty where it is good."""

    name: str
    good: bool
    found: str
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]
CHECKS: Registry[Check] = Registry(
    "check",
    lambda found: found if callable(found) else None,
    table={name: f"{__name__}:{name}" for name in ("python", "extras", "compilers", "emulators", "cache", "data")},
    group="edgechaos.checks",
)
"""What is looked at, in this order; an installed package adds its own."""


def _finding(name: str, good: bool, found: str, remedy: str) -> Finding:
    return Finding(name, good, found, "" if good else remedy)


def python() -> Iterator[Finding]:
    """Its version."""
    yield _finding("python", sys.version_info >= (3, 10), ".".join(map(str, sys.version_info[:3])), "install Python 3.10 or newer")


def extras() -> Iterator[Finding]:
    """The packages of every extra."""
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        text = ", ".join(f"{p} {v}" for p, v in found.items() if v) or "nothing"
        yield _finding(f"extra '{extra}'", all(found.values()), text, f"pip install 'edgechaos[{extra}]'")


def compilers() -> Iterator[Finding]:
    """Those that build firmware."""
    from edgechaos.firmware_gen.toolchain import TOOLCHAINS

    for name in TOOLCHAINS:
        toolchain = TOOLCHAINS.load(name)
        found = toolchain.found()
        yield _finding(f"compiler '{name}'", bool(found), f"{toolchain.title} {found}" if found else "nothing", toolchain.remedy)


def emulators() -> Iterator[Finding]:
    """The programs that emulate boards; Unicorn is a package."""
    from edgechaos.devices.emulators.qemu.machine import REMEDIES

    for program, command in REMEDIES.items():
        found = shutil.which(program) or ""
        yield _finding(f"emulator '{program}'", bool(found), found or "nothing", command)


def cache() -> Iterator[Finding]:
    """Whether its folder can be written."""
    from platformdirs import user_cache_path

    folder = user_cache_path("edgechaos")
    place = next(p for p in (folder, *folder.parents) if p.exists())
    yield _finding("cache", os.access(place, os.W_OK), str(folder), f"make {place} writable, or set XDG_CACHE_HOME")


def data() -> Iterator[Finding]:
    """Whether the folder of the user's data sets exists."""
    folder = os.environ.get("EDGECHAOS_DATA")
    exists = folder is None or Path(folder).is_dir()
    yield _finding("EDGECHAOS_DATA", exists, folder or "not set (optional)", "point EDGECHAOS_DATA at a folder that exists")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def examine() -> list[Finding]:
    """All checks, plug-ins' among them."""
    return [finding for name in CHECKS for finding in CHECKS.load(name)()]


@click.command("doctor")
@option.json
def command(as_json: bool) -> None:
    """Check this installation.

    \b
    Example: edgechaos doctor
    """
    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    table = checklist("what", "found", "to get it")
    for finding in findings:
        table.add_row(mark(finding.good), finding.name, finding.found, finding.remedy)
    print_table(table)
