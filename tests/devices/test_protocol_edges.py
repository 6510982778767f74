"""Replies that no device of this protocol sends: each is named, whatever it holds."""

from __future__ import annotations

import pytest

from edgechaos.devices.protocol.client import Client, Link, Timeouts, _refused
from edgechaos.devices.protocol.device import _unpack
from edgechaos.devices.protocol.frames import Frame, FrameDecoder
from edgechaos.firmware_gen.protocol import COUNTERS_REPLY, ERROR_REPLY, ErrorCode, Verb
from edgechaos.support.errors import DeviceHang, LinkError


def test_an_error_code_has_its_name_or_its_number() -> None:
    known = _refused(Verb.INFER, ERROR_REPLY.pack(ErrorCode.BAD_VERSION, 3))
    assert str(known) == "INFER was refused: bad_version, detail 3"
    unknown = _refused(Verb.INFER, ERROR_REPLY.pack(255, 3))
    assert str(unknown) == "INFER was refused: error code 255, detail 3"


@pytest.mark.parametrize("size", [0, COUNTERS_REPLY.size - 1, COUNTERS_REPLY.size + 1])
def test_counters_of_another_length_are_a_link_error(size: int) -> None:
    with pytest.raises(LinkError, match=rf"the reply to COUNTERS has {size} bytes, not {COUNTERS_REPLY.size}"):
        _unpack(COUNTERS_REPLY, bytes(size), "COUNTERS")


class Wire(Link):
    """Gives `noise` after every frame that is written, and nothing more."""

    def __init__(self, noise: bytes) -> None:
        self.noise, self.pending, self.written = noise, b"", list[Frame]()

    def write(self, data: bytes) -> None:
        (frame,) = FrameDecoder().feed(data)
        self.written.append(frame)
        self.pending = self.noise

    def read(self, timeout_s: float) -> bytes:
        data, self.pending = self.pending, b""
        return data

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_noise_is_no_silence(attempts: int) -> None:
    """Of the request all attempts but the first are counted, of HELLO all."""
    noisy, silent = Wire(b"\x55\x66\x77"), Wire(b"")
    with pytest.raises(LinkError, match=rf"^COUNTERS: {3 * (2 * attempts - 1)} bytes came back, no reply among them"):
        Client(noisy, attempts=attempts).request(Verb.COUNTERS)
    with pytest.raises(DeviceHang, match=r"^no answer to COUNTERS nor to HELLO"):
        Client(silent, attempts=attempts).request(Verb.COUNTERS)
    for wire in (noisy, silent):
        assert [f.kind for f in wire.written] == [Verb.COUNTERS] * attempts + [Verb.HELLO] * attempts
    for wire, heard in ((Wire(b"\x55\x66"), f"{2 * attempts} bytes came"), (Wire(b""), "nothing came back")):
        with pytest.raises(LinkError, match=f"^no answer to HELLO in {attempts} attempts: {heard}"):
            Client(wire, attempts=attempts).greet()


@pytest.mark.parametrize(
    ("noise", "message"), [(263_216, "bytes came back, no reply among them"), (263_217, "the device babbles: 263217 bytes")]
)
def test_four_of_the_longest_frames_are_no_babble(noise: int, message: str) -> None:
    """65,804 bytes each: 65,535 of payload, 10 around them, 258 and one that COBS adds."""
    with pytest.raises(LinkError, match=message):
        Client(Wire(b"\x55" * noise), attempts=1).request(Verb.COUNTERS)


@pytest.mark.parametrize(("verb", "wait"), [(Verb.HELLO, 2.0), (Verb.INFER, 5.0), (Verb.COUNTERS, 3.0)])
def test_each_verb_waits_as_long_as_it_may_take(verb: Verb, wait: float) -> None:
    assert Timeouts(hello_s=2.0, request_s=3.0, infer_s=5.0).of(verb) == wait
    assert (Timeouts().hello_s, Timeouts().request_s, Timeouts().infer_s) == (1.0, 1.0, 10.0)
