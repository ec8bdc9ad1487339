"""Telling of kept requests: what is odd or finds no room costs itself alone, and is counted."""

from collections.abc import Iterable
from typing import cast

from msgspec.structs import replace

from fastgshare.gateway.adapters.traces import TraceTeller
from fastgshare.gateway.core.fleet import Fleet
from fastgshare.gateway.core.keeping import Keeper
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import GatewayId, RequestId
from fastgshare.shared.messages import RequestTrace
from fastgshare.shared.telemetry.spans import Span
from fastgshare.shared.telemetry.spans_backlog import Backlog
from tests.shared.test_spans import SERVED, attempt, trace


class Collector:
    """Takes `room` requests' spans, none of a trace that it cannot read."""

    is_on = True
    exported = 0
    dropped = 7

    def __init__(self, room: int = 100) -> None:
        self.traces: list[str] = []
        self._room = room

    @property
    def has_room(self) -> bool:
        return len(self.traces) < self._room

    def put(self, spans: Iterable[Span]) -> None:
        trace_id = next(iter(spans)).trace_id
        int(trace_id, 16)
        self.traces.append(trace_id)


class FakeBus:
    def __init__(self) -> None:
        self.published: list[str] = []

    async def publish(self, subject: str, _payload: bytes) -> None:
        self.published.append(subject)


def scene(collector: Collector, *kept: RequestTrace) -> tuple[TraceTeller, FakeBus]:
    bus = FakeBus()
    backlog: Backlog[RequestTrace] = Backlog()
    for one in kept:
        backlog.put(one)
    return TraceTeller(cast(Bus, bus), Keeper(GatewayId("g"), Fleet(), backlog), collector), bus


async def test_what_cannot_be_told_is_counted_and_holds_up_nothing() -> None:
    odd_id = trace(request=RequestId("\udcff"))
    odd_batch = trace(attempt(), timing=replace(SERVED, arrived_us=0, batch_span="no-span"))
    collector = Collector()
    teller, bus = scene(collector, trace(trace_id="no number"), odd_id, odd_batch, trace())
    await teller.finish()
    assert len(bus.published) == 3
    assert collector.traces == [trace().trace_id] * 3
    assert (teller.dropped, teller.spans_dropped) == (2, 7)


async def test_a_collector_without_room_is_not_waited_for() -> None:
    collector = Collector(room=16)
    teller, bus = scene(collector, *[trace()] * 100)
    await teller.finish()
    assert (len(bus.published), len(collector.traces)) == (100, 16)
