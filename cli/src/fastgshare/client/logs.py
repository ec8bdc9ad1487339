"""The events about one function, out of the stream that keeps them.

Read one by one from a position, so there is no consumer that a server restart could lose; what is published
on the bus meanwhile only says that it is time to look.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

import anyio
from nats.aio.msg import Msg
from nats.js import api
from nats.js import errors as js_errors

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import Event

LOOK_AGAIN_S = 1.0


class Kept(NamedTuple):
    """An event and its position in the stream."""

    position: int
    event: Event


async def last_event(bus: Bus, function: FunctionName) -> Event | None:
    """The newest event about `function`. Raises StorageUnavailable."""
    kept = await last_kept(bus, function)
    return None if kept is None else kept.event


async def last_kept(bus: Bus, function: FunctionName, kind: str = "*") -> Kept | None:
    """The newest event about `function` of a kind (`*`: of any). Raises StorageUnavailable."""
    try:
        found = await bus.jetstream.get_last_msg(subjects.EVENT_STREAM, subjects.event(kind, function))
    except js_errors.NotFoundError:
        return None
    except BUS_FAULTS as error:
        raise _unavailable(function, error) from error
    event = _read(found.data)
    return None if event is None else Kept(found.seq or 0, event)


async def kept_events(bus: Bus, function: FunctionName) -> AsyncIterator[Event]:
    """Every kept event about `function`, oldest first. Raises StorageUnavailable."""
    position = 0
    while (found := await _next(bus, function, position + 1)) is not None:
        position = found.seq or position + 1
        if (event := _read(found.data)) is not None:
            yield event


async def all_events(bus: Bus, function: FunctionName) -> AsyncIterator[Event]:
    """Every event about `function`, kept and to come, for ever; an absent server is waited for."""
    published = anyio.Event()

    async def on_published(_: Msg) -> None:
        published.set()

    subscription = await bus.subscribe(subjects.function_events(function), on_published)
    try:
        position = 0
        while True:
            published = anyio.Event()
            try:
                found = await _next(bus, function, position + 1)
            except StorageUnavailable:
                found = None
            if found is None:
                with anyio.move_on_after(LOOK_AGAIN_S):
                    await published.wait()
                continue
            position = found.seq or position + 1
            if (event := _read(found.data)) is not None:
                yield event
    finally:
        await subscription.unsubscribe()


async def _next(bus: Bus, function: FunctionName, start: int) -> api.RawStreamMsg | None:
    subject = subjects.function_events(function)
    try:
        return await bus.jetstream.get_msg(subjects.EVENT_STREAM, seq=start, subject=subject, next=True)
    except js_errors.NotFoundError:
        return None
    except BUS_FAULTS as error:
        raise _unavailable(function, error) from error


def _read(data: bytes | None) -> Event | None:
    try:
        return decode(Event, data or b"")
    except PayloadInvalid:
        return None


def _unavailable(function: FunctionName, error: Exception) -> StorageUnavailable:
    reason = str(error) or type(error).__name__
    return StorageUnavailable(bucket=subjects.EVENT_STREAM, key=function, reason=reason)
