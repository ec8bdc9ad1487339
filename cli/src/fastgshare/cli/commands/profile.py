"""`fastgshare profile`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastgshare.cli.running import Url, in_ms, say, with_client
from fastgshare.client.connection import Client
from fastgshare.shared import subjects
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import Profile, ProfileProgress, ProfileState


def profile(
    function: Annotated[str, typer.Argument(help="Its name.")],
    again: Annotated[bool, typer.Option("--again", help="Measure even what was measured before.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Also write the tables here as JSON; FASTGSHARE_SIM_TABLES reads them.")
    ] = None,
    url: Url = None,
) -> None:
    """Measure a function's throughput and latency at each batch size, and show the table."""

    async def act(client: Client) -> None:
        last = await _follow(client, function, again)
        if last is None or last.state is not ProfileState.COMPLETE:
            reason = last.reason if last is not None else "the profiler said nothing"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, f"no profile of '{function}': {reason}"))
        for found in await client.profiles(function):
            _show(found)
            if save is not None:
                _write(found, save)

    with_client(url, act)


async def _follow(client: Client, function: str, again: bool) -> ProfileProgress | None:
    reports = aiter(client.profile(function, again=again))
    last = await anext(reports, None)  # a refusal needs no bar
    if last is None:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[reason]}"), console=Console(stderr=True)) as progress:
        task = progress.add_task(function, completed=last.done, total=last.planned or None, reason=last.reason)
        async for last in reports:
            progress.update(task, completed=last.done, total=last.planned or None, reason=last.reason)
    return last


def _write(profile: Profile, directory: Path) -> None:
    """Under the name by which the `sim` device finds it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{subjects.profile_key(profile.model_digest, profile.device_kind)}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(profile)))
    say(f"written {path}")


def _show(profile: Profile) -> None:
    table = Table(title=f"{profile.device_kind}", title_justify="left", box=None)
    for heading in ("SMs %", "quota", "batch", "inputs/s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for point in profile.points:
        times = (in_ms(us) for us in (point.p50_us, point.p95_us, point.p99_us))
        table.add_row(
            str(point.sm_partition), f"{point.quota:g}", str(point.batch), f"{point.throughput_rps:.1f}", *times
        )
    Console().print(table)
