"""Replies that no device of this protocol sends: each is named, whatever it holds."""

from __future__ import annotations

import pytest

from edgechaos.devices.protocol.client import _refused
from edgechaos.devices.protocol.device import _unpack
from edgechaos.firmware_gen.protocol import COUNTERS_REPLY, ERROR_REPLY, ErrorCode, Verb
from edgechaos.support.errors import LinkError


def test_an_error_code_has_its_name_or_its_number() -> None:
    known = _refused(Verb.INFER, ERROR_REPLY.pack(ErrorCode.BAD_VERSION, 3))
    assert str(known) == "INFER was refused: bad_version, detail 3"
    unknown = _refused(Verb.INFER, ERROR_REPLY.pack(255, 3))
    assert str(unknown) == "INFER was refused: error code 255, detail 3"


@pytest.mark.parametrize("size", [0, COUNTERS_REPLY.size - 1, COUNTERS_REPLY.size + 1])
def test_counters_of_another_length_are_a_link_error(size: int) -> None:
    with pytest.raises(LinkError, match=rf"the reply to COUNTERS has {size} bytes, not {COUNTERS_REPLY.size}"):
        _unpack(COUNTERS_REPLY, bytes(size), "COUNTERS")
