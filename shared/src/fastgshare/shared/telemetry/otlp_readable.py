"""Our spans as the OpenTelemetry SDK's, which it exports like its own."""

from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link as OtelLink
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from fastgshare.shared.telemetry.spans import Kind, Link, Span
from fastgshare.shared.units import NS_PER_US

SCOPE = "fastgshare"
_KINDS = {kind: SpanKind[kind.name] for kind in Kind}
# What comes here was chosen to be kept; the SDK lets go of everything that is not marked so.
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FINE = Status()


class Converter:
    """Makes the spans of one process: its resource is what `attributes` and OpenTelemetry's variables say."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._resource = Resource.create(dict(attributes))
        self._scope = InstrumentationScope(SCOPE)

    def __call__(self, span: Span) -> ReadableSpan:
        """One span."""
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id, False),
            parent=_context(span.trace_id, span.parent_id, span.is_parent_remote) if span.parent_id else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[_link(link) for link in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else _FINE,
            start_time=span.start_us * NS_PER_US,
            end_time=span.end_us * NS_PER_US,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED)


def _link(link: Link) -> OtelLink:
    return OtelLink(_context(link.trace_id, link.span_id, True), dict(link.attributes))
