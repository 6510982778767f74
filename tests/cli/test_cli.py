"""The commands: the whole pipeline on small real data, each command's help, and what a user does wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import COMMANDS, main
from edgechaos.cli.fault_option import parse_faults
from edgechaos.faults.base import Fault, fault_kinds
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.ram_bit_flip import RamBitFlip
from edgechaos.faults.kinds.threshold_scale import ThresholdScale
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.graph import artifact
from edgechaos.support.errors import ConfigError
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT

pytestmark = [pytest.mark.trains, pytest.mark.backends]


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result


@pytest.mark.parametrize("given", ["", "3"])
def test_algebra_runs_on_one_thread_unless_told_otherwise(given: str) -> None:
    """OpenBLAS reads it when NumPy is imported, which must not have happened yet."""
    said = "print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules)"
    script = f"import os, sys\nfrom edgechaos.cli import main\nmain(['--version'], standalone_mode=False)\n{said}"
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"} | ({"OPENBLAS_NUM_THREADS": given} if given else {})
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == [given or "1", "False"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and quantized model of 8x8 digits."""
    out = tmp_path_factory.mktemp("cli")
    recipe = ("--hidden", 16, "--ticks", 4, "--epochs", 20, "--learning-rate", 0.01)
    run("train", "--data", "digits8x8", *recipe, "-o", out / "digits.safetensors")
    run("quantize", out / "digits.safetensors", "--epochs", 1)
    return out


@pytest.fixture
def model(folder: Path) -> Path:
    return folder / "digits.ecm"


def test_a_model_is_learned(folder: Path, model: Path) -> None:
    about = json.loads(run("inspect", model, "--json").stdout)
    assert about["layers"][0]["macs"] == 64 * 16
    assert artifact.load(model).metadata["accuracy"]["integer"] > 0.4


def test_inspect_prints_a_table(model: Path) -> None:
    out = run("inspect", model).stdout
    assert "ChaosLayer" in out
    assert "1,024" in out


def test_weight_bits_by_node(folder: Path, tmp_path: Path) -> None:
    checkpoint, out = folder / "digits.safetensors", tmp_path / "mixed.ecm"
    printed = run("quantize", checkpoint, "--method", "ptq", "--weight-bits", "4,logits=8", "-o", out).stdout
    assert "int4 (logits 8)" in printed
    graph = artifact.load(out)
    assert [graph.constants[n.weight].bits for n in graph.weighted()] == [4, 8]
    assert "is not 8, 4 or 2" in run("quantize", checkpoint, "--weight-bits", "4,logits=3", code=2).stderr
    assert "no node 'nowhere' has weights" in run("quantize", checkpoint, "--weight-bits", "4,nowhere=8", code=1).stderr


def test_export_writes_onnx(model: Path) -> None:
    run("export", model)
    assert model.with_suffix(".onnx").stat().st_size > 1000


def test_verify_finds_no_mismatch(model: Path, tmp_path: Path) -> None:
    run("verify", model, "--items", 50, "--fault-items", 10, "-o", tmp_path / "verify.json")
    document = json.loads((tmp_path / "verify.json").read_text())
    assert document["passed"]
    assert {c["backend"] for c in document["comparisons"]} == {"onnxruntime-off", "onnxruntime-on", "onnx-reference", "host", "unicorn"}
    assert len({c["plan"] for c in document["comparisons"]}) == 21


def test_verify_fails_where_a_backend_differs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.devices.host import HostDevice

    honest = HostDevice.infer

    def wrong(*args: object, **kwargs: object) -> object:
        result = honest(*args, **kwargs)  # type: ignore[arg-type]
        result.logits[3, 2] += 1
        return result

    monkeypatch.setattr(HostDevice, "infer", wrong)
    error = run("verify", model, "--items", 5, "--fault-items", 0, "--backend", "host", code=1).stderr
    assert "item 3, logits[2]" in error


@pytest.mark.parametrize("board", ["mps2-an386", "stm32l4r5"])
def test_build_writes_an_elf_and_its_sizes(model: Path, tmp_path: Path, board: str) -> None:
    run("build", model, "--board", board, "-o", tmp_path)
    about = json.loads((tmp_path / "build.json").read_text())
    assert Path(about["elf"]).read_bytes()[:4] == b"\x7fELF"
    assert 2000 < about["flash_bytes"] < 50_000


