"""Frames survive any cutting of the stream, and what is no frame of the dialect is told apart from what is."""

from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Decoder

from fastgshare.node_manager.ipc.frames import Dialect, FrameSplitter, FrameTooLarge
from fastgshare.shared.errors import PayloadInvalid


class Put(msgspec.Struct, frozen=True, array_like=True, tag=True):
    key: str
    value: memoryview


class Drop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    key: str


Said = Put | Drop
DIALECT: Dialect[Said, Said] = Dialect(Decoder(Said))
MESSAGES = st.lists(
    st.one_of(st.builds(Put, st.text(max_size=8), st.binary(max_size=300)), st.builds(Drop, st.text(max_size=8)))
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[Said], places: list[int], writable: bool
) -> None:
    stream = b"".join(DIALECT.frame(message) for message in messages)
    splitter = FrameSplitter()
    heard = [
        DIALECT.message(frame)
        for piece in cut(stream, places)
        for frame in splitter.feed(bytearray(piece) if writable else piece)
    ]
    assert heard == messages


@settings(deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_noise_ends_in_a_named_fault_or_in_waiting_for_more(noise: bytes, places: list[int]) -> None:
    splitter = FrameSplitter(max_frame_bytes=50)
    with suppress(FrameTooLarge, PayloadInvalid):
        for piece in cut(noise, places):
            for frame in splitter.feed(piece):
                DIALECT.message(frame)


def test_a_frame_above_the_limit_is_neither_sent_nor_received() -> None:
    narrow: Dialect[Said, Said] = Dialect(Decoder(Said), max_frame_bytes=64)
    message = Put("key", memoryview(bytes(100)))
    with pytest.raises(FrameTooLarge) as sent:
        narrow.frame(message)
    assert sent.value.fields["limit_bytes"] == 64
    with pytest.raises(FrameTooLarge):
        FrameSplitter(64).feed(bytes(DIALECT.frame(message)))


def test_a_message_of_another_dialect_is_refused_by_name() -> None:
    others: Dialect[Drop, Drop] = Dialect(Decoder(Drop))
    (frame,) = FrameSplitter().feed(bytes(DIALECT.frame(Put("key", memoryview(b"")))))
    with pytest.raises(PayloadInvalid, match="Invalid value 'Put'"):
        others.message(frame)
