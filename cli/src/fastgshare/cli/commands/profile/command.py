"""`fastgshare profile`."""

from collections.abc import Mapping, Sequence
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
from fastgshare.shared.errors import ErrorBody, ErrorCode, FastGShareError, RequestRefused
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
    batch: Annotated[int | None, typer.Option(help="With --plot or --png: the batch size to draw.")] = None,
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
    drop: Annotated[
        bool, typer.Option("--drop", help="Remove the table, so that it is measured anew; --kind names one of several.")
    ] = False,
    model: Annotated[str, typer.Option(help="With --import: whose rows, in a file of several models.")] = "",
    force: Annotated[bool, typer.Option("--force", help="With --import: even from another model or kind.")] = False,
    url: Url = None,
) -> None:
    """Measure a function's throughput and latency on each slice and at each batch size, and show the table.

    What was not measured is interpolated, with its error. The profiler measures on, whether or not anybody looks.
    """
    with reported():
        _check_measuring(budget, {"--again": again, "--grid": grid, "--budget": budget > 0} if now else {})
        _check_files(png, export, import_file, drop)
        if batch is not None and not plot and png is None:
            raise Usage(problem="--batch says what to draw: give --plot or --png as well")
    wish = ProfileRequest(function=function, again=again, grid=grid, budget_s=budget)
    look = _Look(show_all, plot, batch, png, save)
    asking = _Asking()

    async def act(client: Client) -> None:
        if import_file is not None:
            await files.take_in(client, function, import_file, kind, model, force)
        elif export is not None:
            files.export(files.only_one(await _tables(client, function, kind), function), export)
        elif drop:
            await files.drop(client, function, files.only_one(await _tables(client, function, kind), function))
        else:
            spec = await _spec(client, function)
            if kind is not None and not now:
                await _refuse_unknown_kind(client, function, kind)
            last = None if now else await asking.follow(client, wish)
            found = await _tables_after(client, function, kind)
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


class FunctionDeleted(FastGShareError):
    """It was there when we began: field `function`."""

    def __str__(self) -> str:
        return f"function '{self.fields['function']}' was deleted"


def _check_measuring(budget: float, vain: Mapping[str, bool]) -> None:
    """`vain`: options that say how to measure where nothing is measured, and whether they were given."""
    if not 0 <= budget <= MAX_BUDGET_S:
        raise Usage(problem=f"--budget is {budget:g}, expected up to {MAX_BUDGET_S:g} seconds, 0 for no bound")
    given = [option for option, is_given in vain.items() if is_given]
    if given:
        raise Usage(problem=f"--now measures nothing, and {given[0]} says how to: give one of them")


def _check_files(png: Path | None, export: Path | None, import_file: Path | None, drop: bool) -> None:
    """Refuse what makes no sense before anything is asked of the platform."""
    given = {"--export": export is not None, "--import": import_file is not None, "--drop": drop}
    several = [option for option, is_given in given.items() if is_given]
    if len(several) > 1:
        raise Usage(problem=f"give either {' or '.join(several)}")
    for file in (export, import_file):
        if file is not None:
            files.checked_suffix(file)
    if png is not None:
        picture.check(png)
    for file in (export, png):
        if file is not None:
            files.check_place(file)


async def _refuse_unknown_kind(client: Client, function: str, kind: str) -> None:
    """Before anything is measured for a table that nobody will see."""
    known = {table.device_kind for table in await client.profiles(function)}
    if kind not in known and kind not in (here := await files.kinds_here(client)):
        have = ", ".join(sorted(known | set(here))) or "none"
        raise Usage(problem=f"no table of '{function}' and no device here is of kind {kind} (there: {have})")


async def _tables_after(client: Client, function: str, kind: str | None) -> list[Profile]:
    """The tables of a function that was there a while ago. Raises FunctionDeleted."""
    try:
        return await _tables(client, function, kind)
    except FunctionUnknown:
        raise FunctionDeleted(function=function) from None


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
    """A table that was given up ends the command, with its reason unless that was just shown above the table."""
    shown = [table.reason for table in found if table.state is ProfileState.FAILED]
    if now:
        is_failed, reason = bool(shown), ""
    else:
        is_failed = bool(shown) or last is None or last.state is not ProfileState.COMPLETE
        reason = last.reason if last is not None else "the profiler said nothing"
    if is_failed:
        is_told = any(not reason or one in reason for one in shown)
        text = f"no complete profile of '{function}'"
        text += "" if is_told else f": {reason or 'no reason was given'}"
        text += f"; once that is mended, `fastgshare profile {function}` measures it again"
        raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, text))
