"""What `inspect` reports, against counts done by hand."""

from __future__ import annotations

import json
from dataclasses import replace

from rich.console import Console

from edgechaos.graph.artifact import content_hash
from edgechaos.graph.inspect import inspect, rich_table
from tests.helpers.graphs import chaos_graph

SIZES = (30, 20, 8, 4)
TICKS = 4


def test_operations_and_bytes_of_a_two_layer_net() -> None:
    graph = chaos_graph(sizes=SIZES, ticks=TICKS, noise=False)
    graph = replace(graph, metadata={"activity": {"input": 0.5, "cortex0_spikes": 0.25, "cortex1_count": 1.0}})
    seen = inspect(graph)
    assert seen.macs == 30 * 20 + 20 * 8 * TICKS + 8 * 4
    assert seen.synaptic_operations == 30 * 20 * 0.5 + 20 * 8 * TICKS * 0.25 + 8 * 4
    weights, words = 30 * 20 + 20 * 8 + 8 * 4, (20 + 8 + 4) + (20 + 8)
    assert seen.parameters == weights + words
    assert seen.flash_bytes == weights + 4 * words == sum(layer.flash_bytes for layer in seen.layers)
    # cortex1's input: 8 int32 per tick, and the 20 int8 spikes per tick that they are summed from
    assert seen.ram_bytes == TICKS * (20 + 4 * 8)
    assert [layer.weight_bits for layer in seen.layers if layer.kind in ("MatMul", "Readout")] == [8, 8, 8]
    assert seen.content_hash == content_hash(graph)
    assert (seen.heads[0].encoding, seen.heads[0].input_shape) == ("pixels", (30,))


def test_stateful_layers_hold_state() -> None:
    sizes = (2, 50, 2)
    parallel, stateful = (inspect(chaos_graph(sizes=sizes, mode=mode, noise=False)).ram_bytes for mode in ("parallel", "stateful"))
    assert parallel == 4 * 50 + 50
    assert stateful == 2 * 50 + 50 + 4 * 50


def test_unmeasured_activity_is_not_guessed() -> None:
    seen = inspect(chaos_graph(sizes=SIZES))
    assert seen.synaptic_operations is None
    assert all(layer.synaptic_operations is None for layer in seen.layers)


def test_json_and_table_carry_the_same_figures() -> None:
    seen = inspect(chaos_graph(sizes=SIZES, mode="stateful", per_channel=True))
    document = json.loads(json.dumps(seen.to_json()))
    assert document["macs"] == seen.macs
    assert [layer["name"] for layer in document["layers"]] == [layer.name for layer in seen.layers]
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_table(seen))
    text = console.export_text()
    assert f"{seen.flash_bytes:,}" in text
    assert "cortex1_requantize" in text
