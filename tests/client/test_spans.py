"""A caller's own OpenTelemetry span is continued; without one a gateway decides."""

import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from fastgshare.client import connect
from fastgshare.client.spans import current_span
from fastgshare.shared.tracing import parse_traceparent
from tests.client.fake_gateway import run_gateway
from tests.natsd import Natsd

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def test_without_opentelemetry_there_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert current_span() is None


@pytest.mark.parametrize("sampled", [True, False])
async def test_the_current_span_goes_along_with_a_request(nats: Natsd, sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(TRACE, SPAN, is_remote=False, trace_flags=flags))
    async with run_gateway(nats.url) as gateway, connect(nats.url) as client:
        with trace.use_span(span):
            await client.invoke("echo", {"x": 1.0})
        await client.invoke("echo", {"x": 1.0})
    inside, outside = gateway.requests
    caller = parse_traceparent(inside.traceparent)
    assert caller is not None
    assert (caller.trace_id, caller.span_id, caller.sampled) == (f"{TRACE:032x}", f"{SPAN:016x}", sampled)
    assert outside.traceparent == ""
