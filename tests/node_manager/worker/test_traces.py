"""What a worker keeps of what it serves, and what it says of it with the answer."""

from collections.abc import Iterable
from typing import cast

import pytest
from msgspec.structs import replace

from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.traces import ReplicaTraces, SpanTeller
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import AttemptId, DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import Timing
from fastgshare.shared.objective import CALLERS_DOING
from fastgshare.shared.telemetry.spans import Span
from fastgshare.shared.telemetry.spans_backlog import ROOM
from fastgshare.shared.telemetry.spans_request import BatchRun
from fastgshare.shared.tracing import derived_span, new_trace

TIMING = Timing(10, 20, 30, 2)
FAR_US = 1 << 60


class Collected:
    """Spans for a test to look at."""

    is_on = True
    has_room = True
    exported = 0
    dropped = 0

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, spans: Iterable[Span]) -> None:
        self.spans += spans

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def request(number: int = 1, sampled: bool = False, objective_us: int = FAR_US, traceparent: str = "") -> Request:
    one = Request("inbox", AttemptId(f"r{number}.2"), None, FAR_US, unix_us() - 100)
    one.traceparent = traceparent or new_trace(sampled).header()
    one.objective_us = objective_us
    return one


def batch_of(requests: int) -> BatchRun:
    return BatchRun(started_us=unix_us() - 50, used_us=30, rows=requests, requests=requests, left=requests)


async def told(teller: SpanTeller, collected: Collected) -> list[Span]:
    await teller.finish()
    return collected.spans


def scene() -> tuple[Collected, SpanTeller, ReplicaTraces]:
    collected = Collected()
    teller = SpanTeller(collected, DeviceId("n-cpu0"))
    return collected, teller, ReplicaTraces(teller, FunctionName("f"), ReplicaId("f-1"))


async def test_a_request_in_time_that_nobody_asked_about_leaves_nothing() -> None:
    collected, teller, traces = scene()
    batch = batch_of(2)
    assert traces.ended(request(), TIMING, None, batch) is TIMING
    assert traces.ended(request(objective_us=0), TIMING, None, batch) is TIMING
    assert await told(teller, collected) == []
    assert not batch.span


@pytest.mark.parametrize(("sampled", "objective_us"), [(True, FAR_US), (True, 0), (False, 1)])
async def test_one_that_is_sampled_or_late_says_when_and_in_which_batch(sampled: bool, objective_us: int) -> None:
    collected, teller, traces = scene()
    batch = batch_of(1)
    one = request(sampled=sampled, objective_us=objective_us)
    timing = traces.ended(one, TIMING, None, batch)
    assert timing.arrived_us == one.arrived_us <= timing.end_us <= unix_us()
    assert timing.batch_span == batch.span
    await told(teller, collected)
    (process,), (execute,), (of_batch,) = map(collected.named, ("process fast.replica", "execute", "batch"))
    assert process.parent_id == derived_span(one.traceparent[36:52], 2)
    assert f"{of_batch.trace_id}-{of_batch.span_id}" == batch.span
    assert [(link.trace_id, link.span_id) for link in of_batch.links] == [(execute.trace_id, execute.span_id)]


@pytest.mark.parametrize("code", [*ErrorCode])
async def test_a_failure_is_kept_unless_it_is_the_callers_own_doing(code: ErrorCode) -> None:
    collected, teller, traces = scene()
    traces.ended(request(), Timing(), ErrorBody(code, "no"), None)
    await told(teller, collected)
    assert [span.error for span in collected.spans] == ([] if code in CALLERS_DOING else [code])


async def test_a_batch_is_told_once_when_its_last_request_has_ended_with_links_to_those_that_are_kept() -> None:
    collected, teller, traces = scene()
    batch = batch_of(3)
    for number, sampled in enumerate((True, False, True), start=1):
        await teller.finish()
        assert collected.named("batch") == []
        traces.ended(request(number, sampled), TIMING, None, batch)
    await told(teller, collected)
    (span,) = collected.named("batch")
    assert [link.attributes["messaging.message.id"] for link in span.links] == ["r1.2", "r3.2"]
    assert span.attributes["fastgshare.batch.requests"] == 3


@pytest.mark.parametrize("traceparent", ["not-a-traceparent-1", f"00-{'0' * 32}-{'1' * 16}-01", "00-1-1-01"])
async def test_a_trace_that_is_none_is_not_kept(traceparent: str) -> None:
    collected, teller, traces = scene()
    assert traces.ended(request(traceparent=traceparent, objective_us=1), TIMING, None, None) is TIMING
    assert await told(teller, collected) == []


async def test_spans_that_cannot_be_made_cost_themselves_alone() -> None:
    collected, teller, traces = scene()
    far = replace(TIMING, queue_us=cast(int, None))
    traces.ended(request(1, sampled=True), far, None, None)
    traces.ended(request(2, sampled=True), TIMING, None, None)
    spans = await told(teller, collected)
    assert {span.attributes.get("messaging.message.id") for span in spans} - {None} == {"r2.2"}
    assert teller.dropped == 1


async def test_samples_leave_room_for_what_missed_its_objective() -> None:
    _, _, traces = scene()
    kept = [traces.ended(request(sampled=True), TIMING, None, None) is not TIMING for _ in range(ROOM)]
    assert sum(kept) == ROOM // 4
    assert traces.ended(request(objective_us=1), TIMING, None, None) is not TIMING


async def test_an_answer_in_parts_is_judged_by_its_first() -> None:
    _, _, traces = scene()
    now_us = unix_us()
    in_time = replace(TIMING, first_us=now_us - 50)
    assert traces.ended(request(objective_us=now_us - 50), in_time, None, None) is in_time
    assert traces.ended(request(objective_us=now_us - 51), in_time, None, None) is not in_time


async def test_the_end_does_not_wait_for_room() -> None:
    collected, teller, traces = scene()
    collected.has_room = False
    traces.ended(request(sampled=True), TIMING, None, None)
    assert await told(teller, collected) == []


async def test_without_a_trace_there_is_nothing_to_keep() -> None:
    collected, teller, traces = scene()
    one = request(objective_us=1)
    one.traceparent = ""
    assert traces.ended(one, TIMING, None, None) is TIMING
    assert await told(teller, collected) == []
