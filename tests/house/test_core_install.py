"""The core install, on a lab host: boards and fakes run models over files of data without any extra."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgechaos.data.idx import MNIST_FILES
from edgechaos.graph import artifact
from edgechaos.support.settings import read_toml
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow

EXTRAS = (
    *("torch", "brevitas", "sklearn", "mlxtend", "pooch", "PIL", "pandas", "onnx", "onnxruntime", "tvm", "ziglang", "elftools"),
    *("unicorn", "capstone", "matplotlib", "distributed", "dask", "pyjoulescope_driver"),
)
"""What the extras bring: as good as not installed in the process that runs."""
BARE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from edgechaos.cli import main
main(sys.argv[1:])
"""


def bare(place: Path, *arguments: object, code: int = 0) -> str:
    environment = {**os.environ, "EDGECHAOS_DATA": str(place), "XDG_DATA_HOME": str(place / "home")}
    done = subprocess.run([sys.executable, "-c", BARE, *map(str, arguments)], capture_output=True, text=True, cwd=place, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes())


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with data sets of every kind of file, and models that take them."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", items=rng.integers(0, 256, (20, 12), np.uint8), labels=np.arange(20) % 4)
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"some word{i},{'ab'[i % 2]}\n" for i in range(20)))
    (tmp_path / "mnist").mkdir()
    for name in MNIST_FILES:
        array = rng.integers(0, 256, (20, 3, 4), np.uint8) if "images" in name else np.arange(20, dtype=np.uint8) % 10
        (tmp_path / "mnist" / name).write_bytes(idx(array))
    artifact.save(chaos_graph(), tmp_path / "codes.ecm")
    artifact.save(mixed_graph(family="text"), tmp_path / "texts.ecm")
    return tmp_path


@pytest.mark.parametrize(("model", "data"), [("codes", "mine.npz"), ("codes", "mnist"), ("texts", "mine.csv")])
def test_a_model_runs_over_files_without_any_extra(model: str, data: str, lab: Path) -> None:
    assert "accuracy" in bare(lab, "run", f"{model}.ecm", "--device", "fake", "--data", data)


def test_a_campaign_runs_without_any_extra(lab: Path) -> None:
    lines = ('name = "t"', 'devices = ["fake"]', "masks = 30", "[images]", "count = 4", "[[sweep]]", 'fault = "dead"', "rates = [0.5]")
    (lab / "c.toml").write_text("\n".join(lines))
    bare(lab, "campaign", "c.toml", "--artifact", "codes.ecm", "--data", "mine.npz", "-o", "out", "--workers", 1)
    assert (lab / "out" / "results.json").is_file()


@pytest.mark.parametrize("data", ["mnist5k", "digits8x8"])
def test_what_needs_the_extra_data_says_so(data: str, lab: Path) -> None:
    assert "pip install 'edgechaos[data]'" in bare(lab, "run", "codes.ecm", "--device", "fake", "--data", data, code=1)


def test_the_extra_data_brings_no_torch() -> None:
    extras = read_toml(ROOT / "pyproject.toml", "project")["project"]["optional-dependencies"]
    assert not [line for line in extras["data"] if line.startswith(("torch", "brevitas", "edgechaos"))]
    assert "edgechaos[data]" in extras["train"]
