"""`fastgshare profile`."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fastgshare.cli.commands.profile import files, heat, picture, tables
from fastgshare.cli.commands.profile.following import follow
from fastgshare.cli.commands.profile.rows import best_batch, objective_of, shown_rows
from fastgshare.cli.running import EXIT_INTERRUPTED, Url, Usage, reported, say, with_client
from fastgshare.client.connection import Client
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import FunctionSpec, Profile, ProfileProgress, ProfileRequest, ProfileState
from fastgshare.shared.messages.profile import MAX_BUDGET_S
from fastgshare.shared.registry import FunctionUnknown


def profile(
    function: Annotated[str, typer.Argument(help="Its name.")],
    again: Annotated[bool, typer.Option("--again", help="Measure even what was measured before.")] = False,
    grid: Annotated[bool, typer.Option("--grid", help="Measure every point instead of interpolating.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds to spend on measuring, at most; 0: no bound.")] = 0.0,
    now: Annotated[bool, typer.Option("--now", help="Show what stands, and measure nothing.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only the table of this kind of device.")] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every point, not only each slice's best batch.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw maps of throughput and latency instead.")] = False,
    batch: Annotated[int | None, typer.Option(help="With --plot: the batch size to draw.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a picture into this file.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Also write the tables here as JSON; FASTGSHARE_SIM_TABLES reads them.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Only write what stands into this .csv or .json, and measure nothing.")
    ] = None,
    import_file: Annotated[
        Path | None, typer.Option("--import", help="Take in a .csv or .json that was measured elsewhere.")
    ] = None,
    model: Annotated[str, typer.Option(help="With --import: whose rows, in a file of several models.")] = "",
    force: Annotated[bool, typer.Option("--force", help="With --import: even from another model or kind.")] = False,
    url: Url = None,
) -> None:
    """Measure a function's throughput and latency on each slice and at each batch size, and show the table.

    What was not measured is interpolated, with its error. The profiler measures on, whether or not anybody looks.
    """
    _check(budget, png, export, import_file)
    wish = ProfileRequest(function=function, again=again, grid=grid, budget_s=budget)
    look = _Look(kind, show_all, plot or (batch is not None and png is None), batch, png, save)
    asking = _Asking()

    async def act(client: Client) -> None:
        if import_file is not None:
            await files.take_in(client, function, import_file, kind, model, force)
        elif export is not None:
            files.export(files.only_one(await _tables(client, function, kind), function), export)
        else:
            spec = await _spec(client, function)
            last = None if now else await asking.follow(client, wish)
            found = await _tables(client, function, kind)
            if now and not found:
                files.only_one(found, function)
            _show(spec, found, look)
            _refuse_failed(function, found, last, now)

    try:
        with_client(url, act)
    except typer.Exit as ended:
        if ended.exit_code == EXIT_INTERRUPTED and asking.is_under_way:
            say(f"the profiler goes on; `fastgshare profile {function}` follows it again")
        raise


@dataclass(frozen=True, slots=True)
class _Look:
    """What is to be shown, and how."""

    kind: str | None
    show_all: bool
    plot: bool
    batch: int | None
    png: Path | None
    save: Path | None


@dataclass(slots=True)
class _Asking:
    """Whether the profiler has a request that goes on without us."""

    is_under_way: bool = False

    async def follow(self, client: Client, wish: ProfileRequest) -> ProfileProgress | None:
        reports = client.profile(wish.function, again=wish.again, grid=wish.grid, budget_s=wish.budget_s)
        async with aclosing(reports):
            last = await follow(reports, Console(stderr=True), self._begin)
        self.is_under_way = False
        return last

    def _begin(self) -> None:
        self.is_under_way = True


def _check(budget: float, png: Path | None, export: Path | None, import_file: Path | None) -> None:
    """Refuse what makes no sense before anything is asked of the platform."""
    with reported():
        if not 0 <= budget <= MAX_BUDGET_S:
            raise Usage(problem=f"--budget is {budget:g}, expected up to {MAX_BUDGET_S:g} seconds, 0 for no bound")
        if export is not None and import_file is not None:
            raise Usage(problem="give either --export or --import")
        for file in (export, import_file):
            if file is not None:
                files.checked_suffix(file)
        if png is not None:
            picture.ensure_matplotlib()


async def _spec(client: Client, function: str) -> FunctionSpec:
    for spec in await client.functions():
        if spec.name == function:
            return spec
    raise FunctionUnknown(function=function)


async def _tables(client: Client, function: str, kind: str | None) -> list[Profile]:
    found = await client.profiles(function)
    if kind is not None and found and kind not in [table.device_kind for table in found]:
        have = ", ".join(table.device_kind for table in found)
        raise Usage(problem=f"no table of '{function}' on {kind}, expected one of {have}")
    return [table for table in found if kind in (None, table.device_kind)]


def _show(spec: FunctionSpec, found: Sequence[Profile], look: _Look) -> None:
    for table in found:
        _show_one(spec, table, look)
        if look.save is not None:
            files.save(table, look.save)
    if look.png is not None:
        table = files.only_one(found, spec.name)
        rows = shown_rows(table)
        subject = picture.Subject(
            spec.name, spec.model.source or spec.model.digest[:12], table, objective_of(spec, rows)
        )
        picture.write_png(look.png, subject, rows, picture.chosen_batches(rows, look.batch))
        say(f"written {look.png}")


def _show_one(spec: FunctionSpec, table: Profile, look: _Look) -> None:
    console, rows = Console(), shown_rows(table)
    objective = objective_of(spec, rows)
    if not look.plot or not rows:
        tables.show(console, table, rows, objective, look.show_all)
        return
    console.print(tables.headline(table, rows), style="bold", highlight=False, markup=False)
    (batch,) = picture.chosen_batches(rows, look.batch or best_batch(rows, objective))
    heat.draw(console, rows, batch, objective)


def _refuse_failed(function: str, found: Sequence[Profile], last: ProfileProgress | None, now: bool) -> None:
    """A table that was given up ends the command with its reason, after what there is was shown."""
    if not now and (last is None or last.state is not ProfileState.COMPLETE):
        reason = last.reason if last is not None else "the profiler said nothing"
    else:
        reason = "; ".join(f"{one.device_kind}: {one.reason}" for one in found if one.state is ProfileState.FAILED)
    if reason or (last is not None and last.state is ProfileState.FAILED):
        text = f"no complete profile of '{function}': {reason or 'no reason was given'}"
        text += f"; once that is mended, `fastgshare profile {function}` measures it again"
        raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, text))
