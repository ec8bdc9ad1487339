"""Spans on their way to a collector: none where there is none, bounded in number, and no hindrance at the end."""

import logging
from collections.abc import Iterator

import pytest

from benchmarks.otlp_receiver import Receiver, run_receiver
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.telemetry import otlp_spans
from fastgshare.shared.telemetry.otlp_spans import NoSpans, is_wanted, open_spans
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.spans import Kind, Link, Span
from fastgshare.shared.tracing import new_trace
from fastgshare.shared.units import US_PER_S

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
T0 = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with run_receiver() as receiver:
        yield receiver


def span(name: str = "one", **fields: object) -> Span:
    own = new_trace()
    values: dict[str, object] = {"attributes": {"a": "text", "b": 2, "c": 0.5, "d": True}, **fields}
    return Span(name=name, trace_id=own.trace_id, span_id=own.span_id, start_us=T0, end_us=T0 + 5, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_variables_decide(env: dict[str, str], wanted: bool) -> None:
    assert is_wanted(env) is wanted


async def test_without_a_collector_nothing_is_made() -> None:
    async with open_spans(resource_attributes("gateway", "g", "1", {}), {}) as spans:
        assert isinstance(spans, NoSpans)
        assert not spans.is_on
        spans.put([span()])


async def test_a_collector_gets_what_is_put_by_the_end(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, receiver.url)
    other = span("other")
    linked = span(
        "linked",
        parent_id="00f067aa0ba902b7",
        kind=Kind.PRODUCER,
        links=(Link(other.trace_id, other.span_id),),
        error="lost",
    )
    async with open_spans(resource_attributes("gateway", "g", "1", {}), {ENDPOINT: receiver.url}) as spans:
        assert spans.is_on
        spans.put([other, linked])
    assert (spans.exported, spans.dropped) == (2, 0)
    (seen,) = receiver.spans(linked.trace_id)
    assert (seen.name, seen.kind, seen.parent_id, seen.is_error) == ("linked", "producer", linked.parent_id, True)
    assert seen.attributes == {"a": "text", "b": 2, "c": 0.5, "d": True}
    assert seen.links == [(other.trace_id, other.span_id)]
    assert (seen.start_ns, seen.end_ns) == (T0 * 1000, T0 * 1000 + 5000)
    assert (
        seen.resource.items()
        >= {
            "service.namespace": "fastgshare",
            "service.name": "gateway",
            "service.instance.id": "g",
        }.items()
    )


async def test_a_service_name_that_was_set_is_kept(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {ENDPOINT: receiver.url, "OTEL_SERVICE_NAME": "mine"}
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    one = span()
    async with open_spans(resource_attributes("gateway", "g", "1", env), env) as spans:
        spans.put([one])
    assert receiver.spans(one.trace_id)[0].service == "mine"


@pytest.mark.parametrize(
    "sizes", [{"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100000"}], ids=str
)
async def test_a_queue_smaller_than_a_batch_sends_smaller_batches(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, str]
) -> None:
    env = {ENDPOINT: receiver.url, **sizes}
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    async with open_spans(resource_attributes("gateway", "g", "1", env), env) as spans:
        spans.put([span()])
    assert (spans.exported, spans.dropped) == (1, 0)


async def test_a_collector_that_is_away_costs_spans_and_little_time_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = "http://127.0.0.1:9"
    monkeypatch.setenv(ENDPOINT, away)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "90")
    monkeypatch.setattr(otlp_spans, "FLUSH_S", 0.2)
    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        async with open_spans(
            resource_attributes("gateway", "g", "1", {}), {ENDPOINT: away, "OTEL_BSP_MAX_QUEUE_SIZE": "600"}
        ) as spans:
            spans.put(span() for _ in range(1000))
            assert spans.dropped >= 400
            begun_us = monotonic_us()
    assert monotonic_us() - begun_us < 20 * US_PER_S, "the exporter would try for longer by itself"
    assert spans.exported == 0
