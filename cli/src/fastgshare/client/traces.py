"""Traces that gateways kept, out of the stream that has them for a day.

A request's are read one by one, as events are; lists by a consumer that lives for one reading.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from nats.js import api
from nats.js import errors as js_errors

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable
from fastgshare.shared.bus import CONTROL_TIMEOUT_S, Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.ids import FunctionName, RequestId, is_name
from fastgshare.shared.messages import RequestTrace

ANY = FunctionName("*")
TRACE_DIGITS = 32
FIRST_WINDOW = 64
WIDER = 8
MOST_READ = 20_000
CONSUMER_S = 10.0


async def find_traces(bus: Bus, wanted: str) -> list[RequestTrace]:
    """Those of a request or of a trace by its id, oldest first. Raises StorageUnavailable."""
    if wanted == ANY:
        return []
    found = [trace async for _, trace in _read(bus, subjects.trace(ANY, RequestId(wanted), "*"), 1)]
    if not found and is_trace_id(wanted):
        found = [trace async for _, trace in _read(bus, subjects.trace(ANY, RequestId("*"), wanted), 1)]
    return found


async def last_traces(
    bus: Bus, count: int, function: str = ANY, fits: Callable[[RequestTrace], bool] = lambda _: True
) -> list[RequestTrace]:
    """The `count` newest, of `function` if it is given, that fit; oldest first. At most 20,000 are looked at.

    Raises:
        StorageUnavailable: JetStream did not answer.
    """
    if function != ANY and not is_name(function):
        return []
    subject = subjects.trace(FunctionName(function), RequestId("*"), "*")
    first, end = await _span(bus)
    found: list[RequestTrace] = []
    window, looked = FIRST_WINDOW + count, 0
    while end > first and len(found) < count and looked < MOST_READ:
        start = max(end - window, first)
        read = await _read_many(bus, subject, start, end)
        looked += len(read)
        found = [trace for trace in read if fits(trace)] + found
        end, window = start, window * WIDER
    return found[-count:]


def is_trace_id(text: str) -> bool:
    """Whether it looks like a trace's id: 32 hex digits."""
    return len(text) == TRACE_DIGITS and all(digit in "0123456789abcdef" for digit in text)


async def _span(bus: Bus) -> tuple[int, int]:
    """The stream's first position, and the one behind its last."""
    try:
        state = (await bus.jetstream.stream_info(subjects.TRACE_STREAM)).state
    except js_errors.NotFoundError:
        return 0, 0
    except BUS_FAULTS as error:
        raise _unavailable(error) from error
    return max(state.first_seq, 1), state.last_seq + 1


async def _read(bus: Bus, subject: str, start: int) -> AsyncIterator[tuple[int, RequestTrace]]:
    """Every kept trace on `subject` from a position on, with its own."""
    while (found := await _next(bus, subject, start)) is not None:
        position = found.seq or start
        start = position + 1
        try:
            yield position, decode(RequestTrace, found.data or b"")
        except PayloadInvalid:
            continue


async def _read_many(bus: Bus, subject: str, start: int, end: int) -> list[RequestTrace]:
    """Those on `subject` between two positions, the second excluded."""
    config = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=start,
        ack_policy=api.AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=CONSUMER_S,
    )
    found: list[RequestTrace] = []
    try:
        reader = await bus.jetstream.subscribe(subject, stream=subjects.TRACE_STREAM, config=config)
        try:
            info = await reader.consumer_info()
            delivered = info.delivered.consumer_seq if info.delivered is not None else 0
            for _ in range(delivered + (info.num_pending or 0)):
                msg = await reader.next_msg(CONTROL_TIMEOUT_S)
                if msg.metadata.sequence.stream >= end:
                    break
                with suppress(PayloadInvalid):
                    found.append(decode(RequestTrace, msg.data))
        finally:
            await reader.unsubscribe()
    except BUS_FAULTS as error:
        raise _unavailable(error) from error
    return found


async def _next(bus: Bus, subject: str, start: int) -> api.RawStreamMsg | None:
    try:
        return await bus.jetstream.get_msg(subjects.TRACE_STREAM, seq=start, subject=subject, next=True)
    except js_errors.NotFoundError:
        return None
    except BUS_FAULTS as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageUnavailable:
    reason = str(error) or type(error).__name__
    return StorageUnavailable(bucket=subjects.TRACE_STREAM, key="", reason=reason)
