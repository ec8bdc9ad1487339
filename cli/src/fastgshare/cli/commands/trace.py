"""`fastgshare trace`: where one request's time went, and which requests were kept to be looked at."""

import json
from typing import Annotated, Any

import anyio
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fastgshare.cli.commands.trace_waterfall import clock_time, met_in_words, plain, waterfall
from fastgshare.cli.consoles import table_console
from fastgshare.cli.running import EXIT_FAILED, Url, Usage, complain, in_ms, reported, say, with_client
from fastgshare.client.connection import Client
from fastgshare.client.traces import ANY, find_traces, is_trace_id, last_traces
from fastgshare.shared.bus import Bus
from fastgshare.shared.messages import RequestTrace
from fastgshare.shared.telemetry.spans_stages import stages

# What was just answered is on its way into the stream for a moment.
LOOKS = 8
LOOK_AGAIN_S = 0.25
SHOWN = 20
MS_CELLS = 7
REQUEST_CELLS = 16


def trace(
    wanted: Annotated[str | None, typer.Argument(metavar="REQUEST", help="A request's id, or a trace's.")] = None,
    late: Annotated[str | None, typer.Option("--late", help="List requests of a function that missed it.")] = None,
    last: Annotated[
        int | None, typer.Option("--last", "-n", min=1, help=f"List so many of the newest; with --late {SHOWN}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one request a line.")] = False,
    url: Url = None,
) -> None:
    """Show a request's way through the platform as a waterfall, or list those whose traces are kept."""

    async def show(client: Client) -> None:
        assert wanted is not None
        found = await _found(client.bus, wanted)
        if not found:
            complain(_why_not(wanted))
            raise typer.Exit(EXIT_FAILED)
        _print_each(found, as_json)

    async def list_kept(client: Client) -> None:
        found = await last_traces(client.bus, last or SHOWN, late or ANY, _any if late is None else _is_late)
        _print_list(found, as_json)
        if not found:
            say("nothing is kept" if late is None else f"no request of '{late}' missed its objective in the last day")

    with reported():
        if (wanted is None) == (late is None and last is None):
            raise Usage(problem="give a request's or a trace's id, or one of --late FUNCTION and --last N")
        with_client(url, show if wanted is not None else list_kept)


def as_document(kept: RequestTrace) -> str:
    """A record and its stages as one line of JSON."""
    document: dict[str, Any] = msgspec.to_builtins(kept)
    timing = kept.timing
    document["timing"] = msgspec.structs.asdict(timing) if timing is not None else None
    document["stages"] = [msgspec.to_builtins(stage) for stage in stages(kept)]
    return json.dumps(document)


def _print_each(found: list[RequestTrace], as_json: bool) -> None:
    for index, one in enumerate(found):
        if as_json:
            print(as_document(one))
        else:
            if index:
                print()
            waterfall(one, Console(highlight=False))


def _print_list(found: list[RequestTrace], as_json: bool) -> None:
    if as_json:
        _print_each(found, as_json)
    elif found:
        table_console().print(_table(found))


async def _found(bus: Bus, wanted: str) -> list[RequestTrace]:
    for look in range(LOOKS):
        if look:
            await anyio.sleep(LOOK_AGAIN_S)
        found = await find_traces(bus, wanted)
        if found:
            return found
    return []


def _why_not(wanted: str) -> str:
    what = "trace" if is_trace_id(wanted) else "request"
    return (
        f"no {what} '{wanted}' was kept: some requests are, by chance (FASTGSHARE_TRACE_RATIO, else 1 in 100), and "
        "all that miss their objective, for a day; `fastgshare invoke --trace` keeps one"
    )


def _is_late(kept: RequestTrace) -> bool:
    return kept.is_met is False


def _any(_: RequestTrace) -> bool:
    return True


def _table(found: list[RequestTrace]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("arrived", "request", "function", "outcome", "objective"):
        table.add_column(name, no_wrap=True, min_width=REQUEST_CELLS if name == "request" else None)
    table.add_column("ms", justify="right", no_wrap=True, min_width=MS_CELLS)
    table.add_column("tries", justify="right", no_wrap=True, min_width=len("tries"))
    for kept in found:
        took = in_ms(kept.end_us - kept.arrived_us)
        about = (kept.request, kept.function, kept.outcome, met_in_words(kept))
        table.add_row(clock_time(kept.arrived_us), *map(plain, about), took, str(len(kept.attempts)))
    return table
