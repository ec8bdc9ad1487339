"""A request's spans: the gateway's from its record, the worker's from what it served, and those of batches.

Who makes a span derives its id from the request's, so that gateway and worker name each other's spans without asking.
docs/reference/traces.md has the table of names and attributes.
"""

from collections.abc import Iterable

import msgspec

from fastgshare.shared import subjects
from fastgshare.shared.errors import HTTP_STATUS, ErrorCode
from fastgshare.shared.ids import AttemptId, DeviceId, FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import RequestTrace, Timing
from fastgshare.shared.telemetry.spans import Kind, Link, Span, Value
from fastgshare.shared.telemetry.spans_stages import (
    ADMIT,
    EXECUTE,
    HOLD,
    POSTPROCESS,
    PREPROCESS,
    QUEUE,
    REPLY,
    ROUTE,
    TOKEN_WAIT,
    Stage,
    process,
    stages,
    worker_stages,
)
from fastgshare.shared.tracing import derived_span, parse_traceparent
from fastgshare.shared.units import US_PER_MS

ANSWERED = "answered"
HTTP_OK = 200
REPLICA_TEMPLATE = "fast.replica.{replica}"
INVOKE_TEMPLATE = "fast.invoke.{function}"
_HTTP_ROUTES = {"http": "/v2/models/{model}/infer", "http_stream": "/v2/models/{model}/infer_stream"}
_GRPC_METHODS = {"grpc": "ModelInfer", "grpc_stream": "ModelStreamInfer"}
_OF_GATEWAY = {ADMIT: 1001, HOLD: 1002, REPLY: 1003}
_PROCESS = 2000
_OF_WORKER = {QUEUE: 1, TOKEN_WAIT: 2, EXECUTE: 3, PREPROCESS: 4, POSTPROCESS: 5}
_WORKER_FROM, _WORKER_STRIDE = 3000, 8


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a request as its worker saw it; `span_id` is the gateway's, `number` the attempt's, from 1.

    `timing` has `arrived_us` and `end_us` set. `outcome` is `answered` or an error code.
    """

    trace_id: str
    span_id: str
    attempt: AttemptId
    number: int
    function: FunctionName
    replica: ReplicaId
    timing: Timing
    outcome: str = ANSWERED
    node: NodeId = NodeId("")
    device: DeviceId = DeviceId("")
    reported_by: str = ""


class BatchRun(msgspec.Struct, kw_only=True):
    """One executed batch: when, how many rows of how many requests, and those of them whose traces are kept.

    `left` requests have not ended yet; `span` is `<trace id>-<span id>` once a trace in it is kept, and the batch
    `matters` if one of those missed its objective.
    """

    started_us: int
    used_us: int
    rows: int
    requests: int
    left: int
    span: str = ""
    members: list[Served] = []
    matters: bool = False


def request_spans(trace: RequestTrace) -> list[Span]:
    """The gateway's spans, and the worker's where the gateway has to speak for it."""
    last = trace.attempts[-1] if trace.attempts else None
    spans = [_root(trace)]
    for stage in stages(trace):
        if stage.name == ROUTE:
            spans.append(_route(trace, stage))
        elif stage.name in _OF_GATEWAY:
            number = _OF_GATEWAY[stage.name]
            spans.append(_part(stage, trace.trace_id, trace.span_id, derived_span(trace.span_id, number)))
    worked = process(trace)
    if trace.timing is None or worked is None or last is None or trace.timing.arrived_us:
        return spans
    timing = msgspec.structs.replace(trace.timing, arrived_us=worked.start_us, end_us=worked.end_us)
    served = Served(
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        attempt=last.attempt,
        number=worked.attempt,
        function=trace.function,
        replica=last.replica,
        node=last.node,
        device=last.device,
        timing=timing,
        outcome=trace.outcome,
        reported_by="gateway",
    )
    return spans + served_spans(served)


def served_spans(served: Served) -> list[Span]:
    """The worker's spans of one attempt: `process fast.replica` below the gateway's `route`, and its parts."""
    timing = served.timing
    span_id = derived_span(served.span_id, _PROCESS + served.number)
    about: dict[str, Value] = {
        **_message("process", subjects.replica(served.replica), REPLICA_TEMPLATE, served.attempt),
        "fastgshare.function": served.function,
        "fastgshare.replica": served.replica,
        "fastgshare.attempt": served.number,
        "fastgshare.outcome": served.outcome,
        **_given({"fastgshare.device": served.device, "fastgshare.node": served.node}),
        **_given({"fastgshare.reported_by": served.reported_by}),
    }
    spans = [
        Span(
            name="process fast.replica",
            trace_id=served.trace_id,
            span_id=span_id,
            parent_id=derived_span(served.span_id, served.number),
            is_parent_remote=not served.reported_by,
            start_us=timing.arrived_us,
            end_us=timing.end_us,
            kind=Kind.CONSUMER,
            attributes=about | _error(served.outcome),
            error=_blame(served.outcome),
        )
    ]
    for stage in worker_stages(timing.arrived_us, timing.end_us, timing):
        own = derived_span(served.span_id, _number_of(served.number, stage.part or stage.name))
        more = _given({"fastgshare.handler.part": stage.part, "fastgshare.reported_by": served.reported_by})
        part = _part(stage, served.trace_id, span_id, own, more)
        spans.append(_executed(part, timing) if stage.name == EXECUTE else part)
    return spans


def batch_span(batch: BatchRun) -> Span:
    """A batch in a trace of its own, linked to the `execute` spans of those requests in it whose traces are kept."""
    trace_id, _, span_id = batch.span.partition("-")
    first = batch.members[0]
    attributes: dict[str, Value] = {
        "fastgshare.function": first.function,
        "fastgshare.replica": first.replica,
        **_given({"fastgshare.device": first.device}),
        "fastgshare.batch.size": batch.rows,
        "fastgshare.batch.requests": batch.requests,
    }
    return Span(
        name="batch",
        trace_id=trace_id,
        span_id=span_id,
        start_us=batch.started_us,
        end_us=batch.started_us + batch.used_us,
        attributes=attributes,
        links=tuple(_links(batch.members)),
    )


def _links(members: Iterable[Served]) -> Iterable[Link]:
    for served in members:
        number = _number_of(served.number, EXECUTE)
        about: dict[str, Value] = {"messaging.message.id": served.attempt}
        yield Link(served.trace_id, derived_span(served.span_id, number), about)


def _root(trace: RequestTrace) -> Span:
    name, kind, door = _door(trace)
    attributes: dict[str, Value] = {
        **door,
        "fastgshare.function": trace.function,
        "fastgshare.request.id": trace.request,
        "fastgshare.gateway": trace.gateway,
        "fastgshare.outcome": trace.outcome,
        "fastgshare.sampled": trace.is_sampled,
        "fastgshare.rows": trace.rows,
        "fastgshare.attempts": len(trace.attempts),
        "fastgshare.deadline_ms": _ms(trace.deadline_us - trace.arrived_us),
    }
    if trace.objective_us:
        attributes["fastgshare.objective_ms"] = _ms(trace.objective_us - trace.arrived_us)
    if trace.is_met is not None:
        attributes["fastgshare.objective_met"] = trace.is_met
    if trace.attempts:
        last = trace.attempts[-1]
        attributes["fastgshare.replica"] = last.replica
        attributes |= _given({"fastgshare.device": last.device, "fastgshare.node": last.node})
    return Span(
        name=name,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=trace.parent_id,
        is_parent_remote=True,
        start_us=trace.arrived_us,
        end_us=trace.end_us,
        kind=kind,
        attributes=attributes | _error(trace.outcome),
        error=_blame(trace.outcome),
    )


def _door(trace: RequestTrace) -> tuple[str, Kind, dict[str, Value]]:
    """Name, kind and attributes by the conventions for how the request came in."""
    if trace.door in _HTTP_ROUTES:
        route = _HTTP_ROUTES[trace.door]
        status = HTTP_OK if trace.outcome == ANSWERED else _status(trace.outcome)
        about: dict[str, Value] = {"http.request.method": "POST", "http.route": route}
        return f"POST {route}", Kind.SERVER, about | {"http.response.status_code": status}
    if trace.door in _GRPC_METHODS:
        service, method = "inference.GRPCInferenceService", _GRPC_METHODS[trace.door]
        about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        return f"{service}/{method}", Kind.SERVER, about
    if trace.door == "nats":
        about = _message("process", subjects.invoke(trace.function), INVOKE_TEMPLATE, trace.request)
        return "process fast.invoke", Kind.CONSUMER, about | {"messaging.consumer.group.name": subjects.GATEWAY_QUEUE}
    return f"process {trace.door}", Kind.CONSUMER, {}


def _route(trace: RequestTrace, stage: Stage) -> Span:
    attempt = trace.attempts[stage.attempt - 1]
    about: dict[str, Value] = {
        **_message("send", subjects.replica(attempt.replica), REPLICA_TEMPLATE, attempt.attempt),
        "fastgshare.attempt": stage.attempt,
        "fastgshare.replica": attempt.replica,
        **_given({"fastgshare.device": attempt.device, "fastgshare.node": attempt.node}),
    }
    span_id = derived_span(trace.span_id, stage.attempt)
    part = _part(stage, trace.trace_id, trace.span_id, span_id, about)
    error = "lost" if stage.is_lost else ""
    return msgspec.structs.replace(part, kind=Kind.PRODUCER, error=error)


def _part(
    stage: Stage, trace_id: str, parent_id: str, span_id: str, attributes: dict[str, Value] | None = None
) -> Span:
    return Span(
        name=stage.name,
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        start_us=stage.start_us,
        end_us=stage.end_us,
        attributes=attributes or {},
    )


def _executed(part: Span, timing: Timing) -> Span:
    links: tuple[Link, ...] = ()
    batch = parse_traceparent(f"00-{timing.batch_span}-01") if timing.batch_span else None
    if batch is not None:  # a worker's word, which may be anything
        links = (Link(batch.trace_id, batch.span_id),)
    attributes = {**part.attributes, "fastgshare.batch.size": timing.batch}
    return msgspec.structs.replace(part, attributes=attributes, links=links)


def _number_of(attempt: int, stage: str) -> int:
    """The number that a stage's id is derived with: one for each attempt and stage."""
    return _WORKER_FROM + _WORKER_STRIDE * attempt + _OF_WORKER[stage]


def _message(operation: str, subject: str, template: str, message: str) -> dict[str, Value]:
    return {
        "messaging.system": "nats",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": subject,
        "messaging.destination.template": template,
        "messaging.message.id": message,
    }


def _given(attributes: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value != ""}


def _error(outcome: str) -> dict[str, Value]:
    return {} if outcome == ANSWERED else {"error.type": outcome}


def _blame(outcome: str) -> str:
    return "" if outcome == ANSWERED else outcome


def _status(outcome: str) -> int:
    try:
        return HTTP_STATUS[ErrorCode(outcome)]
    except ValueError:
        return HTTP_STATUS[ErrorCode.UNAVAILABLE]


def _ms(duration_us: int) -> float:
    return duration_us / US_PER_MS
