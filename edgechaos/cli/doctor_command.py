"""`edgechaos doctor`: what this installation can do, and the command that adds what it cannot."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from edgechaos.cli.common import json_option
from edgechaos.cli.show import checklist, mark, print_json, print_table

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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def examine() -> list[dict[str, Any]]:
    """One row per capability: name, good (bool), found, remedy (empty where good)."""
    rows: list[dict[str, Any]] = []
    python = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 10)
    rows.append({"name": "python", "good": good, "found": python, "remedy": "" if good else "install Python 3.10 or newer"})
    for extra, packages in EXTRAS.items():
        found = {p: _version(p) for p in packages}
        missing = [p for p, v in found.items() if v is None]
        text = ", ".join(f"{p} {v}" for p, v in found.items() if v) or "nothing"
        rows.append(
            {
                "name": f"extra '{extra}'",
                "good": not missing,
                "found": text,
                "remedy": f"pip install 'edgechaos[{extra}]'" if missing else "",
            }
        )
    from platformdirs import user_cache_path

    cache = user_cache_path("edgechaos")
    place = next(p for p in (cache, *cache.parents) if p.exists())
    writable = os.access(place, os.W_OK)
    rows.append(
        {
            "name": "cache",
            "good": writable,
            "found": str(cache),
            "remedy": "" if writable else f"make {place} writable, or set XDG_CACHE_HOME",
        }
    )
    data = os.environ.get("EDGECHAOS_DATA")
    exists = data is None or Path(data).is_dir()
    remedy = "" if exists else "point EDGECHAOS_DATA at a folder that exists"
    rows.append({"name": "EDGECHAOS_DATA", "good": exists, "found": data or "not set (optional)", "remedy": remedy})
    return rows


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Check this installation.

    \b
    Example: edgechaos doctor
    """
    rows = examine()
    if as_json:
        print_json(rows)
        return
    table = checklist("what", "found", "to get it")
    for row in rows:
        table.add_row(mark(row["good"]), row["name"], row["found"], row["remedy"])
    print_table(table)
