"""What the simulator tells, for a person: how far it is on standard error, tables of what came of it.

On a terminal a bar shows how far it is; in a file or a pipe a line now and then does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from fastgshare.cli.commands.simulation.process import SimulationFailed
from fastgshare.cli.running import say
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.simulated import Advanced, Began, Noted, Planned, Simulated, Told, Tried, Wrote
from fastgshare.shared.units import US_PER_S

SAID_EVERY_US = 5 * US_PER_S
MANY_REQUESTS = 100_000
"""From so many on it takes more than a few seconds, and it is said how many to expect."""
NOTHING = "\u2013"


@dataclass(slots=True)
class Heard:
    """What is to be shown at the end."""

    simulated: list[Simulated] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)


def listen(lines: Iterable[Told]) -> Heard:
    """Show progress until the simulator has ended. Raises SimulationFailed where nothing came of it."""
    heard = Heard()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s, {task.fields[requests]:,} requests"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = Bar(bars)
        for one in lines:
            bar.take(one)
            _keep(heard, one)
    if not heard.simulated and not heard.planned:
        raise SimulationFailed(reason="it ended without an answer")
    return heard


class Bar:
    """One bar for the simulation under way, or where bars are not shown a line every few seconds of `now_us`."""

    def __init__(self, bars: Progress, now_us: Callable[[], int] = monotonic_us) -> None:
        self._bars = bars
        self._now_us = now_us
        self._said_us = 0
        self._task: TaskID | None = None
        self._begun = 0
        self._what = ""
        self._duration_s = 0.0

    def take(self, one: Told) -> None:
        """Show it."""
        match one:
            case Began():
                self._begin(one)
            case Advanced() if self._task is not None:
                self._bars.update(self._task, completed=one.at_s, requests=one.requests)
                if self._bars.disable and self._now_us() - self._said_us >= SAID_EVERY_US:
                    self._said_us = self._now_us()
                    say(f"{self._what}: {one.at_s:,.0f} of {self._duration_s:,.0f} s, {one.requests:,} requests")
            case Noted():
                say(f"note: {one.text}")
            case Tried():
                say(_tried(one))
            case _:
                pass

    def _begin(self, one: Began) -> None:
        self._begun += 1
        if self._begun == 1:
            self._said_us = self._now_us()
        if self._begun == 1 and one.requests >= MANY_REQUESTS:
            say(f"about {one.requests:,} requests in {one.duration_s:,.0f} s for each simulation")
        self._what = f"{one.what} ({self._begun} of {one.of})" if one.of > 1 else one.what
        self._duration_s = one.duration_s
        self._end()
        self._task = self._bars.add_task(self._what, total=one.duration_s, requests=0)

    def _end(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)


def _keep(heard: Heard, one: Told) -> None:
    match one:
        case Simulated():
            heard.simulated.append(one)
        case Planned():
            heard.planned.append(one)
        case Wrote():
            heard.wrote.append(one.path)
        case _:
            pass


def _tried(one: Tried) -> str:
    number = f"{one.devices} device{'' if one.devices == 1 else 's'}"
    if one.is_enough:
        return f"{number}: enough, {one.device_seconds:,.0f} device-seconds, {one.late_share:.2%} not in time"
    return f"{number}: not enough, {one.why}"


def policies_table(figures: Sequence[Simulated]) -> Table:
    """A row a policy."""
    table = _table("policy", "devices", "device-s", "missed", "promised", "at work", "ran", "decisions", "took s")
    for each in figures:
        table.add_row(
            each.policy,
            str(each.most_devices),
            f"{each.device_seconds:,.0f}",
            f"{each.late_share:.2%}",
            f"{each.promised:.0%}",
            f"{each.busy:.0%}",
            f"{each.running:.0%}",
            str(each.decisions),
            f"{each.wall_s:.1f}",
        )
    return table


def functions_table(figures: Simulated) -> Table:
    """A row for each function under one policy."""
    table = _table(
        figures.policy, "objective", "requests", "in time", "late", "refused", "failed", "p99 of answers", "met"
    )
    for each in figures.functions:
        table.add_row(
            each.function,
            f"p{each.slo_percentile:g} {each.slo_ms:g} ms",
            f"{each.requests:,}",
            *(
                f"{value:.2%}" if each.requests else NOTHING
                for value in (each.attainment, each.late, each.refused, each.failed)
            ),
            f"{each.p99_ms:.1f} ms" if each.p99_ms is not None else NOTHING,
            NOTHING if not each.requests else "yes" if each.is_met else "no",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def reasons(figures: Sequence[Simulated]) -> Iterator[str]:
    """Why a function could not be served at all, a line each."""
    for each in figures:
        for function in each.functions:
            if function.infeasible:
                yield f"{each.policy}: {function.function}: {function.infeasible}"


def answer(planned: Planned) -> str:
    """The number, or why there is none; and what was just below it."""
    if not planned.devices:
        return f"{planned.policy}: no number of {planned.kind} is enough: {planned.why}"
    chosen = next(one for one in planned.tried if one.devices == planned.devices)
    below = [one for one in planned.tried if one.devices < planned.devices]
    told = (
        f"{planned.policy}: {planned.devices} {planned.kind}, {chosen.device_seconds:,.0f} device-seconds, "
        f"{chosen.late_share:.2%} not in time"
    )
    return f"{told}; {below[-1].devices} are not enough: {below[-1].why}" if below else told
