"""`fastgshare trace` on a stream of made records: how they are found, listed and drawn."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from rich.console import Console

from fastgshare.cli.commands.trace import _table, as_document
from fastgshare.cli.commands.trace_waterfall import waterfall
from fastgshare.client.traces import FIRST_WINDOW, find_traces, last_traces
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import FunctionName, ReplicaId, RequestId
from fastgshare.shared.messages import RequestTrace, Timing
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd
from tests.shared.test_spans import BATCH, SERVED, T0, attempt, trace

LATE = trace(attempt(), timing=SERVED, is_met=False, objective_us=T0 + 8_000)


def drawn(record: RequestTrace, width: int = 100) -> list[str]:
    out = io.StringIO()
    waterfall(record, Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@asynccontextmanager
async def filled(nats: Natsd, *records: RequestTrace) -> AsyncIterator[Bus]:
    """A bus whose stream holds these, and something that is no record."""
    async with open_bus(BusConfig(nats.url, "test")) as bus:
        await ensure_storage(bus)
        await bus.jetstream.publish(subjects.trace(FunctionName("f"), RequestId("odd"), "0" * 32), b"\xc1")
        for one in records:
            subject = subjects.trace(one.function, one.request, one.trace_id)
            await bus.jetstream.publish(subject, encode(one))
        yield bus


def named(number: int, function: str = "f", is_met: bool = True) -> RequestTrace:
    return replace(
        trace(is_met=is_met),
        request=RequestId(f"r{number}"),
        function=FunctionName(function),
        trace_id=f"{number % 7 + 1:032x}",
    )


async def test_a_request_is_found_by_its_id_and_all_of_a_trace_by_the_traces(nats: Natsd) -> None:
    odd = replace(named(3), request=RequestId("any text, even with a . in it"))
    async with filled(nats, named(1), named(2), named(8), odd) as bus:
        assert await find_traces(bus, "r2") == [named(2)]
        assert await find_traces(bus, named(1).trace_id) == [named(1), named(8)]
        assert await find_traces(bus, odd.request) == [odd]
        for unknown in ("r9", "odd", "*", "", "f" * 32):
            assert await find_traces(bus, unknown) == []


async def test_the_newest_are_found_however_rare_they_are(nats: Natsd) -> None:
    rare = [named(number, "rare", is_met=number % 2 == 0) for number in range(4)]
    common = [named(number) for number in range(2 * FIRST_WINDOW)]
    async with filled(nats, *rare, *common) as bus:
        assert await last_traces(bus, 3) == common[-3:]
        assert await last_traces(bus, 3, "rare") == rare[-3:]
        assert await last_traces(bus, 9, "rare", lambda one: one.is_met is False) == [rare[1], rare[3]]
        assert await last_traces(bus, 9, "no such.name") == []


def test_a_waterfall_has_a_line_a_stage_and_the_objective_across() -> None:
    lines = drawn(LATE)
    words = [line.split()[0] for line in lines[3:-1]]
    parts = ["handler", "queue", "token_wait", "execute", "handler"]
    assert words == ["request", "admit", "route", "worker", *parts, "reply"]
    assert "in a batch of 3 rows" in next(line for line in lines if "execute" in line)
    crossed = [line.index("┊") for line in lines[3:-1] if "┊" in line]
    assert len(set(crossed)) == 1
    assert lines[-1] == "objective 8.00 ms (┊): missed by 2.00 ms"


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize(
    "record",
    [
        LATE,
        trace(outcome="overloaded", is_met=False),
        trace(attempt(1, 3_000, 5_000), attempt(2, 5_100), held_us=T0 + 50, is_met=False, outcome="deadline_exceeded"),
        trace(attempt(), timing=Timing(execute_us=5)),
        trace(attempt(), objective_us=0, is_met=None, end_us=0, outcome="cancelled"),
    ],
)
def test_it_fits_any_terminal(record: RequestTrace, width: int) -> None:
    lines = drawn(record, width)
    assert max(len(line) for line in lines) <= width


@pytest.mark.parametrize("text", ["[/x]", "a[bold red]b", "\x1b]0;owned\x07x", "\udcff"])
def test_a_callers_text_is_shown_and_does_nothing(text: str) -> None:
    odd = replace(LATE, request=RequestId(text), outcome=text, attempts=(replace(attempt(), replica=ReplicaId(text)),))
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(_table([odd]))
    for shown in ("\n".join(drawn(odd, 200)), out.getvalue()):
        assert ascii(text)[1:-1] in shown
        assert "\x1b" not in shown


def test_a_listed_request_can_be_asked_for_by_what_is_shown() -> None:
    out = io.StringIO()
    one = replace(LATE, request=RequestId("dec39df2b88f3860"), outcome="deadline_exceeded")
    Console(file=out, width=80, highlight=False).print(_table([one]))
    assert one.request in out.getvalue()


def test_an_answer_in_parts_is_judged_by_its_first() -> None:
    streamed = replace(LATE, is_met=True, first_us=T0 + 7_000)
    assert drawn(streamed)[-1] == "objective 8.00 ms (┊): met with 1.00 ms to spare"


def test_as_json_it_has_everything_by_name() -> None:
    document = json.loads(as_document(LATE))
    assert document["timing"]["batch_span"] == BATCH
    assert document["attempts"][0]["replica"] == "f-1"
    assert document["stages"][0] == {
        "name": "admit",
        "start_us": T0,
        "end_us": T0 + 100,
        "attempt": 0,
        "is_lost": False,
        "part": "",
    }
