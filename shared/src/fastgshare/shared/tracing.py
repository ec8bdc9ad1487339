"""W3C trace context (https://www.w3.org/TR/trace-context/, section 3.2) as it rides in headers.

Only `traceparent`: parsed, checked, continued with a new span id, or begun. An unusable value starts a new trace
instead of failing the request that carried it.
"""

import random
import re

import msgspec

TRACEPARENT = "traceparent"
_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


class TraceContext(msgspec.Struct, frozen=True):
    """One position in a trace: 32 hex digits of trace, 16 of span, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool

    def header(self) -> str:
        """This position as a `traceparent` value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "TraceContext":
        """A new span in the same trace."""
        return TraceContext(self.trace_id, f"{random.getrandbits(64) or 1:016x}", self.sampled)


def new_trace(sampled: bool = False) -> TraceContext:
    """Begin a trace."""
    return TraceContext(f"{random.getrandbits(128) or 1:032x}", f"{random.getrandbits(64) or 1:016x}", sampled)


def parse_traceparent(value: str | None) -> TraceContext | None:
    """The context in a `traceparent` value, or None where the standard says to ignore it."""
    if value is None:
        return None
    match = _PATTERN.fullmatch(value.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
