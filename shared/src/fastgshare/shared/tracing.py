"""W3C trace context (https://www.w3.org/TR/trace-context/, section 3.2) as it rides in headers.

Only `traceparent`: parsed, checked, continued with a new span id, or begun. An unusable value starts a new trace
instead of failing the request that carried it.
"""

import random
import re

import msgspec

TRACEPARENT = "traceparent"
SAMPLED_END = "1"
"""How a `traceparent` of ours ends if it is sampled: flags other than that one are not passed on."""
_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_NOT_ZERO = 1 << 64 | 1
_SPAN_BITS = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """One position in a trace: 32 hex digits of trace, 16 of span, whether it is sampled, and the span above it.

    `parent_id` is empty for the first span of a trace, and where it is not known.
    """

    trace_id: str
    span_id: str
    sampled: bool
    parent_id: str = ""

    def header(self) -> str:
        """This position as a `traceparent` value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "TraceContext":
        """A new span in the same trace, below this one."""
        return TraceContext(self.trace_id, _new_span(), self.sampled, self.span_id)

    def sibling(self) -> "TraceContext":
        """A new span in the same trace, beside this one."""
        return TraceContext(self.trace_id, _new_span(), self.sampled, self.parent_id)


def new_trace(sampled: bool = False) -> TraceContext:
    """Begin a trace."""
    digits = f"{random.getrandbits(192) | _NOT_ZERO:048x}"
    return TraceContext(digits[:32], digits[32:], sampled)


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


def derived_span(span_id: str, number: int) -> str:
    """A span id that whoever knows `span_id` knows too, another for each `number` (1 to 2**32).

    So two processes speak of one span without telling each other its id.
    """
    return f"{(int(span_id, 16) + number * _STRIDE) & _SPAN_BITS or 1:016x}"


def _new_span() -> str:
    return f"{random.getrandbits(64) or 1:016x}"
