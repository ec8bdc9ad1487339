"""The spans of one request: one tree whatever the clocks said, and the worker's told by whoever knows."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.shared.ids import AttemptId, DeviceId, FunctionName, GatewayId, ReplicaId, RequestId
from fastgshare.shared.messages import RequestTrace, Timing, TracedAttempt
from fastgshare.shared.telemetry.spans import Span
from fastgshare.shared.telemetry.spans_request import BatchRun, Served, batch_span, request_spans, served_spans
from fastgshare.shared.telemetry.spans_stages import stages

T0 = 1_700_000_000_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
BATCH = f"{'ab' * 16}-{'cd' * 8}"
SERVED = Timing(2_000, 1_000, 4_000, 3, 900, T0 + 500, T0 + 9_000, BATCH, 400)


def attempt(number: int = 1, sent_us: int = 100, lost_us: int = 0) -> TracedAttempt:
    return TracedAttempt(
        attempt=AttemptId(f"r.{number}"),
        replica=ReplicaId(f"f-{number}"),
        device=DeviceId("n-cpu0"),
        sent_us=T0 + sent_us,
        lost_us=T0 + lost_us if lost_us else 0,
    )


def trace(
    *attempts: TracedAttempt, timing: Timing | None = None, end_us: int = 10_000, **fields: object
) -> RequestTrace:
    record = RequestTrace(
        trace_id=TRACE,
        span_id=SPAN,
        request=RequestId("r"),
        function=FunctionName("f"),
        gateway=GatewayId("g"),
        arrived_us=T0,
        end_us=T0 + end_us,
        outcome="answered",
        is_met=True,
        objective_us=T0 + 20_000,
        deadline_us=T0 + 1_000_000,
        attempts=attempts,
        timing=timing,
    )
    return replace(record, **fields)


def laid_out(record: RequestTrace) -> list[tuple[str, int, int]]:
    return [(stage.name, stage.start_us - T0, stage.end_us - T0) for stage in stages(record)]


def by_name(spans: list[Span]) -> Mapping[str, Span]:
    return {span.name: span for span in spans}


def test_stages_follow_each_other_from_arrival_to_answer() -> None:
    assert laid_out(trace(attempt(), timing=SERVED)) == [
        ("admit", 0, 100),
        ("route", 100, 500),
        ("handler", 500, 900),
        ("queue", 900, 2_900),
        ("token_wait", 2_900, 3_900),
        ("execute", 3_900, 7_900),
        ("handler", 8_500, 9_000),
        ("reply", 9_000, 10_000),
    ]


def test_an_answer_in_parts_is_made_until_its_end() -> None:
    assert laid_out(trace(attempt(), timing=replace(SERVED, first_us=T0 + 8_400)))[-3:] == [
        ("execute", 3_900, 7_900),
        ("handler", 7_900, 9_000),
        ("reply", 9_000, 10_000),
    ]


def test_a_batch_that_is_none_is_not_linked() -> None:
    spans = by_name(served_spans(replace(served(), timing=replace(SERVED, batch_span="ab-cd"))))
    assert spans["execute"].links == ()


def test_a_request_that_was_held_and_lost_once_shows_both() -> None:
    record = trace(attempt(1, 3_000, 5_000), attempt(2, 5_100), held_us=T0 + 50, timing=Timing(execute_us=2_000))
    assert laid_out(record) == [
        ("admit", 0, 50),
        ("hold", 50, 3_000),
        ("route", 3_000, 5_000),
        ("route", 5_100, 6_550),
        ("execute", 6_550, 8_550),
        ("reply", 8_550, 10_000),
    ]


def test_a_refusal_is_all_admission_and_one_that_nobody_answered_all_route() -> None:
    assert laid_out(trace(outcome="overloaded")) == [("admit", 0, 10_000)]
    assert laid_out(trace(held_us=T0 + 7, outcome="unavailable")) == [("admit", 0, 7), ("hold", 7, 10_000)]
    assert laid_out(trace(attempt(), outcome="deadline_exceeded")) == [("admit", 0, 100), ("route", 100, 10_000)]


def test_the_worker_tells_of_itself_and_else_the_gateway_does_in_its_name() -> None:
    silent = trace(attempt(), timing=replace(SERVED, arrived_us=0, end_us=0, batch_span=""))
    told_by_gateway = by_name(request_spans(silent))
    told = by_name(request_spans(trace(attempt(), timing=SERVED)))
    own = by_name(served_spans(served()))
    assert "execute" not in told
    assert told_by_gateway.keys() == told.keys() | own.keys()
    assert told_by_gateway["execute"].attributes["fastgshare.reported_by"] == "gateway"
    assert told_by_gateway["execute"].span_id == own["execute"].span_id
    assert own["process fast.replica"].parent_id == told["route"].span_id


def served(number: int = 1) -> Served:
    return Served(
        trace_id=TRACE,
        span_id=SPAN,
        attempt=AttemptId(f"r.{number}"),
        number=number,
        function=FunctionName("f"),
        replica=ReplicaId("f-1"),
        timing=SERVED,
    )


def test_a_batch_and_its_requests_name_each_other() -> None:
    batch = BatchRun(started_us=T0, used_us=9, rows=4, requests=3, left=0, span=BATCH, members=[served()])
    span = batch_span(batch)
    execute = by_name(served_spans(served()))["execute"]
    assert f"{span.trace_id}-{span.span_id}" == BATCH
    assert [(link.trace_id, link.span_id) for link in span.links] == [(TRACE, execute.span_id)]
    assert [(link.trace_id, link.span_id) for link in execute.links] == [(span.trace_id, span.span_id)]
    assert (span.attributes["fastgshare.batch.size"], span.attributes["fastgshare.batch.requests"]) == (4, 3)


def test_attempts_have_spans_of_their_own() -> None:
    spans = [*served_spans(served(1)), *served_spans(served(2)), *request_spans(trace(attempt(1), attempt(2)))]
    assert len({span.span_id for span in spans}) == len(spans)


def test_the_door_decides_name_kind_and_conventions() -> None:
    doors = ("nats", "http", "http_stream", "grpc", "grpc_stream", "job")
    roots = {door: request_spans(trace(door=door, outcome="overloaded"))[0] for door in doors}
    assert roots["http"].attributes["http.response.status_code"] == 429
    assert roots["nats"].attributes["messaging.destination.name"] == "fast.invoke.f"
    assert roots["grpc"].attributes["rpc.system"] == "grpc"
    assert roots["http_stream"].name == "POST /v2/models/{model}/infer_stream"
    assert roots["grpc_stream"].name == "inference.GRPCInferenceService/ModelStreamInfer"
    assert {root.error for root in roots.values()} == {"overloaded"}
    assert roots["job"].name == "process job"


offsets = st.integers(-50_000, 50_000)
durations = st.integers(0, 60_000)


@given(
    sent=st.lists(st.tuples(offsets, offsets), max_size=3),
    held=offsets,
    end_us=durations,
    parts=st.tuples(durations, durations, durations, durations, durations),
    on_worker=st.tuples(offsets, offsets) | st.none(),
    has_timing=st.booleans(),
)
def test_whatever_the_clocks_say_it_is_one_tree_and_nothing_lies_outside_of_the_request(
    sent: list[tuple[int, int]],
    held: int,
    end_us: int,
    parts: tuple[int, int, int, int, int],
    on_worker: tuple[int, int] | None,
    has_timing: bool,
) -> None:
    queue_us, token_us, execute_us, before_us, after_us = parts
    timing = Timing(queue_us, token_us, execute_us, 2, before_us + after_us, before_us=before_us)
    if on_worker is not None:
        timing = replace(timing, arrived_us=T0 + on_worker[0], end_us=T0 + on_worker[1], batch_span=BATCH)
    tries = [attempt(number, sent_us, lost_us) for number, (sent_us, lost_us) in enumerate(sent, start=1)]
    record = trace(*tries, timing=timing if has_timing else None, end_us=end_us, held_us=T0 + held if held > 0 else 0)
    spans = request_spans(record)
    ids = {span.span_id for span in spans}
    assert len(ids) == len(spans)
    for span in spans[1:]:
        assert span.parent_id in ids
    for span in spans:
        assert record.arrived_us <= span.start_us <= span.end_us <= record.end_us
