"""Trace context: the standard's own cases, and a new trace instead of a failed request."""

import pytest

from fastgshare.shared.tracing import TraceContext, new_trace, parse_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-ff", True),  # unknown flags are ignored
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"  00-{TRACE}-{SPAN}-01\t", True),
        (f"cc-{TRACE}-{SPAN}-01", True),  # a later version is read as far as it is known
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_what_the_standard_accepts_is_parsed(value: str, sampled: bool) -> None:
    assert parse_traceparent(value) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "garbage",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"0-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01\n00-{TRACE}-{SPAN}-01",
        "00-" + "\N{ARABIC-INDIC DIGIT ONE}" * 32 + f"-{SPAN}-01",
    ],
)
def test_what_the_standard_ignores_is_ignored(value: str | None) -> None:
    assert parse_traceparent(value) is None


@pytest.mark.parametrize("sampled", [True, False])
def test_a_header_parses_to_the_context_it_came_from(sampled: bool) -> None:
    context = new_trace(sampled)
    assert parse_traceparent(context.header()) == context


def test_a_child_is_another_span_of_the_same_trace() -> None:
    parent = new_trace(sampled=True)
    child = parent.child()
    assert (child.trace_id, child.sampled) == (parent.trace_id, True)
    assert child.span_id != parent.span_id


def test_new_traces_differ() -> None:
    assert len({new_trace().trace_id for _ in range(100)}) == 100
