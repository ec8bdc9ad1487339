"""A keep-alive HTTP/1.1 client with nothing in it: it must cost less than what it measures.

Understands what both servers answer with: a status line, headers with Content-Length, a body.
"""

import asyncio
from typing import cast

_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight. Made by `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._head_bytes = -1
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape only

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._head_bytes < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head_bytes = end + 4
            self._body_bytes = _content_length(bytes(self._received[:end]))
        if len(self._received) >= self._head_bytes + self._body_bytes and self._answer is not None:
            status = int(self._received[9:12])
            body = bytes(self._received[self._head_bytes :])
            self._received.clear()
            self._head_bytes = -1
            self._answer.set_result((status, body))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """A whole request, as it goes over the wire, to its status and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(host: str, port: int) -> Connection:
    """An open connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


def post(path: str, body: bytes, host: str) -> bytes:
    """A JSON request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(_LENGTH):
            return int(line[len(_LENGTH) :])
    raise ValueError("an answer without Content-Length")
