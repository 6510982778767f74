"""Where a table makes a code of 0 its products are part of the bias: when that is done, and what a fault may still do to the bias."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.core import cores
from edgechaos.firmware_gen.plan.kernels import choose_kernels
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.matmul import MatMul
from tests.helpers.mixed_graphs import items_for, normalized_graph

GRAPH = normalized_graph()
LAYER = next(n for n in GRAPH.nodes if type(n) is MatMul)
BOARD = "mps2-an386"


def background(graph: IntegerGraph, core: str | None = "cortex-m4") -> int:
    return choose_kernels(graph, "auto", cores.load(core) if core else None)[LAYER.name].background


def changed(**values: NDArray[Any]) -> IntegerGraph:
    """With another value of some constants."""
    return replace(GRAPH, constants={name: replace(c, value=values.get(name, c.value)) for name, c in GRAPH.constants.items()})


def test_it_is_folded_where_a_table_makes_its_least_code_of_0_and_0_is_the_rule() -> None:
    table = GRAPH.value("normalized").copy()
    assert background(GRAPH) == -70
    assert "20.0% of the inputs other than -70" in str(choose_kernels(GRAPH, "auto", cores.load("cortex-m4"))[LAYER.name])
    assert background(GRAPH, None) == 0, "kernels of hosts read bytes of one sign"
    table[7] = -71
    assert background(changed(normalized=table)) == 0, "a code below it"
    assert background(replace(GRAPH, metadata={})) == 0, "nothing says that 0 is the rule"
    assert background(replace(GRAPH, nodes=tuple(replace(n, bias=None) if n == LAYER else n for n in GRAPH.nodes))) == 0


def test_what_is_added_must_fit_whatever_the_inputs_are() -> None:
    """Of 43,690 inputs 3 * 128 * 128 each stay below 2^31, of one more they do not."""
    fits, does_not = (choose_kernels(normalized_graph(n, 2), "event", cores.load("cortex-m4"))[LAYER.name] for n in (43_690, 43_691))
    assert (fits.background, does_not.background) == (-70, 0)


def test_a_bias_may_reach_the_limit_that_it_had(tmp_path: Path) -> None:
    """Where what was folded into it would take it beyond."""
    bias = GRAPH.value("layer_b").copy()
    output = int(GRAPH.value("layer_w").sum(axis=1, dtype=np.int32).argmin())
    room = LAYER.bias_limit(GRAPH, GRAPH.analysis.bounds) - int(bias[output])
    bias[output] += room
    codes = items_for(GRAPH, 4)
    with EmulatedDevice(GRAPH, build(generate(GRAPH, load_board(BOARD)), tmp_path).elf, BOARD) as device:
        device.inject(ResolvedPlan(patch={LAYER.name: np.array([[output, -1, room]], np.int32)}))
        np.testing.assert_array_equal(device.infer(codes).logits, reference.run(changed(layer_b=bias), codes).logits)
