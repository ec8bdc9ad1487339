"""What a person sees while the demo runs: moving pictures on a terminal, a line now and then anywhere else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from examples.demo.tally import WINDOW_US, LiveRow
from examples.demo.wording import ms, share
from fastgshare.shared.messages import ProfileProgress, ProfileState
from fastgshare.shared.units import us_to_s

PLAIN_WIDTH = 118
LINE_EVERY_S = 5.0
BAR_CELLS = 30
WINDOW = f"last {us_to_s(WINDOW_US):.0f} s"


class LiveView(msgspec.Struct, frozen=True, kw_only=True):
    """The load at one moment. `objectives_ms` and `places` (who runs where) are by function."""

    elapsed_s: float
    total_s: float
    phase: str
    level: float
    rows: Sequence[LiveRow]
    objectives_ms: Mapping[str, float]
    places: Mapping[str, str]


OnProfile = Callable[[ProfileProgress], None]
OnLoad = Callable[[LiveView], None]


class Screen(Protocol):
    """Where the demo shows how far it is."""

    console: Console

    def say(self, line: str) -> None:
        """One line that stays."""
        ...

    def working(self, what: str) -> AbstractContextManager[None]:
        """Something takes its time."""
        ...

    def profiling(self, functions: Sequence[str]) -> AbstractContextManager[OnProfile]:
        """These functions are being measured; tell it each report."""
        ...

    def load(self) -> AbstractContextManager[OnLoad]:
        """The load is on; show it as often as you like."""
        ...


def screen_for(console: Console) -> Screen:
    """Pictures where there is a terminal to draw on."""
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalScreen(console)
    return PlainScreen(Console(file=console.file, width=PLAIN_WIDTH))


class PlainScreen:
    """For pipes and files."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.console.file.flush()

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        self.say(f"{what} ...")
        yield

    @contextmanager
    def profiling(self, functions: Sequence[str]) -> Iterator[OnProfile]:
        self.say(f"measuring {', '.join(functions)} ...")
        seen: dict[str, tuple[int, ProfileState]] = {}

        def show(progress: ProfileProgress) -> None:
            step = (progress.done, progress.state)
            if seen.get(progress.function) != step:
                seen[progress.function] = step
                self.say(f"  {progress.function}: {told(progress)}")

        yield show

    @contextmanager
    def load(self) -> Iterator[OnLoad]:
        next_s = LINE_EVERY_S

        def show(view: LiveView) -> None:
            nonlocal next_s
            if view.elapsed_s >= next_s:
                next_s += LINE_EVERY_S
                self.say(line_of(view))

        yield show


class TerminalScreen:
    """For people who watch."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        with self.console.status(what):
            yield

    @contextmanager
    def profiling(self, functions: Sequence[str]) -> Iterator[OnProfile]:
        columns = (
            TextColumn("  {task.description:<10}"),
            BarColumn(BAR_CELLS),
            TextColumn("{task.fields[told]}"),
        )
        with Progress(*columns, console=self.console) as bars:
            tasks = {function: bars.add_task(function, total=None, told="waiting") for function in functions}

            def show(progress: ProfileProgress) -> None:
                task: TaskID = tasks[progress.function]
                bars.update(task, total=max(progress.planned, 1), completed=progress.done, told=told(progress))

            yield show

    @contextmanager
    def load(self) -> Iterator[OnLoad]:
        # Drawn only when told to: a thread that draws at moments of its own would disturb the sender.
        with Live(console=self.console, auto_refresh=False) as live:
            yield lambda view: live.update(picture_of(view), refresh=True)


def told(progress: ProfileProgress) -> str:
    """How far a profile is, in words."""
    if progress.state is ProfileState.FAILED:
        return f"failed: {progress.reason}"
    if progress.state is ProfileState.COMPLETE:
        return f"{progress.done} points measured"
    if progress.reason:
        return progress.reason
    left = f", about {progress.left_ms / 1000:.0f} s left" if progress.left_ms else ""
    return f"{progress.done} of {progress.planned} points{left}"


def line_of(view: LiveView) -> str:
    """The load in one line."""
    now = ", ".join(f"{row.function} {row.rps:.0f}/s p99 {_in_ms(row.p99_us)} ms" for row in view.rows)
    so_far = ", ".join(
        f"{row.function} {share(row.attainment)} in time"
        f" ({row.late} late {row.expired} expired {row.refused} refused{_lost(row)})"
        for row in view.rows
    )
    return f"  {view.elapsed_s:3.0f} s, {view.phase} at {view.level:.0%}; {WINDOW}: {now}; so far: {so_far}"


def picture_of(view: LiveView) -> Group:
    """The load as a table under a bar."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("function", no_wrap=True)
    for heading in ("ended/s", "p50 ms", "p99 ms"):
        table.add_column(f"{WINDOW}\n{heading}", justify="right", no_wrap=True)
    table.add_column("objective\nms", justify="right", no_wrap=True)
    for heading in ("answered", "late", "expired", "refused", "in time", "right"):
        table.add_column(f"so far\n{heading}", justify="right", no_wrap=True)
    table.add_column("runs on")
    for row in view.rows:
        objective_ms = view.objectives_ms[row.function]
        table.add_row(
            row.function,
            f"{row.rps:.0f}",
            _in_ms(row.p50_us),
            Text(_in_ms(row.p99_us), style="red" if (row.p99_us or 0) > objective_ms * 1000 else ""),
            f"{objective_ms:g}",
            f"{row.right + row.wrong:,}",
            f"{row.late:,}",
            f"{row.expired:,}",
            f"{row.refused:,}{_lost(row)}",
            share(row.attainment),
            share(row.right / (row.right + row.wrong)) if row.right + row.wrong else "-",
            view.places.get(row.function, ""),
        )
    done = round(BAR_CELLS * min(view.elapsed_s / view.total_s, 1))
    bar = f"  {'━' * done}{'╌' * (BAR_CELLS - done)}  {view.elapsed_s:.0f} of {view.total_s:.0f} s"
    return Group(Text(f"{bar}   {view.phase}: {view.level:.0%} of what fits", no_wrap=True), table)


def _lost(row: LiveRow) -> str:
    return f" {row.lost} lost" if row.lost else ""


def _in_ms(time_us: int | None) -> str:
    return ms(None if time_us is None else time_us / 1000)
