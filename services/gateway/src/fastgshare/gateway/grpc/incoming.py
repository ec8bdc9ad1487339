"""Messages on their way in, which have a bound in bytes although gRPC does not say how large one will be.

Each that may come has a place, and there are as many places as the largest messages fit into `max_incoming_bytes`. A
call has one until its message is there, a stream as long as its caller may send; streams leave some to calls. Who finds
no place is refused without having been read. What has come counts among the bodies that the gateway holds.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from fastgshare.gateway.grpc.calls import Context
from fastgshare.gateway.grpc.settings import GrpcSettings
from fastgshare.gateway.http.body import Hold
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused

RETRY_AFTER_MS = 1000
_UNREADABLE = ErrorBody(ErrorCode.INVALID, "the message is not what this call takes")
_NOTHING = ErrorBody(ErrorCode.INVALID, "no message came with this call")


class Incoming(NamedTuple):
    """A message, and how many bytes it came in; None where they were no such message."""

    message: Any
    size_bytes: int


def parsed(kind: Any) -> Callable[[bytes], Incoming]:
    """How a call's messages are read."""

    def parse(data: bytes) -> Incoming:
        try:
            return Incoming(kind.FromString(data), len(data))
        except DecodeError:
            return Incoming(None, len(data))

    return parse


def message_in(incoming: Incoming, hold: Hold) -> Any:
    """The message, once `hold` has its bytes. Raises RequestRefused."""
    hold.grow(incoming.size_bytes)
    if incoming.message is None:
        raise RequestRefused(_UNREADABLE)
    return incoming.message


class Place:
    """Where messages of one call may come; given back once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def give_back(self) -> None:
        """No more will come."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None


class Places:
    """The places of one door."""

    def __init__(self, settings: GrpcSettings) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(settings.places)
        self._calls = self._streams = 0

    def enter(self) -> None:
        """A call begins, whatever becomes of it."""
        self._calls += 1

    def leave(self) -> None:
        """A call has ended."""
        self._calls -= 1

    async def receive(self, context: Context, hold: Hold) -> Any:
        """The one message of a call, held. Raises RequestRefused: no place, it did not come, no room, unreadable."""
        await self._take()
        try:
            async with asyncio.timeout(self._settings.message_timeout_s):
                incoming = await context.read()
        except TimeoutError:
            message = f"the message did not arrive within {self._settings.message_timeout_s:g} s"
            raise RequestRefused(ErrorBody(ErrorCode.DEADLINE_EXCEEDED, message)) from None
        finally:
            self._free.release()
        if incoming is grpc.aio.EOF:
            raise RequestRefused(_NOTHING)
        return message_in(incoming, hold)

    async def for_stream(self) -> Place:
        """A place for as long as a stream's caller may send. Raises RequestRefused."""
        most = self._settings.streams
        if self._streams >= most:
            raise _full(f"the callers of {most} streams may send, the limit")
        self._streams += 1
        try:
            await self._take()
        except BaseException:
            self._streams -= 1
            raise
        return Place(self._end_stream)

    def _end_stream(self) -> None:
        self._streams -= 1
        self._free.release()

    async def _take(self) -> None:
        if self._calls > self._settings.max_calls:
            raise _full(f"{self._settings.max_calls} calls are under way, the limit")
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._settings.place_patience_s):
                await self._free.acquire()
        except TimeoutError:
            raise _full(f"{self._settings.places} messages are on their way in, the limit") from None


def _full(message: str) -> RequestRefused:
    return RequestRefused(ErrorBody(ErrorCode.OVERLOADED, message, RETRY_AFTER_MS))
