"""Whatever a command reads may be hostile or absurd: one line, within bounded time and memory.

Each file meets the command line in a process of its own, whose CPU time and memory have a limit beyond what the imports took: what
does not finish is killed or fails, however busy the machine is.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.support.errors import ArtifactError
from tests.helpers.graphs import chaos_graph

CPU_S = 15
MEMORY = 1 << 30
"""Bytes of address space beyond what the imports took."""
LIMITED = f"""
import importlib, resource, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
from edgechaos.cli import main
from edgechaos.support.errors import EdgeChaosError
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
resource.setrlimit(resource.RLIMIT_AS, (size + {MEMORY},) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + {CPU_S},) * 2)
if sys.argv[2].startswith("edgechaos."):  # a reader by itself: module, function, path
    try:
        getattr(sys.modules[sys.argv[2]], sys.argv[3])(sys.argv[4])
    except EdgeChaosError as error:
        sys.exit(f"error: {{error}}")
main(sys.argv[2:])
"""
Made = Callable[[Path], object]
"""Makes the file of a path."""


def refused(*arguments: object, cwd: Path, imports: str = "edgechaos.reference", **environment: str) -> str:
    """The one line on stderr with which the command exits 1, or 2 for a file that people write."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, imports, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XDG_DATA_HOME": str(cwd / "home"), **environment},
    )
    assert done.returncode in (1, 2), f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}"
    assert done.stderr.startswith("error: "), done.stderr[:500]
    assert re.fullmatch(r".+\n(see edgechaos \w+ --help\n)?", done.stderr), done.stderr[:500]
    assert "\x1b" not in done.stderr
    return done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model."""
    artifact.save(chaos_graph(), tmp_path / "model.ecm")
    return tmp_path


def text(content: str | bytes) -> Made:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


TOML = {
    "one key of 20,000 parts": (".".join("a" * 20_000) + " = 1", "more than 100 dots"),
    "one table of 100,000 parts": ("[" + ".".join("a" * 100_000) + "]", "more than 100 dots"),
    "quoted parts": (".".join(['"a"'] * 50_000) + " = 1", "more than 100 dots"),
    "100,000 brackets": ("x = " + "[" * 100_000, "nested too deeply"),
    "50,000 inline tables": ("x = " + "{a=" * 50_000, "nested too deeply"),
    "200 brackets, closed": ("x = " + "[" * 200 + "]" * 200, "nested too deeply"),
    "an integer of 200,000 digits": ("x = " + "1" * 200_000, "not valid TOML"),
    "an integer beyond any float": ('[[sweep]]\nkind = "dead"\nrates = [1' + "0" * 400 + "]", "no float holds"),
    "a megabyte": ("#" * (1 << 20), "more than 262,144 bytes"),
    "60,000 unknown keys": ("".join(f"k{i} = 1\n" for i in range(20_000)), "unknown key"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOML)
def test_campaign_files(name: str, place: Path) -> None:
    content, message = TOML[name]
    (place / "c.toml").write_text(content)
    assert message in refused("campaign", "c.toml", cwd=place)


@pytest.mark.parametrize("name", ["one key of 20,000 parts", "100,000 brackets"])
def test_board_files(name: str, place: Path) -> None:
    content, message = TOML[name]
    (place / "b.toml").write_text(content)
    assert message in refused("build", "model.ecm", "--board", "b.toml", "-o", "out", cwd=place)


def test_a_byte_order_mark_is_no_error(place: Path) -> None:
    (place / "c.toml").write_bytes(b"\xef\xbb\xbfx = 1")
    assert "unknown key 'x'" in refused("campaign", "c.toml", cwd=place)
    (place / "t.csv").write_bytes(b"\xef\xbb\xbftext,label\n" + b"a b,x\nb c,y\n" * 5)
    assert "takes" in refused(
        "run", "model.ecm", "--data", "t.csv", "--device", "fake", cwd=place
    )  # it was read: texts for a model of codes


READERS: dict[str, tuple[tuple[str, ...], str]] = {
    "inspect": (("inspect", "FILE"), "x.ecm"),
    "campaign": (("campaign", "FILE"), "x.toml"),
    "build": (("build", "model.ecm", "--board", "FILE", "-o", "out"), "x.toml"),
    "report": (("report", "FILE", "-o", "r.html"), "x.json"),
    "npz": (("run", "model.ecm", "--device", "fake", "--data", "FILE"), "x.npz"),
    "csv": (("run", "model.ecm", "--device", "fake", "--data", "FILE"), "x.csv"),
    "idx": (("run", "model.ecm", "--device", "fake", "--data", "mnist"), "mnist/train-images-idx3-ubyte.gz"),
    "cifar10": (("run", "model.ecm", "--device", "fake", "--data", "cifar10"), "cifar10/cifar-10-binary.tar.gz"),
    "import": (("import", "FILE", "--data", "x.npz"), "x.pt"),
    "quantize": (("quantize", "FILE"), "x.safetensors"),
}
TORCH = ("import", "quantize")


def read(reader: str, place: Path, made: Made) -> str:
    arguments, name = READERS[reader]
    (place / name).parent.mkdir(exist_ok=True)
    made(place / name)
    if reader == "import":
        np.savez(place / "x.npz", items=np.zeros((10, 4), np.uint8), labels=np.arange(10) % 2)
    given = [name if a == "FILE" else a for a in arguments]
    imports = "edgechaos.quantize.pipeline,edgechaos.models.importers" if reader in TORCH else "edgechaos.reference"
    return refused(*given, cwd=place, imports=imports, EDGECHAOS_DATA=str(place))


@pytest.mark.slow
@pytest.mark.parametrize("reader", sorted(set(READERS) - {"cifar10"}))
def test_a_pipe_is_refused_and_never_waited_for(reader: str, place: Path) -> None:
    assert "it is a pipe, not a file" in read(reader, place, os.mkfifo)


@pytest.mark.parametrize("reader", ["npz", "csv", "campaign"])
def test_a_device_is_refused(reader: str, place: Path) -> None:
    assert "it is a device, not a file" in read(reader, place, lambda path: path.symlink_to("/dev/zero"))


@pytest.mark.parametrize("reader", ["npz", "csv", "idx"])
def test_a_folder_in_place_of_a_file_is_refused(reader: str, place: Path) -> None:
    assert "it is a folder, not a file" in read(reader, place, Path.mkdir)


def pt(pickled: bytes) -> Made:
    def made(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("p/data.pkl", pickled)
            archive.writestr("p/version", b"3\n")

    return made


LAUGHS = b"\x80\x02}q\x00K\x01\x85q\x01" + b"".join(b"h%ch%c\x86q%c" % (k, k, k + 1) for k in range(1, 60)) + b"h\x00h\x3cK\x01s."
"""A key of the state_dict that is a tuple of two tuples of two tuples ...: its hash takes 2^60 steps."""
PT: dict[str, tuple[Made, str]] = {
    "20 MB of marks, no zip": (text(b"\x80\x02" + b"(" * 20_000_000), "no zip archive"),
    "20 MB of marks in a zip": (pt(b"\x80\x02" + b"(" * 20_000_000), "its pickle has 20,000,002 bytes"),
    "a bytearray of 100 GB": (pt(b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xe8\x76\x48\x17\x85R."), "it holds __builtin__.bytearray"),
    "a tuple that hashes for ever": (pt(LAUGHS), "one tuple twice"),
    "foreign opcodes": (pt(b"\x80\x02]" + b"]a" * 1000 + b"."), "which no state_dict needs"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PT)
def test_published_checkpoints(name: str, place: Path) -> None:
    made, message = PT[name]
    assert message in read("import", place, made)


def zip_of_a_million_entries(path: Path) -> None:
    """An archive whose directory alone would become gigabytes of objects."""
    entry = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    path.write_bytes((b"PK\3\4" if path.suffix == ".pt" else b"") + directory + end)


@pytest.mark.slow
def test_zips_with_endless_directories(place: Path) -> None:
    assert "corrupt" in read("npz", place, zip_of_a_million_entries)
    zip_of_a_million_entries(place / "x.pt")
    reader = "edgechaos.models.state_dict"
    assert "corrupt" in refused(reader, "read_state_dict", "x.pt", cwd=place, imports=reader)


def npz(shape: str, size: int, dtype: str = "|u1") -> Made:
    """An archive whose `items` claims a shape, and which unpacks to `size` zeros."""

    def made(path: Path) -> None:
        header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("items.npy", "w", force_zip64=True) as member:
            member.write(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + header.encode())
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))

    return made


NPZ: dict[str, tuple[Made, str]] = {
    "a claim of 10^15 bytes": (npz("(1000000, 1000000000)", 1 << 20), "an array of uint8 (1000000, 1000000000) in 1,048,576 bytes"),
    "2 GB of zeros in 2 MB": (npz("(2147483648,)", 2 << 30), "unpacks to 2,147,483,"),
    "objects": (npz("(1,)", 1 << 20, "|O"), "not of numbers"),
    "a header that is no header": (text(b"PK\5\6" + bytes(18)), "has no array"),
    "noise": (text(os.urandom(1000)), "not an .npz file"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NPZ)
def test_npz(name: str, place: Path) -> None:
    made, message = NPZ[name]
    assert message in read("npz", place, made)


def rows(lines: list[str]) -> Made:
    return text("text,label\n" + "\n".join(lines))


CSV: dict[str, tuple[Made, str]] = {
    "200,000 classes": (
        rows([f"a b,c{i}" for i in range(200_000)]),
        "has 200,000 classes; 2 to 65,536 are read: is 'label' the right column?",
    ),
    "a class of 100 kB": (rows(["a," + "x" * 100_000, "b,y"]), "is empty, long or not printable"),
    "an escape in a class": (rows(["a,\x1b[31mred", "b,y"]), r"class name '\x1b[31mred' is empty, long or not printable"),
    "NUL": (text(b"text,label\na,\0\nb,y\n"), "printable"),
    "a field of 200 MB": (text(b"text,label\n" + b"a" * 200_000_000 + b",x\n"), "not a CSV file"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CSV)
def test_csv(name: str, place: Path) -> None:
    made, message = CSV[name]
    assert message in read("csv", place, made)


@pytest.mark.slow
def test_a_csv_of_40_000_classes_takes_linear_time(place: Path) -> None:
    """It is read whole; that its texts are not what the model takes is found afterwards."""
    assert "takes" in read("csv", place, rows([f"a b,c{i % 40_000}" for i in range(200_000)]))


def test_an_escape_in_the_name_of_a_file(place: Path) -> None:
    name = "\x1b[2Jx.npz"
    np.savez(place / name, items=np.zeros((10, 4), np.uint8), labels=np.arange(10) % 2)
    assert r"data set name '\x1b[2Jx' is empty, long or not printable" in refused(
        "run", "model.ecm", "--device", "fake", "--data", name, cwd=place
    )


@pytest.mark.slow
def test_gzip_bombs(place: Path) -> None:
    claim = b"\0\0\x08\x01\0\0\0\x05"
    assert "has not the 5 bytes" in read("idx", place, lambda path: path.write_bytes(gzip.compress(claim + bytes(1 << 30), 1)))
    assert "has no cifar-10-batches-bin/data_batch_1.bin" in read(
        "cifar10", place, lambda path: path.write_bytes(gzip.compress(bytes(1 << 28), 1))
    )


def safetensors(header: bytes) -> Made:
    return text(struct.pack("<Q", len(header)) + header)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


KEYS = ("edgechaos", "edgechaos_checkpoint")
ENDLESS = b'{"x": {"dtype": "I8", "shape": [9223372036854775807], "data_offsets": [0, 9223372036854775807]}}'
SAFETENSORS: dict[str, tuple[Made, str]] = {
    "deep": (safetensors(f'{{"x": {deep(100_000)}}}'.encode()), "truncated"),
    "deep inside": (safetensors(json.dumps({"__metadata__": dict.fromkeys(KEYS, deep(100_000))}).encode()), "truncated"),
    "a header of 20 MB": (safetensors(b'{"x": "' + b" " * 20_000_000 + b'"}'), "its header claims 20,000,"),
    "a claim of 2^60 bytes": (text(struct.pack("<Q", 1 << 60) + b"{}"), "its header claims"),
    "2^63 values": (safetensors(ENDLESS), "truncated"),
    "no bytes": (text(b""), "truncated"),
    "noise": (text(os.urandom(1 << 16)), "truncated"),
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["inspect", "quantize"])
@pytest.mark.parametrize("name", SAFETENSORS)
def test_artifacts_and_checkpoints(name: str, reader: str, place: Path) -> None:
    made, message = SAFETENSORS[name]
    made(place / "x")
    module = {"inspect": "edgechaos.graph.artifact", "quantize": "edgechaos.models.checkpoint"}[reader]
    assert message in refused(module, "load", "x", cwd=place, imports=module)
    assert read(reader, place, made)  # the command says what the file is instead, where it knows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {"name": "\x1b[31mred"}}, "metadata: '\\x1b[31mred' has a control character"),
        ({"a\x07b": 1}, "has a control character"),
        ({"training": json.loads(deep(100))}, "nested deeper than 32 levels"),
    ],
)
def test_artifacts_whose_metadata_no_terminal_should_show(change: dict[str, object], message: str, place: Path) -> None:
    def made(path: Path) -> None:
        path.write_bytes(artifact.to_bytes(replace(chaos_graph(), metadata=change)))

    assert message in read("inspect", place, made)


def test_training_states(tmp_path: Path) -> None:
    """A file in the place of the state of an interrupted training."""
    for content in (b"", os.urandom(4096), struct.pack("<Q", 1 << 60), struct.pack("<Q", 200_002) + deep(100_001).encode()):
        (tmp_path / "m.state").write_bytes(content)
        with pytest.raises(ArtifactError, match="not a training state, or truncated"):
            checkpoint.read_tensors(tmp_path / "m.state", "edgechaos_training_state", "training state")


@pytest.mark.slow
@pytest.mark.parametrize("content", ["[" * 100_000, '{"kind": ' + "[" * 100_000, "", "null", "[]", '"x"', "1" * 100_000], ids=range(7))
def test_results(content: str, place: Path) -> None:
    assert "x.json" in read("report", place, text(content))


@pytest.mark.slow
def test_vocabularies(place: Path) -> None:
    np.savez(place / "x.npz", items=np.zeros((10, 4), np.uint8), labels=np.arange(10) % 2)
    state = {
        "cortex.layers.0.input_weights.weight": torch.zeros(3, 4), "cortex.layers.0.recurrent.weight": torch.zeros(3, 3),
        "readout.weight": torch.zeros(2, 3), "readout.bias": torch.zeros(2), "embedding.weight": torch.zeros(5, 4),
    }  # fmt: skip
    torch.save(state, place / "l.pt")
    answers = ("--mode", "parallel", "--ticks", 1, "--fail-prob", 0, "--length", 4, "--vocabulary", "v.json")
    imports = "edgechaos.quantize.pipeline,edgechaos.models.importers"
    (place / "v.json").write_text("[" * 100_000)
    assert "is not JSON" in refused("import", "l.pt", "--data", "x.npz", *answers, cwd=place, imports=imports)
    (place / "v.json").unlink()
    os.mkfifo(place / "v.json")
    assert "it is a pipe" in refused("import", "l.pt", "--data", "x.npz", *answers, cwd=place, imports=imports)
