"""A repair as requests: patch rows staged in chunks that the device holds, each made words of its model by COMMIT.

Until the last chunk the device says an all-zero hash: a host that meets a repair that was not finished refuses the device.
Layouts: `edgechaos.firmware_gen.protocol`.
"""

from __future__ import annotations

from edgechaos.devices.protocol.client import Request
from edgechaos.devices.protocol.plan_payloads import patch_requests
from edgechaos.faults.words import changed_words
from edgechaos.firmware_gen.protocol import COMMIT, Verb
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import FaultError

UNFINISHED = bytes(32)
KEY = "repair"
"""Of a mended artifact's metadata: what was mended, `of` the hash of the model that was flashed."""


def repair_requests(graph: IntegerGraph, mended: IntegerGraph, capacity: int, max_payload: int) -> list[Request]:
    """What makes a device that holds `graph`, and no faults, hold `mended`. Raises FaultError where they differ in more than words."""
    if [(type(n), n.name) for n in graph.nodes] != [(type(n), n.name) for n in mended.nodes] or dict(graph.tensors) != dict(mended.tensors):
        raise FaultError(f"model '{mended.name}' differs from '{graph.name}' in more than stored words; flash it")
    rows = [(name, row) for name, found in changed_words(graph, mended).items() for row in found]
    requests: list[Request] = []
    for first in range(0, max(len(rows), 1), max(capacity, 1)):
        chunk = rows[first : first + capacity]
        requests += patch_requests(graph, chunk, max_payload)
        last = first + capacity >= len(rows)
        requests.append(Request(Verb.COMMIT, COMMIT.pack(bytes.fromhex(content_hash(mended)) if last else UNFINISHED)))
    return requests


def lost_repair(held: str, graph: IntegerGraph) -> str:
    """Why a device that says this hash does not hold `graph`, where a repair is the reason; "" where it is not."""
    repaired = graph.metadata.get(KEY, {})
    if bytes.fromhex(held) == UNFINISHED:
        return "a repair was begun and not finished; reset it, then commit the repair again"
    if isinstance(repaired, dict) and repaired.get("of") == held:
        return "it has lost the repair with its RAM, and holds the model that was flashed; commit the repair again"
    return ""
