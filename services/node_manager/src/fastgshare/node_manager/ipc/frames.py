"""A frame is a 4-byte little-endian length and one msgspec msgpack message. Pure: bytes in, messages out.

A `Dialect` names what one end sends and hears, so that both ends are typed. Frames are bounded, so that a
child gone wrong cannot fill its parent's memory.
"""

import struct
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from fastgshare.shared.errors import FastGShareError, PayloadInvalid
from fastgshare.shared.units import BYTES_PER_MIB

MAX_FRAME_BYTES = 256 * BYTES_PER_MIB
_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()

Out = TypeVar("Out", bound=msgspec.Struct)
In = TypeVar("In", bound=msgspec.Struct)


class ChannelClosed(FastGShareError):
    """The process at the other end is gone, so nothing can be sent to it: field `sending`."""


class FrameTooLarge(FastGShareError):
    """A message does not fit a frame: fields `size_bytes`, `limit_bytes`."""


@dataclass(frozen=True)
class Dialect(Generic[Out, In]):
    """What one end of a channel sends and hears.

    Annotated where it is made: `PARENT: Dialect[Request, Reply] = Dialect(msgpack_decoder(Reply))`, with its mirror
    image for the child beside it.
    """

    hears: "msgspec.msgpack.Decoder[In]"
    max_frame_bytes: int = MAX_FRAME_BYTES

    def frame(self, message: Out) -> bytearray:
        """`message` as it travels. Raises FrameTooLarge."""
        frame = bytearray(_LENGTH.size)
        _encoder.encode_into(message, frame, _LENGTH.size)
        size_bytes = len(frame) - _LENGTH.size
        if size_bytes > self.max_frame_bytes:
            raise FrameTooLarge(size_bytes=size_bytes, limit_bytes=self.max_frame_bytes)
        _LENGTH.pack_into(frame, 0, size_bytes)
        return frame

    def message(self, frame: memoryview) -> In:
        """A received frame's message; its byte fields are views into the frame. Raises PayloadInvalid."""
        try:
            return self.hears.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PayloadInvalid(expected=str(self.hears.type), reason=str(error)) from error


class FrameSplitter:
    """Cuts a stream into frames, however its pieces fall; a frame that one piece holds is a view of that
    piece."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._tail = bytearray()
        self._needed_bytes = _LENGTH.size

    def feed(self, piece: bytes | bytearray) -> list[memoryview]:
        """The frames that `piece` completes. Raises FrameTooLarge: the stream is of no use from there on."""
        if self._tail:
            self._tail += piece
            if len(self._tail) < self._needed_bytes:
                return []
            piece, self._tail = self._tail, bytearray()
        view, position = memoryview(piece), 0
        frames: list[memoryview] = []
        while (end := self._end_of_frame(view, position)) <= len(view):
            frames.append(view[position + _LENGTH.size : end])
            position = end
        self._needed_bytes = end - position
        self._tail = bytearray(view[position:])
        return frames

    def _end_of_frame(self, view: memoryview, position: int) -> int:
        start = position + _LENGTH.size
        if start > len(view):
            return start
        size_bytes = int(_LENGTH.unpack_from(view, position)[0])
        if size_bytes > self._max_frame_bytes:
            raise FrameTooLarge(size_bytes=size_bytes, limit_bytes=self._max_frame_bytes)
        return start + size_bytes
