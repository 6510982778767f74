"""Frames in a byte stream: found again whatever surrounds them, never invented."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgechaos.devices.protocol.frames import MAX_FRAME, Frame, FrameDecoder, decode, encode

payloads = st.binary(max_size=700)
heads = st.tuples(st.integers(0, 255), st.integers(0, 65535))


@given(st.lists(st.tuples(heads, payloads), max_size=4), st.data())
def test_frames_come_back_in_any_portions(sent: list[tuple[tuple[int, int], bytes]], data: st.DataObject) -> None:
    stream = b"".join(encode(*head, payload) for head, payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder, found = FrameDecoder(), list[Frame]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert [((f.kind, f.seq), f.payload) for f in found] == sent
    assert (decoder.good, decoder.bad) == (len(sent), 0)


@given(st.binary(max_size=600), payloads)
def test_garbage_before_a_frame_does_not_hide_it(garbage: bytes, payload: bytes) -> None:
    found = FrameDecoder().feed(garbage + encode(5, 77, payload))
    assert (found[-1].kind, found[-1].seq, found[-1].payload) == (5, 77, payload)


@given(payloads, st.data())
def test_a_corrupted_frame_is_no_frame(payload: bytes, data: st.DataObject) -> None:
    good = encode(4, 9, payload)
    at = data.draw(st.integers(1, len(good) - 2))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    decoder = FrameDecoder()
    assert decoder.feed(bytes(bad)) == []
    assert decoder.bad > 0


def test_an_endless_frame_is_dropped_and_holds_no_memory() -> None:
    decoder = FrameDecoder()
    for _ in range(40):
        assert decoder.feed(b"\x01" * 10_000) == []
    assert len(decoder._partial) <= MAX_FRAME
    assert decoder.feed(encode(1, 2, b"x"))[0].payload == b"x"
    assert (decoder.good, decoder.bad) == (1, 1)


def test_what_is_too_short_or_lies_about_its_length_is_no_frame() -> None:
    assert decode(b"\x01\x01") is None
    assert decode(b"\x02\x07") is None
    honest = encode(1, 2, b"abc").strip(b"\0")
    assert decode(honest) is not None
    assert decode(honest[:-1]) is None


def test_the_longest_frame_is_taken_and_no_longer_one() -> None:
    """65,535 bytes of payload without a zero: ten bytes around them, and a code for each 254 begun."""
    longest = encode(1, 2, b"\x55" * 65535)
    assert len(longest.strip(b"\0")) == MAX_FRAME == 65535 + 10 + 259
    decoder = FrameDecoder()
    assert len(decoder.feed(longest)[0].payload) == 65535
    assert (decoder.good, decoder.bad) == (1, 0)
    halves = FrameDecoder()
    assert halves.feed(longest[:40_000]) == []
    assert len(halves.feed(longest[40_000:])) == 1


def test_a_frame_too_long_by_one_is_dropped_even_where_its_beginning_is_a_frame() -> None:
    """The bytes that fit are a good frame: only the one beyond says that they are not."""
    longest = encode(1, 2, b"\x55" * 65535).strip(b"\0")
    for portions in ([longest + b"\x01\0"], [longest, b"\x01\0"], [longest, b"\x01", b"\x01", b"\0"], [longest + b"\x01", b"\0"]):
        decoder = FrameDecoder()
        assert [decoder.feed(portion) for portion in portions] == [[]] * len(portions)
        assert (decoder.good, decoder.bad) == (0, 1)
        assert len(decoder.feed(encode(3, 4, b"x"))) == 1


def test_clear_forgets_a_frame_that_had_become_too_long() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"\x01" * (MAX_FRAME + 1))
    decoder.clear()
    assert len(decoder.feed(encode(3, 4, b"x").lstrip(b"\0"))) == 1
    assert (decoder.good, decoder.bad) == (1, 0)
    assert FrameDecoder().feed(encode(3, 4, b"x").lstrip(b"\0"))[0].seq == 4
