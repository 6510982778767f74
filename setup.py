"""Stops an install that would silently ship no subpackages: the packages at the root are symlinks inside edgechaos/."""

from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
broken = [p for p in ("export", "firmware_gen", "hil", "devices") if not (here / "edgechaos" / p).is_dir()]
if broken:
    raise SystemExit(
        f"edgechaos/{broken[0]} is not a folder: this checkout has no symbolic links. "
        "Run `git config core.symlinks true && git checkout -- edgechaos` (on Windows first enable Developer Mode), then install again."
    )
setup()
