"""What a report says of a model: its layers in one line, and only those accuracies that are such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgechaos.hil.analysis.model_facts import model_facts
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import mixed_graph


def test_layers_in_one_line() -> None:
    facts = model_facts(chaos_graph(sizes=(12, 16, 4)))
    assert facts["architecture"] == "12 → MatMul 16 → ChaosLayer 16, 4 ticks → Readout 4"
    assert facts["weight_bits"] == [8]
    assert facts["parameters"] > 12 * 16 + 16 * 4 - 1
    assert "win" in model_facts(mixed_graph(family="kwta"))["architecture"]
    assert "Conv" in model_facts(mixed_graph(family="vision"))["architecture"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, {}),
        ({"accuracy": {"float": 0.9, "integer": 1, "items": 10}}, {"float_model": 0.9, "integer_model": 1, "items": 10}),
        ({"accuracy": {"integer": 0.5, "items": 10}}, {"integer_model": 0.5, "items": 10}),
        ({"accuracy": {"heads": {"main": {"float": 0.25, "items": 4}}}}, {"float_model": 0.25, "items": 4}),
        ({"accuracy": {"heads": {"other": {"float": 0.25, "items": 4}}}}, {}),
        ({"accuracy": {"float": 1.5, "integer": "0.9", "items": 10}}, {"items": 10}),
        ({"accuracy": {"float": 0.5}}, {}),
        ({"accuracy": {"float": 0.5, "items": True}}, {}),
        ({"accuracy": [1]}, {}),
        ({"accuracy": {"heads": [1]}}, {}),
    ],
)
def test_metadata_are_free_and_only_what_can_be_shown_is(metadata: dict[str, Any], expected: dict[str, Any]) -> None:
    assert model_facts(replace(chaos_graph(), metadata=metadata))["accuracy"] == expected
