"""`fastgshare bill`."""

import re
from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from fastgshare.cli.consoles import table_console
from fastgshare.cli.running import Url, Usage, reported, with_client
from fastgshare.client.billing import LINES, Bill, Ledger, Line, usage_since
from fastgshare.client.connection import Client
from fastgshare.shared.clock import unix_us
from fastgshare.shared.units import US_PER_S, s_to_us, us_to_s

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def bill(
    since: Annotated[str, typer.Option(help="From when on: 90m, 24h, 7d ago, or a date (and time).")] = "24h",
    by: Annotated[str, typer.Option(help=f"A line for each {', '.join(LINES)}.")] = "function",
    price: Annotated[float | None, typer.Option(help="Of an SM (or core) held for an hour.", min=0.0)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    url: Url = None,
) -> None:
    """What functions used of devices: SM time held and promised, memory, and what that costs."""
    now_us = unix_us()
    with reported():
        since_us = when(since, now_us)
        if by not in LINES:
            raise Usage(problem=f"--by {by}: expected one of {', '.join(LINES)}")

    async def act(client: Client) -> None:
        ledger = Ledger(by, since_us)
        async for record in usage_since(client.bus, since_us):
            ledger.add(record)
        found = ledger.bill(unix_us(), price)
        if as_json:
            print(msgspec.json.encode(found).decode())
        else:
            show(found)

    with_client(url, act)


def when(text: str, now_us: int) -> int:
    """`24h` as a moment, or a date in local time unless it names another; Unix microseconds. Raises Usage."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_us - int(ago[1]) * _UNIT_S[ago[2]] * US_PER_S
    try:
        return s_to_us(datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise Usage(problem=f"--since {text}: expected such as 90m, 24h, 7d, or a date as 2026-11-26") from error


def show(found: Bill) -> None:
    """For people."""
    console = table_console()
    console.print(f"{_local(found.since_us)} to {_local(found.until_us)}", highlight=False)
    if not found.lines:
        console.print("nothing was used; nodes write what is every ten seconds", highlight=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(found.by)
    for heading in ("SM hours held", "promised", "profiling", "GiB hours", "requests", "batches"):
        table.add_column(heading, justify="right")
    if found.total.cost is not None:
        table.add_column("cost", justify="right")
    for line in (*found.lines, found.total):
        table.add_row(*cells(line))
    console.print(table)


def cells(line: Line) -> tuple[str, ...]:
    """A line as it is shown."""
    hours = (line.used, line.promised, line.profiling, line.memory)
    cost = () if line.cost is None else (f"{line.cost:,.4f}",)
    return (line.name, *(f"{each:,.4f}" for each in hours), f"{line.requests:,}", f"{line.batches:,}", *cost)


def _local(at_us: int) -> str:
    return f"{datetime.fromtimestamp(us_to_s(at_us)).astimezone():%Y-%m-%d %H:%M:%S}"
