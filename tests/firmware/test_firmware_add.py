"""Add in C, on the host and on an emulated Cortex-M4, against the reference, integer for integer."""

from __future__ import annotations

import pytest

from edgechaos import open_device
from edgechaos.export.verify import device_backend, verify
from tests.helpers.mixed_graphs import items_for, mixed_graph


@pytest.mark.slow
@pytest.mark.parametrize("device", ["host", "unicorn:mps2-an386"])
@pytest.mark.parametrize("pool", ["max", "none"])
def test_residual_connections(device: str, pool: str) -> None:
    graph = mixed_graph(residual=True, spiking=False, pool=pool, seed=3)
    with open_device(device, graph) as opened:
        verify(graph, items_for(graph, 6), {device: device_backend(opened)}).require()
