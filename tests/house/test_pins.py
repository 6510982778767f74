"""What no restructuring may change: artifact hashes, plan ids and sites, logits, wire bytes, generated C.

tests/golden/pins.json holds them; EDGECHAOS_REFRESH_GOLDEN=1 writes it anew. Who refreshes says in the commit which pin moved and
why: a moved artifact hash, plan id, site or logit makes stored models and finished campaigns another experiment.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.fakes.device import FakeDevice
from edgechaos.devices.protocol import frames
from edgechaos.export.plans import standard_plans
from edgechaos.faults.injections import ResolvedPlan
from edgechaos.faults.plan import apply, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.graph import artifact
from edgechaos.graph.integer_graph import IntegerGraph
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import items_for, mixed_graph
from tests.helpers.places import GOLDEN, ROOT

PINS = GOLDEN / "pins.json"
COMMITTED = ROOT / "benchmarks" / "pixels.ecm"
ITEMS, SEED, SESSION = 8, 11, 0x0123456789ABCDEF
NETS: Mapping[str, Any] = {
    "parallel": lambda: chaos_graph(sizes=(12, 8, 6, 4)),
    "stateful": lambda: chaos_graph(mode="stateful", noise=False),
    "binomial": lambda: chaos_graph(sampling="binomial", noise=False),
    "vision": lambda: mixed_graph(family="vision"),
    "plain vision": lambda: mixed_graph(family="vision", spiking=False),
    "text": lambda: mixed_graph(family="text", bits=4),
    "shared": lambda: mixed_graph(family="shared", bits=2),
    "kwta": lambda: mixed_graph(family="kwta"),
    "thermal": lambda: mixed_graph(family="thermal"),
    "pixels.ecm": lambda: artifact.load(COMMITTED),
}


def digest(parts: Iterator[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:32]


def sites(plan: ResolvedPlan) -> Iterator[bytes]:
    """Every field of a resolved plan, as little-endian bytes."""
    for name, fail_q in sorted(plan.slot("fail_q").items()):
        yield f"{name} {int(fail_q[0])}".encode()
    for masks in (plan.slot("dead"), plan.slot("stuck")):
        for name, mask in sorted(masks.items()):
            yield name.encode() + np.packbits(mask.astype(bool)).tobytes()
    for name, rows in sorted(plan.patch.items()):
        yield name.encode() + rows.astype("<i4").tobytes()


def wire(graph: IntegerGraph, plans: list[ResolvedPlan]) -> Iterator[bytes]:
    """Every frame that a host sends: opening, each plan with two inferences per head, a reset."""
    device = FakeDevice(graph)
    with device:
        for plan in plans:
            device.inject(plan)
            for head in graph.heads:
                device.infer(items_for(graph, 2, head=head.name), seed=SEED, head=head.name)
        device.counters()
        device.reset()
    for frame in device.link.requests:
        yield frames.encode(frame.kind, frame.seq, frame.payload)


def pins(graph: IntegerGraph) -> dict[str, Any]:
    """What is pinned of one graph."""
    plans = standard_plans(graph)
    resolved = [resolve(graph, plan) for _, plan in plans]

    def logits() -> Iterator[bytes]:
        for plan in (ResolvedPlan(), *resolved):
            faulty = apply(graph, plan)
            for head in graph.heads:
                items = items_for(graph, ITEMS, head=head.name)
                yield reference.run(faulty, items, seed=SEED, head=head.name).logits.astype("<i4").tobytes()

    firmware = generate(graph, load_board("mps2-an386"))
    return {
        "artifact": artifact.content_hash(graph)[:32],
        "plans": [plan.id for _, plan in plans],
        "sites": digest(part for plan in resolved for part in sites(plan)),
        "logits": digest(logits()),
        "wire": digest(wire(graph, resolved)),
        "c": digest(firmware.files[name] for name in sorted(firmware.files) if name.startswith(f"src/{firmware.name}.")),
    }


@pytest.mark.parametrize("net", NETS)
def test_nothing_has_moved(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda limit: SESSION - 1)
    now = pins(NETS[net]())
    kept = json.loads(PINS.read_text()) if PINS.exists() else {}
    if os.environ.get("EDGECHAOS_REFRESH_GOLDEN") == "1":
        PINS.write_text(json.dumps(kept | {net: now}, indent=1, sort_keys=True) + "\n")
        return
    assert now == kept.get(net), "read the docstring above before refreshing"
