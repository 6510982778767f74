"""Where the files of the runtime, the boards and the templates stand."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
RUNTIME = _HERE / "runtime"
PORT_FOLDER = RUNTIME / "ports"
KERNELS = RUNTIME / "kernels"
BOARD_FOLDER = _HERE / "boards"
TEMPLATES = _HERE / "templates"
