"""How much the firmware works, in instructions of the emulated Cortex-M4: exact, and the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.devices.kinds.unicorn import emulated_firmware
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.plan import FaultPlan, apply, resolve
from tests.helpers.graphs import Spec, chaos_graph, codes_for


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        Spec(sizes=(40, 60, 5), ticks=8),
        Spec(sizes=(40, 60, 5), ticks=8, noise=False),
        Spec(sizes=(20, 30, 30, 5), ticks=8),
        Spec(sizes=(40, 60, 5), mode="stateful", noise=False, ticks=8),
    ],
)
def test_no_loss_is_drawn_where_none_can_be(spec: Spec) -> None:
    """The least probability above 0 loses next to nothing, but costs a word per spike."""
    graph = chaos_graph(spec)
    codes = codes_for(graph, 20)
    mean = []
    with EmulatedDevice(graph, emulated_firmware(graph, "mps2-an386")) as device:
        for rate in (0.0, 1 / 65536):
            plan = resolve(graph, FaultPlan((Omission(rate=rate),)))
            device.inject(plan)
            result = device.infer(codes, seed=1)
            np.testing.assert_array_equal(result.logits, reference.run(apply(graph, plan), codes, seed=1).logits)
            assert result.instructions is not None
            mean.append(float(result.instructions.mean()))
    assert mean[0] + 200 < mean[1], mean
