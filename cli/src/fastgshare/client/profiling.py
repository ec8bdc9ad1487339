"""Asking the profiler for a function's table, and following how it grows.

The profiler reports at least every two seconds while a request stands, so silence means that it is gone,
and its successor has to be asked again.
"""

import math
from collections.abc import AsyncIterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus, NoAnswer
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import ProfileProgress, ProfileRequest, ProfileState

ASK_TIMEOUT_S = 2.0
SILENCE_S = 6.0
GIVE_UP_S = 30.0
RETRY_S = 0.25


async def profile(bus: Bus, function: FunctionName, again: bool) -> AsyncIterator[ProfileProgress]:
    """How far the table is, until it is complete or given up (then `state` is failed and `reason` says why).

    Raises:
        RequestRefused: no profiler answered for half a minute.
    """
    send, reports = anyio.create_memory_object_stream[ProfileProgress](math.inf)

    async def on_report(msg: Msg) -> None:
        try:
            send.send_nowait(decode(ProfileProgress, msg.data))
        except PayloadInvalid:
            return

    subscription = await bus.subscribe(subjects.profile_progress(function), on_report)
    with send, reports:
        try:
            progress: ProfileProgress | None = None
            while progress is None or progress.state is ProfileState.MEASURING:
                progress = await _next_report(reports) if progress is not None else None
                if progress is None:
                    progress = await _ask(bus, function, again)
                yield progress
        finally:
            await subscription.unsubscribe()


async def _ask(bus: Bus, function: FunctionName, again: bool) -> ProfileProgress:
    payload = encode(ProfileRequest(function=function, again=again))
    with anyio.move_on_after(GIVE_UP_S):
        while True:
            try:
                answer = await bus.request(subjects.profile(function), payload, ASK_TIMEOUT_S)
                return decode(ProfileProgress, answer.data)
            except NoAnswer:
                await anyio.sleep(RETRY_S)
    raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, f"no profiler answered within {GIVE_UP_S:g} s"))


async def _next_report(reports: MemoryObjectReceiveStream[ProfileProgress]) -> ProfileProgress | None:
    with anyio.move_on_after(SILENCE_S):
        return await reports.receive()
    return None
