"""`--temperature` of run and verify: the graph's parameter on whatever runs it, and a clear no for models without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgechaos import reference
from edgechaos.cli import main
from edgechaos.data import load
from edgechaos.devices.contract import Device
from edgechaos.export import verify as verification
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.thermal_noise import ThermalNoise
from tests.helpers.graphs import chaos_graph

pytestmark = [pytest.mark.trains, pytest.mark.backends]


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def dlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dlm")
    run("train", "--data", "digits8x8", "--model", "dlm", "--hidden", 8, "--epochs", 2, "-o", out / "dlm.safetensors")
    run("quantize", out / "dlm.safetensors", "--method", "ptq")
    return out / "dlm.ecm"


def parameters(graph: IntegerGraph, temperature: float) -> dict[str, int]:
    names = [node.name for node in graph.nodes if isinstance(node, ThermalNoise)]
    assert len(names) == 2, "one per layer"
    return {name: graph.node(name).parameter_at(graph, temperature) for name in names}


def test_run_measures_at_the_temperature(dlm: Path) -> None:
    graph, digits = artifact.load(dlm), load("digits8x8")
    codes, found = reference.encode(graph, digits.test_items), {}
    for temperature in (0.0, 10.0):
        document = json.loads(run("run", dlm, "--device", "fake", "--temperature", temperature, "--json").stdout)
        labels = reference.run(graph, codes, parameters=parameters(graph, temperature)).labels
        assert document["accuracy"]["value"] == (labels == digits.test_labels).mean()
        assert document["temperature"] == temperature
        found[temperature] = document["accuracy"]["value"]
    assert found[0.0] != found[10.0]
    assert json.loads(run("run", dlm, "--device", "fake", "--items", 5, "--json").stdout)["temperature"] is None


def test_verify_compares_at_the_temperature_clean_and_under_faults(dlm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], verification.device_backend

    def spy(device: Device) -> verification.Backend:
        inner = real(device)

        def backend(case: verification.Case) -> verification.Answer:
            seen.append(dict(case.parameters))
            return inner(case)

        return backend

    monkeypatch.setattr(verification, "device_backend", spy)
    output = run(
        "verify", dlm, "--temperature", 3, "--items", 20, "--fault-items", 5, "--backend", "host", "--backend", "onnxruntime-on", "--json"
    ).stdout
    assert json.loads(output)["passed"]
    assert seen == [parameters(artifact.load(dlm), 3.0)] * 21


@pytest.mark.parametrize("command", [("run", "--device", "fake"), ("verify", "--backend", "fake")])
def test_what_the_model_does_not_carry_is_refused(command: tuple[str, ...], dlm: Path, tmp_path: Path) -> None:
    artifact.save(chaos_graph(), tmp_path / "m.ecm")
    error = run(command[0], tmp_path / "m.ecm", *command[1:], "--data", "digits8x8", "--temperature", 1, code=2).stderr
    assert f"model '{chaos_graph().name}' has no thermal noise" in error
    assert "temperature 11 is outside 0..10" in run(command[0], dlm, *command[1:], "--temperature", 11, code=1).stderr
    run(command[0], dlm, *command[1:], "--temperature", -1, code=2)
