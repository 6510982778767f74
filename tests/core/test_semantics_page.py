"""The rule page names what the code uses: constants, format version, names, streams, node and fault kinds."""

from __future__ import annotations

import pytest

from edgechaos.arithmetic import random_bits, streams
from edgechaos.faults.base import fault_kinds
from edgechaos.graph.artifact import FORMAT_VERSION
from edgechaos.graph.node import NODE_KINDS
from edgechaos.graph.tensors import IDENTIFIER
from edgechaos.support.registry import load_all
from tests.helpers.places import ROOT

PAGE = (ROOT / "docs" / "semantics.md").read_text()


@pytest.mark.parametrize(
    "number",
    [
        random_bits.GOLDEN,
        random_bits.MUL_1,
        random_bits.MUL_2,
        random_bits.SECOND_PREFIX,
        random_bits.RANDOM_ID,
    ],
    ids=hex,
)
def test_constants(number: int) -> None:
    assert f"0x{number:08X}" in PAGE


def test_the_rest() -> None:
    assert f"**format version** (now **{FORMAT_VERSION}**" in PAGE
    assert IDENTIFIER.pattern in PAGE
    for stream in (streams.DEAD_STREAM, streams.STUCK_STREAM, streams.FLIP_STREAM, streams.UNIT_STREAM):
        assert hex(stream) in PAGE
    load_all("edgechaos.graph.kinds")
    for kind in NODE_KINDS:
        assert kind in PAGE
    for fault in fault_kinds():
        assert f"`{fault}`" in PAGE
    assert f"|G| <= {abs(int(random_bits.gaussian_table()[0])):,}" in PAGE
