"""An event loop's end of a channel: nothing is read twice, nothing is written in part, and a cancelled wait
loses nothing. What arrives faster than it is received stays in the socket, where it slows its sender down.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, cast

import anyio

from fastgshare.node_manager.ipc.frames import ChannelClosed, Dialect, FrameSplitter, FrameTooLarge, In, Out
from fastgshare.shared.units import BYTES_PER_MIB

UNREAD_LIMIT_BYTES = 8 * BYTES_PER_MIB
CLOSE_S = 1.0


class Channel(Generic[Out, In]):
    """Made by `open_channel`. One task receives; any may send."""

    def __init__(self, dialect: Dialect[Out, In], link: "_Link", transport: asyncio.Transport) -> None:
        self._dialect = dialect
        self._link = link
        self._transport = transport

    def send_nowait(self, message: Out) -> None:
        """Hand a message over without waiting for room, where the sender bounds what it has outstanding.

        Raises:
            ChannelClosed: the other process is gone.
            FrameTooLarge: the message does not fit a frame; nothing was sent.
        """
        if self._transport.is_closing():
            raise ChannelClosed(sending=type(message).__name__)
        self._transport.write(self._dialect.frame(message))

    async def send(self, message: Out) -> None:
        """Send a message, then wait while too much is not written yet. Raises as `send_nowait` does."""
        self.send_nowait(message)
        await self._link.writable.wait()

    async def receive(self) -> In | None:
        """The next message, or None once the other process is gone and everything it said was received.

        Raises:
            PayloadInvalid: a message not of this dialect.
            FrameTooLarge: the stream is lost.
        """
        link = self._link
        while not link.frames:
            if link.broken is not None:
                raise link.broken
            if link.closed.is_set():
                return None
            link.arrived = asyncio.get_running_loop().create_future()
            await link.arrived
        return self._dialect.message(link.take())

    async def aclose(self) -> None:
        """Send what was handed over, then close; what cannot be sent within a second is dropped."""
        self._transport.close()
        with anyio.move_on_after(CLOSE_S, shield=True):
            await self._link.closed.wait()
        self._transport.abort()


@asynccontextmanager
async def open_channel(sock: socket.socket, dialect: Dialect[Out, In]) -> AsyncIterator[Channel[Out, In]]:
    """A channel over one end of a socket pair, which it owns from here on."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, link = await loop.create_unix_connection(lambda: _Link(dialect.max_frame_bytes), sock=sock)
    channel = Channel(dialect, link, transport)
    try:
        yield channel
    finally:
        await channel.aclose()


class _Link(asyncio.Protocol):
    """The transport's side: frames as they arrive, and whether more may be written."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.frames: deque[memoryview] = deque()
        self.broken: FrameTooLarge | None = None
        self.closed = anyio.Event()
        self.writable = anyio.Event()
        self.writable.set()
        self.arrived: asyncio.Future[None] | None = None
        self._unread_bytes = 0
        self._paused = False
        self._splitter = FrameSplitter(max_frame_bytes)
        self._transport: asyncio.Transport | None = None

    def take(self) -> memoryview:
        frame = self.frames.popleft()
        self._unread_bytes -= frame.nbytes
        if self._paused and self._unread_bytes <= UNREAD_LIMIT_BYTES:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        return frame

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            frames = self._splitter.feed(data)
        except FrameTooLarge as error:
            self.broken = error
            self._transport.abort()
            return
        self.frames.extend(frames)
        self._unread_bytes += sum(frame.nbytes for frame in frames)
        if self._unread_bytes > UNREAD_LIMIT_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if frames:
            self._wake()

    def pause_writing(self) -> None:
        self.writable = anyio.Event()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        self.writable.set()
        self._wake()

    def _wake(self) -> None:
        if self.arrived is not None and not self.arrived.done():
            self.arrived.set_result(None)
