"""A caller that sends all of a large message but its end, as fast as it is let: HTTP/2 by hand, which counts bytes."""

import asyncio
import struct

from fastgshare.gateway.grpc.service import SERVICE

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_HEADERS = 1, 4
FIRST_WINDOW = 65_535
MOST_IN_FRAME = 16_384
_WINDOW_SETTING = 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", f"/{SERVICE}/ModelInfer"),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


def frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    return struct.pack(">I", len(data))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + data


def literal(name: str, value: str) -> bytes:
    """A header without compression."""
    return b"\0" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))


class HalfSender:
    """One connection, one call; `sent_bytes` is what the server's windows let through."""

    def __init__(self, size_bytes: int) -> None:
        self.sent_bytes = 0
        self._size_bytes = size_bytes
        self._begin = b"\0" + struct.pack(">I", size_bytes)
        self._connection = self._stream = self._first = FIRST_WINDOW
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @property
    def is_sent(self) -> bool:
        """Whether all is sent but the last byte."""
        return self.sent_bytes == len(self._begin) + self._size_bytes - 1

    async def run(self, host: str, port: int) -> None:
        """Send for as long as it is not cancelled."""
        self._reader, self._writer = await asyncio.open_connection(host, port)
        try:
            head = b"".join(literal(*header) for header in _HEADERS)
            self._writer.write(_PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, head))
            while True:
                await self._send()
                await self._hear()
        finally:
            self._writer.close()

    async def _send(self) -> None:
        while not self.is_sent and (room := min(self._connection, self._stream, MOST_IN_FRAME)) > 0:
            size_bytes = min(room, len(self._begin) + self._size_bytes - 1 - self.sent_bytes)
            data = self._begin + bytes(size_bytes - len(self._begin)) if not self.sent_bytes else bytes(size_bytes)
            self._writer.write(frame(DATA, 0, 1, data))
            self.sent_bytes += size_bytes
            self._connection -= size_bytes
            self._stream -= size_bytes
            await self._writer.drain()

    async def _hear(self) -> None:
        head = await self._reader.readexactly(9)
        data = await self._reader.readexactly(int.from_bytes(head[:3]))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
        if kind == WINDOW_UPDATE and stream:
            self._stream += int.from_bytes(data)
        elif kind == WINDOW_UPDATE:
            self._connection += int.from_bytes(data)
        elif kind == SETTINGS and not flags & ACK:
            for setting, value in struct.iter_unpack(">HI", data):
                if setting == _WINDOW_SETTING:
                    self._stream += value - self._first
                    self._first = value
            self._writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, data))
