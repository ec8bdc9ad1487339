"""What was used of devices, added up from the records that nodes wrote: what a bill is made of.

A record counts by its end, and once, however often it is in the stream.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import msgspec
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext, api

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import FunctionUsage, UsageRecord
from fastgshare.shared.units import US_PER_S, us_to_s

BATCH = 500
FETCH_S = 5.0
ATTEMPTS = 3
IDLE_S = 30.0
SKEW_S = 60.0
"""How far the clocks of nodes and the NATS server may be apart."""
_US_PER_HOUR = 3_600 * US_PER_S
_S_PER_HOUR = 3_600
_MIB_PER_GIB = 1_024


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a bill. Times in SM hours, memory in GiB hours; `cost` is what was used times the price."""

    name: str
    used: float
    promised: float
    profiling: float
    memory: float
    requests: int
    batches: int
    cost: float | None = None


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What was used between `since_us` and `until_us` (Unix microseconds), by line, and in all."""

    since_us: int
    until_us: int
    by: str
    lines: tuple[Line, ...]
    total: Line


def _by_function(record: UsageRecord, function: str) -> str:
    return function


def _by_device(record: UsageRecord, function: str) -> str:
    return record.device


def _by_node(record: UsageRecord, function: str) -> str:
    return record.node


def _by_day(record: UsageRecord, function: str) -> str:
    return f"{datetime.fromtimestamp(us_to_s(record.to_us), UTC):%Y-%m-%d}"


LINES: dict[str, Callable[[UsageRecord, str], str]] = {
    "function": _by_function,
    "device": _by_device,
    "node": _by_node,
    "day": _by_day,
}
"""What a bill may have a line for each of; days are UTC's."""


class Ledger:
    """Adds records up, in the order in which they are in the stream."""

    def __init__(self, by: str, since_us: int) -> None:
        self._name_of = LINES[by]
        self._by = by
        self._since_us = since_us
        self._sums: dict[str, FunctionUsage] = {}
        self._last: dict[tuple[str, str], int] = {}

    def add(self, record: UsageRecord) -> None:
        """Count it, unless it was counted or ended before the time in question."""
        life = (record.device, record.incarnation)
        if record.sequence <= self._last.get(life, 0):
            return
        self._last[life] = record.sequence
        if record.to_us <= self._since_us:
            return
        for function, usage in record.functions.items():
            name = self._name_of(record, function)
            self._sums[name] = self._sums.get(name, FunctionUsage()).plus(usage)

    def bill(self, until_us: int, price: float | None) -> Bill:
        """What was counted so far, at `price` for an SM hour."""
        total = FunctionUsage()
        for usage in self._sums.values():
            total = total.plus(usage)
        return Bill(
            since_us=self._since_us,
            until_us=until_us,
            by=self._by,
            lines=tuple(_line(name, self._sums[name], price) for name in sorted(self._sums)),
            total=_line("total", total, price),
        )


async def usage_since(bus: Bus, since_us: int) -> AsyncIterator[UsageRecord]:
    """Every record that was written since then; what does not decode is left out.

    Raises StorageUnavailable: not all of them could be read, so what was added up is not the bill.
    """
    config = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_TIME,
        opt_start_time=datetime.fromtimestamp(us_to_s(since_us) - SKEW_S, UTC),
        ack_policy=api.AckPolicy.NONE,
        inactive_threshold=IDLE_S,
    )
    try:
        reading = await bus.jetstream.pull_subscribe(subjects.USAGE_ALL, stream=subjects.USAGE_STREAM, config=config)
        async for message in _all_of(reading):
            if (record := _read(message.data)) is not None:
                yield record
        await reading.unsubscribe()
    except BUS_FAULTS as error:
        reason = str(error) or type(error).__name__
        raise StorageUnavailable(bucket=subjects.USAGE_STREAM, key="", reason=reason) from error


async def _all_of(reading: JetStreamContext.PullSubscription) -> AsyncIterator[Msg]:
    """What there is now. Raises what nats-py raises."""
    read = fruitless = 0
    left = (await reading.consumer_info()).num_pending or 0
    while left > 0:
        try:
            messages = await reading.fetch(min(left, BATCH), FETCH_S)
        except NatsTimeout:
            info = await reading.consumer_info()
            if info.delivered is not None and info.delivered.consumer_seq > read:
                raise  # sent and never received, and nothing is sent twice here
            left = min(left, info.num_pending or 0)  # 0: what was there is gone, the stream drops its oldest
            fruitless += 1
            if left and fruitless >= ATTEMPTS:
                raise
            continue
        fruitless = 0
        for message in messages:
            read, left = read + 1, left - 1
            yield message


def _read(data: bytes) -> UsageRecord | None:
    try:
        return decode(UsageRecord, data)
    except PayloadInvalid:
        return None


def _line(name: str, usage: FunctionUsage, price: float | None) -> Line:
    used = usage.sm_us / _US_PER_HOUR
    return Line(
        name=name,
        used=used,
        promised=usage.promised_sm_us / _US_PER_HOUR,
        profiling=usage.profiling_sm_us / _US_PER_HOUR,
        memory=usage.memory_mib_s / _MIB_PER_GIB / _S_PER_HOUR,
        requests=usage.requests,
        batches=usage.batches,
        cost=None if price is None else used * price,
    )