def test_run_under_faults(model: Path) -> None:
    clean = json.loads(run("run", model, "--device", "unicorn", "--items", 50, "--json").stdout)
    dead = json.loads(run("run", model, "--device", "unicorn", "--items", 50, "--fault", "dead=1", "--json").stdout)
    assert clean["accuracy"]["value"] > dead["accuracy"]["value"]
    assert clean["energy"]["origin"] == "modelled from emulated counts"
    assert clean["energy"]["low_j"] < clean["energy"]["value_j"] < clean["energy"]["high_j"]


def test_run_says_how_long_a_battery_lasts(model: Path) -> None:
    asked = ("run", model, "--device", "unicorn", "--items", 2, "--battery-mah", 230, "--per-hour", 3600)
    found = json.loads(run(*asked, "--json").stdout)
    joules, life = found["energy"], found["battery"]
    assert life["usual_s"] == pytest.approx(2484 / (429e-9 + joules["value_j"]))
    assert life["low_s"] < life["usual_s"] < life["high_s"]
    assert "Standby" in run(*asked).stdout
    assert "--battery-mah means nothing to device 'host'" in run("run", model, "--battery-mah", 230, "--items", 2, code=2).stderr


def test_profile_is_that_of_run(model: Path, tmp_path: Path) -> None:
    ran = json.loads(run("run", model, "--device", "unicorn", "--items", 5, "--json").stdout)
    found = json.loads(run("profile", model, "--items", 5, "--json", "-o", tmp_path / "profile.json").stdout)
    assert found == json.loads((tmp_path / "profile.json").read_text())
    per_item = found["total"]["energy_j"] / found["inferences"]
    assert (found["inferences"], per_item) == (5, pytest.approx(ran["energy"]["value_j"], rel=1e-12))
    table = run("profile", model, "--items", 5).stdout
    assert all(row[name] in table for name, rows in (("layer", "layers"), ("function", "functions")) for row in found[rows])
    assert found["hot_lines"][0]["line"] in table
    assert "use unicorn" in run("profile", model, "--device", "host", code=2).stderr


