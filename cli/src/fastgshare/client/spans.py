"""The caller's own OpenTelemetry span, so that what the platform does for it is seen below it."""

import sys

from fastgshare.shared.tracing import TraceContext

_API = "opentelemetry.trace"
_SAMPLED = 0x01


def current_span() -> TraceContext | None:
    """The span that is current where this is called; None where there is none.

    A program that has not imported OpenTelemetry has none, and is not made to import it.
    """
    api = sys.modules.get(_API)
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", bool(span.trace_flags & _SAMPLED))
