"""Lines of code outside of tests, before the packages were rebuilt and now; the proofs that it can be added to are listed apart."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

SUFFIXES = (".py", ".c", ".h", ".S")
BEFORE = 28_778
"""At commit a634029, counted the same way."""
PROOFS = {
    "node kind Add": ("edgechaos/graph/kinds/add.py", "export/onnx/kinds/add.py", "firmware_gen/compilers/c/kinds/add.py", "*/ec_add.[ch]"),
    "conformance suite for plug-ins": ("devices/conformance/*",),
    "cores M0 and M33": ("firmware_gen/cores/cortex_m0.py", "firmware_gen/cores/cortex_m33.py"),
    "faults of three more kinds": tuple(f"edgechaos/faults/kinds/{n}.py" for n in ("winner_dropped", "threshold_scale", "ram_bit_flip")),
}


def main() -> int:
    """Print the counts; 1 where there are more lines than before."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    paths = [name for name in listed if name.endswith(SUFFIXES) and not name.startswith("tests/")]
    count = {name: Path(name).read_bytes().count(b"\n") for name in paths if Path(name).is_file()}
    proofs = {what: [n for n in count if any(fnmatch(n, p) for p in patterns)] for what, patterns in PROOFS.items()}
    own = sum(count.values()) - sum(count[name] for names in proofs.values() for name in names)
    print(f"{own:7,}  lines of {', '.join(SUFFIXES)} outside of tests\n{BEFORE:7,}  before\n{own - BEFORE:+7,}")
    for what, names in proofs.items():
        print(f"{sum(count[n] for n in names):7,}  apart: {what} ({len(names)} files)")
    return int(own > BEFORE)


if __name__ == "__main__":
    sys.exit(main())
