"""The same integers everywhere: every kind of model at 8, 4 and 2 bits on ONNX Runtime, the host library and the Cortex-M4.

One test per kind, so that its three widths share one training. Language is collected where $EDGECHAOS_DATA holds AG News.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgechaos.export.verify import Answer, Case, engine_backend, verify
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from tests.helpers.graphs import chaos_graph, codes_for
from tests.helpers.matrix import BACKENDS, CLEAN_ITEMS, FAULTY_ITEMS, PLANS, Cell, available, row

pytestmark = [pytest.mark.trains, pytest.mark.backends]

LEAST_ACCURACY = 0.35
"""At 8 bits, of 500 items in 4 or 10 classes."""
CARRIED = {kind: {"weight_bit_flip", "dead"} for kind in ("dlm", "tnn", "mlp", "mlp-residual", "cnn")}
"""The fault kinds of models without spikes; the others carry all of PLANS."""


@pytest.mark.parametrize("kind", available())
def test_the_same_integers_at_every_width(kind: str) -> None:
    cells = row(kind)
    assert [line for c in cells for line in c.failures] == []
    faults = CARRIED.get(kind, set(PLANS))
    expected = {("clean", CLEAN_ITEMS), *((PLANS[fault], FAULTY_ITEMS) for fault in faults)}
    for c in cells:
        for verification in c.verifications:
            compared = [(found.backend, found.plan, found.items) for found in verification.comparisons]
            assert sorted(compared) == sorted((backend, *what) for backend in BACKENDS for what in expected)
        assert c.silent == (), "a plan that changes no integer compares nothing new"
    assert cells[0].correct / cells[0].items >= LEAST_ACCURACY, "a network that guesses agrees on little of interest"


def test_one_changed_weight_of_the_onnx_side_fails_its_cell() -> None:
    graph = chaos_graph(sizes=(20, 12, 5), ticks=5)
    flip = FaultPlan((WeightBitFlip("readout", bits=((0, 6),)),))

    def changed(case: Case) -> Answer:
        return engine_backend("onnxruntime-on")(replace(case, faulty=apply(case.faulty, flip)))

    backends = {"onnxruntime-on": changed, "onnxruntime-off": engine_backend("onnxruntime-off")}
    found = Cell("pixels", 4, (verify(graph, codes_for(graph, 30), backends),), correct=0, items=30, silent=())
    assert found.integers == 2 * 30 * (5 + 1 + 12)
    assert found.mismatches > 0
    (line,) = found.failures
    assert line.startswith("pixels, 4 bits, head 'main': 'tiny' on onnxruntime-on under plan 'clean': ")
