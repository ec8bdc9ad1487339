"""A request's way through the platform as a picture: one bar a stage over one axis of time, the objective across it.

Bars differ by character as well as by colour, and the picture is as wide as the terminal. Ids and names are others'
text, shown as it is: nothing in it is markup, and nothing of it drives the terminal.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgshare.cli.running import in_ms
from fastgshare.shared.messages import RequestTrace
from fastgshare.shared.telemetry.spans_stages import (
    ADMIT,
    EXECUTE,
    HANDLER,
    HOLD,
    QUEUE,
    REPLY,
    ROUTE,
    TOKEN_WAIT,
    Stage,
    process,
    stages,
)
from fastgshare.shared.units import US_PER_S, us_to_ms

LEAST_BAR = 16
MOST_TOLD = 40
TIME_COLUMNS = 9
GAPS = 8
OBJECTIVE = "┊"
LOST = "x"


class Look(NamedTuple):
    """How a stage's bar is drawn, and whether it is a part of the one above."""

    character: str
    style: str
    depth: int


LOOKS = {
    ADMIT: Look("▪", "cyan", 1),
    HOLD: Look("░", "yellow", 1),
    ROUTE: Look("─", "cyan", 1),
    HANDLER: Look("▓", "magenta", 2),
    QUEUE: Look("░", "yellow", 2),
    TOKEN_WAIT: Look("▒", "yellow", 2),
    EXECUTE: Look("█", "green", 2),
    REPLY: Look("─", "cyan", 1),
}
WHOLE = Look("━", "bold", 0)
ON_WORKER = Look("━", "blue", 1)


class Axis:
    """Microseconds to columns; it reaches to the objective where that lies beyond the end."""

    def __init__(self, trace: RequestTrace, columns: int) -> None:
        self._begin_us = trace.arrived_us
        self._columns = columns
        near = trace.objective_us and trace.objective_us - trace.arrived_us <= 2 * (trace.end_us - trace.arrived_us)
        end_us = max(trace.end_us, trace.objective_us if near else 0)
        self._length_us = max(end_us - trace.arrived_us, 1)
        self.objective = self._column(trace.objective_us) if near or 0 < trace.objective_us < end_us else None

    def bar(self, start_us: int, end_us: int, look: Look) -> Text:
        """One line of the picture; what takes any time is at least one character."""
        start = min(self._column(start_us), self._columns - 1)
        stop = max(self._column(end_us), start + 1)
        line = [" "] * self._columns
        if self.objective is not None and self.objective < self._columns:
            line[self.objective] = OBJECTIVE
        text = Text("".join(line), style="dim")
        body = look.character * (stop - start)
        return text[:start] + Text(body, style=look.style) + text[stop:]

    def _column(self, at_us: int) -> int:
        return round((at_us - self._begin_us) * self._columns / self._length_us)


def waterfall(trace: RequestTrace, console: Console) -> None:
    """Print it."""
    for line in _heading(trace):
        console.print(plain(line), overflow="fold")
    lines = _lines(trace)
    names = ["  " * look.depth + name for name, _, look, _ in lines]
    room = console.width - max(len(name) for name in names) - 2 * TIME_COLUMNS - GAPS
    told_columns = max(min(max(len(told) for *_, told in lines), MOST_TOLD, room - LEAST_BAR), 1)
    axis = Axis(trace, max(room - told_columns, LEAST_BAR))
    digits = _digits(trace.end_us - trace.arrived_us)
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("from ms", justify="right", no_wrap=True, min_width=TIME_COLUMNS)
    table.add_column("took ms", justify="right", no_wrap=True, min_width=TIME_COLUMNS)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=told_columns)
    for name, (_, stage, look, told) in zip(names, lines, strict=True):
        from_ms, took_ms = us_to_ms(stage.start_us - trace.arrived_us), us_to_ms(stage.end_us - stage.start_us)
        bar = axis.bar(stage.start_us, stage.end_us, look)
        table.add_row(plain(name), f"{from_ms:.{digits}f}", f"{took_ms:.{digits}f}", bar, plain(told))
    console.print(table)
    console.print(plain(_verdict(trace, axis)))


def plain(text: str) -> Text:
    """The text without markup, and with control characters as escapes."""
    return Text("".join(character if character.isprintable() else ascii(character)[1:-1] for character in text))


def clock_time(at_us: int) -> str:
    """Date and time, UTC, to the millisecond."""
    return datetime.fromtimestamp(at_us / US_PER_S, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def met_in_words(trace: RequestTrace) -> str:
    """Whether the objective was met."""
    return {True: "met", False: "missed", None: "does not count"}[trace.is_met]


def _heading(trace: RequestTrace) -> list[str]:
    kept = "sampled" if trace.is_sampled else "kept because it missed its objective"
    return [
        f"request {trace.request} to {trace.function}, {trace.outcome} ({kept})",
        f"trace {trace.trace_id}, came in by {trace.door} at {trace.gateway}, {clock_time(trace.arrived_us)} UTC",
    ]


def _lines(trace: RequestTrace) -> list[tuple[str, Stage, Look, str]]:
    whole = Stage("request", trace.arrived_us, trace.end_us)
    lines = [(whole.name, whole, WHOLE, f"{_rows(trace.rows)}, {trace.outcome}")]
    worked = process(trace)
    for stage in stages(trace):
        if stage.name == ROUTE:
            lines.append((_route_name(trace, stage), stage, LOOKS[ROUTE], _route(trace, stage)))
            if worked is not None and stage.attempt == worked.attempt:
                lines.append(("worker", worked, ON_WORKER, _worker(trace)))
        else:
            told = _batch(trace) if stage.name == EXECUTE else stage.part
            lines.append((stage.name, stage, LOOKS[stage.name], told))
    return lines


def _route_name(trace: RequestTrace, stage: Stage) -> str:
    return ROUTE if len(trace.attempts) < 2 else f"{ROUTE} {stage.attempt}"


def _route(trace: RequestTrace, stage: Stage) -> str:
    attempt = trace.attempts[stage.attempt - 1]
    if attempt.lost_us:
        return f"{LOST} lost at {attempt.replica}"
    return f"{LOST} unanswered by {attempt.replica}" if stage.is_lost else f"to {attempt.replica}"


def _worker(trace: RequestTrace) -> str:
    where = trace.attempts[-1].device
    if trace.timing is not None and not trace.timing.arrived_us:
        return f"{where} (guessed)"
    return where


def _batch(trace: RequestTrace) -> str:
    assert trace.timing is not None
    return f"in a batch of {_rows(trace.timing.batch)}"


def _digits(whole_us: int) -> int:
    """Behind the point of milliseconds: the same on every line, so that they can be compared at a glance."""
    return 3 if whole_us < US_PER_S // 100 else 2 if whole_us < US_PER_S // 10 else 1


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _verdict(trace: RequestTrace, axis: Axis) -> str:
    if not trace.objective_us:
        return "no objective"
    allowed = in_ms(trace.objective_us - trace.arrived_us)
    mark = f" ({OBJECTIVE})" if axis.objective is not None else ""
    if trace.is_met is None:
        return f"objective {allowed} ms{mark}: does not count, the end was the caller's own doing"
    by_us = trace.objective_us - (trace.first_us or trace.end_us)
    if trace.is_met:
        return f"objective {allowed} ms{mark}: met with {in_ms(by_us)} ms to spare"
    if by_us >= 0:
        return f"objective {allowed} ms{mark}: missed, it was not answered"
    return f"objective {allowed} ms{mark}: missed by {in_ms(-by_us)} ms"
