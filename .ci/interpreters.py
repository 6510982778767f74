"""Installs a wheel without torch on every Python that executes here and runs a committed artifact with it.

`interpreters.py WHEEL`. Looked for are python3.X on the PATH and pyenv's versions; one that is absent is said and is no
error. For each: the core in a fresh environment, its command line, the artifact on the `fake` device; then the
`firmware` extra and the `host` device; then every other extra without torch is resolved under constraints.txt.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CHECK = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def supported() -> list[str]:
    """The versions that pyproject.toml declares, such as ["3.10", "3.11"]."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())


def find(version: str) -> Path | None:
    """An interpreter of this version that executes and can make environments; pyenv's shims may exist and fail."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")), reverse=True)]
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-c", CHECK], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return Path(candidate)
    return None


def without_torch() -> list[str]:
    """Every requirement of every extra, but those that are or need torch, and those that name other extras."""
    text = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return sorted({name for name in re.findall(r'^ *"([^"]+)",', text, re.M) if not re.match(r"(torch|brevitas|edgechaos)\b", name)})


def check(python: Path, wheel: Path, folder: Path) -> None:
    """All of it for one interpreter; raises CalledProcessError, with what it printed, where a step fails."""

    def run(*command: str, show: bool = False) -> None:
        done = subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if show:
            print(done.stdout, end="", flush=True)

    run(str(python), "-m", "venv", "venv")
    inside = str(folder / "venv" / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    pip = (inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", constraints)
    smoke = (inside, str(HERE / "smoke.py"), str(ROOT / "benchmarks" / "pixels.ecm"))
    edgechaos = str(folder / "venv" / "bin" / "edgechaos")
    run(*pip, str(wheel))
    run(edgechaos, "campaign", "--help")
    run(edgechaos, "doctor")
    run(*smoke, "fake", show=True)
    run(*pip, f"{wheel}[firmware]")
    run(*smoke, "host", show=True)
    run(*pip, "--dry-run", str(wheel), *without_torch())


def main(wheel: str) -> int:
    """0 where every interpreter that is here passes; at least one must be."""
    found = {version: find(version) for version in supported()}
    for version, python in found.items():
        print(f"Python {version}: {python or 'not on this machine'}", flush=True)
    for version, python in found.items():
        if python is None:
            continue
        print(f"== Python {version}: the wheel without torch", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"edgechaos-python{version}-") as folder:
            try:
                check(python, Path(wheel).resolve(), Path(folder))
            except subprocess.CalledProcessError as error:
                print(f"{error.stdout}Python {version} failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
                return 1
    return 0 if any(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
