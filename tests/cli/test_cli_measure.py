"""What `edgechaos measure` refuses, and what it prints of a rehearsal."""

from __future__ import annotations

import json

import pytest

from edgechaos.devices import registry
from tests.cli.test_cli import run
from tests.helpers.hil_devices import ReferenceDevice
from tests.helpers.places import ROOT

MODEL = ROOT / "benchmarks" / "pixels.ecm"


def test_a_rehearsal_is_printed_with_its_budget() -> None:
    arguments = ("measure", MODEL, "--device", "fake", "--meter", "rehearsal", "--inferences", 20, "--windows", 5)
    said = run(*arguments).stdout
    assert "pixels on fake, simulated with rehearsal" in said
    assert "5 of 5 used, 20 inferences each" in said
    assert "scatter of the windows" in said
    found = json.loads(run(*arguments, "--json").stdout)
    assert found["origin"] == "simulated"
    assert {c["type"] for c in found["budget"]} == {"A", "B"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "fake", "--meter", "ohm"), "no meter 'ohm'"),
        (("--device", "fake", "--meter", "rehearsal", "--windows", 4), "4 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: tuple[object, ...], said: str) -> None:
    assert said in run("measure", MODEL, *arguments, code=2).stderr


def test_a_device_without_a_marker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "open_device", ReferenceDevice)
    said = run("measure", MODEL, "--device", "fake", "--meter", "rehearsal", code=2).stderr
    assert "device 'fake' has no marker pin to gate a meter with; use a board, or unicorn" in said