def test_campaign_resumes_and_reports(model: Path, tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text('name = "c"\nmasks = 2\n[images]\ncount = 20\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n')
    run("campaign", toml, "--artifact", model, "-o", tmp_path / "out", "--workers", 1)
    refused = run("campaign", toml, "--artifact", model, "-o", tmp_path / "out", code=1).stderr
    assert "--resume" in refused
    run("campaign", toml, "--artifact", model, "-o", tmp_path / "out", "--resume")
    out = run("report", tmp_path / "out", "-o", tmp_path / "report.html").stdout
    assert str(tmp_path / "report.html") in out
    assert "<html" in (tmp_path / "report.html").read_text()


def test_devices_and_doctor() -> None:
    assert {"host", "fake"} <= {d["spec"] for d in json.loads(run("devices", "--json").stdout)}
    assert all(row["good"] or row["remedy"] for row in json.loads(run("doctor", "--json").stdout))
    assert "python" in run("doctor").stdout
    assert "host" in run("devices").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    out = run(name, "--help").output
    example = re.search(r"Example: edgechaos (.+)", out)
    assert example is not None
    parse(shlex.split(example[1]))


def parse(arguments: list[str]) -> None:
    """Every option and argument of a command line is one that the command has."""
    command = main.get_command(click.Context(main), arguments[0])
    assert command is not None, arguments
    command.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_commands_in_the_documentation_parse(path: Path) -> None:
    lines = re.findall(r"^\s*(?:\$ )?edgechaos ([a-z].*)$", path.read_text(), re.MULTILINE)
    for line in lines:
        parse(shlex.split(line, comments=True))
    assert lines or path.name != "README.md"


def test_fault_kinds_and_their_fields_are_listed() -> None:
    assert "`edgechaos faults` lists" in " ".join(run("run", "--help").output.split())
    rows = json.loads(run("faults", "--json").output)
    assert [row["kind"] for row in rows] == list(fault_kinds())
    assert {row["kind"]: (row["swept"], row["limits"], row["fields"], row["level"]) for row in rows}["ram_bit_flip"] == (
        "rate",
        [0.0, 1.0],
        ["address", "words", "seed"],
        "memory",
    )
    out = run("faults").output
    assert all(kind in out for kind in fault_kinds())
    assert "factor 0..16" in out


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dead=0.5@3,layer=cortex1", DeadNeurons("cortex1", 0.5, 3)),
        ("threshold_scale=0.75", ThresholdScale(factor=0.75)),
        ("ram_bit_flip=1e-3@7,address=0x20000040,words=16", RamBitFlip(0x20000040, 16, 1e-3, 7)),
        ("weight_bit_flip=0.01,target=bias,node=readout,seed=4", WeightBitFlip("readout", "bias", 0.01, 4)),
    ],
)
def test_a_fault_as_words_of_a_command_line(text: str, fault: Fault) -> None:
    assert parse_faults((text,)).faults == (fault,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dead=0.5,layr=cortex1", "dead has no 'layr', did you mean 'layer'?; it takes layer, rate, seed"),
        ("dead=0.5,neurons=3", "dead has no 'neurons'"),
        ("dead=half", "'half' is not a number"),
        ("threshold_scale=17", "factor 17.0 is outside 0..16"),
        ("ram_bit_flip=0.1", "ram_bit_flip needs address; add ,address=..."),
        ("ram_bit_flip=0.1,address=3", "address 0x3 is not that of 1 words"),
        ("ram_bit_flip=0.1,address=1.5", "'1.5' is not a whole number"),
        ("omission=0.1@3", "omission draws from the run's seed"),
        ("dead=0.1@4294967296", "is not a uint32"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_faults((text,))


def one_line_error(arguments: tuple[str, ...], says: str, code: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(str(model) if a == "MODEL" else a for a in arguments), code=code)
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("inspect", "nowhere.ecm"), "cannot read artifact nowhere.ecm"),
        (("quantize", "nowhere.safetensors"), "nowhere.safetensors"),
        (("run", "MODEL", "--items", "100000"), "lower the count"),
        (("report", "nowhere"), "nowhere"),
        (("campaign", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_fails_is_one_clear_line_and_exits_1(
    arguments: tuple[str, ...], says: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_line_error(arguments, says, 1, model, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("verfy", "MODEL"), "no command 'verfy', did you mean 'verify'?; there are train, continual, import,"),
        (("--jsn", "devices"), "No such option '--jsn'"),
        (("inspect",), "Missing argument 'MODEL'"),
        (("run", "MODEL", "--devise", "host"), "Did you mean '--device'?"),
        (("train", "--ticks", "0", "-o", "x"), "0 is not in the range"),
        (("train", "--model", "visoin", "-o", "x"), "did you mean 'vision'?"),
        (("train", "--data", "mnst5k", "-o", "x"), "no data set is called 'mnst5k', did you mean 'mnist5k'?; there are digits8x8,"),
        (("run", "MODEL", "--device", "hots"), "no device 'hots', did you mean 'host'?; there are fake, host, qemu, serial, unicorn"),
        (("run", "MODEL", "--head", "tail"), "has no head 'tail'; it has "),
        (("run", "MODEL", "--fault", "dead=2"), "rate 2.0 is outside 0..1"),
        (("run", "MODEL", "--fault", "omission=0.5@3"), "use --seed"),
        (("run", "MODEL", "--fault", "ded=0.5"), "no kind of fault is called 'ded', did you mean 'dead'?; there are brown_out, dead"),
        (("run", "MODEL", "--board", "stm32l4r6"), "no board 'stm32l4r6', did you mean 'stm32l4r5'?; there are microbit, "),
        (("build", "MODEL", "--board", "mps2-an384"), "no board 'mps2-an384', did you mean 'mps2-an386'?; there are microbit, "),
        (("export", "MODEL", "--target", "onxn"), "no exporter 'onxn', did you mean 'onnx'?; there are onnx, tvm"),
        (("verify", "MODEL", "--backend", "onnxruntime"), "no back-end 'onnxruntime', did you mean 'onnxruntime-on'?; there are onnx"),
    ],
)
def test_a_command_line_that_cannot_be_is_one_clear_line_with_a_suggestion_and_exits_2(
    arguments: tuple[str, ...], says: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_line_error(arguments, says, 2, model, tmp_path, monkeypatch)


def test_a_model_without_a_data_set_says_so(tmp_path: Path) -> None:
    artifact.save(chaos_graph(), tmp_path / "m.ecm")
    assert "--data" in run("run", tmp_path / "m.ecm", code=1).stderr


def test_interruption_exits_130(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact, "load", stop)
    assert "interrupted" in run("inspect", model, code=130).stderr
