"""A model's firmware without the HIL server: codes in over the serial port, class and logits out; for products, and to measure them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgechaos.firmware_gen.compilers.c.generate import Firmware
from edgechaos.firmware_gen.places import RUNTIME
from edgechaos.firmware_gen.project import Made, Project
from edgechaos.firmware_gen.projects.elf import make

SERVER = tuple(f"src/{path.name}" for path in (RUNTIME / "server").glob("*.c"))
"""Sources that nothing of inference needs."""


def without_server(firmware: Firmware) -> Firmware:
    """The same model and board with `runtime/startup/inference.c` as its main program."""
    main = (RUNTIME / "startup" / "inference.c").read_bytes()
    files = {path: data for path, data in firmware.files.items() if path not in SERVER}
    return replace(firmware, files={**files, "src/main.c": main})


def _make(firmware: Firmware, folder: Path, compiler: str) -> Made:
    return make(without_server(firmware), folder, compiler)


PROJECT = Project("inference alone, without the server", _make)
