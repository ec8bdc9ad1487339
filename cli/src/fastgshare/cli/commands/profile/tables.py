"""A table as text: what was measured, and with a tilde and error bars what was worked out from that."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgshare.cli.commands.profile.figures import brief, day, lasting, ms, percent
from fastgshare.cli.commands.profile.rows import (
    ENOUGH_REQUESTS,
    MOST_ERROR,
    Objective,
    Shown,
    Timing,
    best_rows,
    largest_error,
)
from fastgshare.shared.messages import MeasureRequest, Profile, ProfileState

PIPE_COLUMNS = 120
HEADINGS = ("SMs %", "quota", "batch", "inputs/s", "", "device ms", "p50 ms", "p95 ms", "p99 ms", "", "measured")
NOTES_SHOWN = 5
_USUAL_LOAD = MeasureRequest(batch=1).load
LOAD = f"latencies: requests arriving at random at {100 * _USUAL_LOAD:.0f} % of the slice's throughput"


def show(console: Console, profile: Profile, rows: Sequence[Shown], objective: Objective, show_all: bool) -> None:
    """Print a table: its state, a row for the best batch of each slice or for every point, and what it means."""
    if not console.is_terminal:
        console.width = max(console.width, PIPE_COLUMNS)  # nobody's window: a pipe gets whole lines
    console.print(headline(profile, rows), style="bold", highlight=False, markup=False)
    if not rows:
        return
    chosen = list(rows) if show_all else best_rows(rows, objective)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("", "measured") else "right", overflow="fold")
    for row in chosen:
        table.add_row(*cells(row, objective), style=None if row.is_certain else "dim")
    console.print(table)
    for line in explanation(rows, chosen, objective, show_all):
        console.print(line, highlight=False, markup=False)


def headline(profile: Profile, rows: Sequence[Shown]) -> str:
    """Kind, state, how much of it was measured, and what is missing for which reason."""
    measured = sum(row.is_measured for row in rows)
    text = f"{profile.device_kind}: {_state(profile)}"
    if profile.source:
        text += f"; {profile.source}"
    if not rows:
        return text
    text += f"; {measured} of {len(rows)} points measured"
    if profile.wall_ms:
        text += f" in {lasting(profile.wall_ms)}"
    if profile.measured_at_us:
        text += f" on {day(profile.measured_at_us)}"
    error = largest_error(rows)
    if error > MOST_ERROR:
        text += ", some others unknown"
    elif error:
        text += f", the others within {100 * error:.0f} %"
    return f"{text}; {profile.reason}" if profile.reason and profile.state is not ProfileState.FAILED else text


def cells(row: Shown, objective: Objective) -> tuple[str | Text, ...]:
    """One line of the table. What was not measured has a tilde, what misses the objective an exclamation mark."""
    about = "" if row.is_certain else "~"
    times = {timing: f"{about}{ms(timing.of(row))}" if timing.of(row) else "-" for timing in Timing}
    times[Timing.P99] += "?" if row.has_few_requests else ""
    device = f"{about}{ms(row.device_us)}"
    if not objective.is_met(row):
        times[objective.timing] += "!"
        device += "" if objective.timing.is_latency else "!"
    return (
        str(row.sm_percent),
        f"{row.quota:g}",
        str(row.batch),
        f"{about}{brief(row.throughput_rps)}",
        percent(row.throughput_error),
        *(_reddened(text) for text in (device, times[Timing.P50], times[Timing.P95], times[Timing.P99])),
        percent(row.latency_error) if objective.timing.is_latency else "",
        _how(row),
    )


def explanation(rows: Sequence[Shown], chosen: Sequence[Shown], objective: Objective, show_all: bool) -> list[str]:
    """What the marks mean that are there, and the notes of points that did not settle."""
    lines = []
    if not show_all and len(chosen) < len(rows):
        lines.append(f"the best batch of each slice for {objective}; --all shows every point")
    lines += _marks(chosen, objective)
    if not any(objective.is_met(row) for row in rows):
        lines.append(f"no slice meets the objective, {objective}, with any batch")
    if any(row.requests for row in rows):  # how other people measured theirs is not known
        lines.append(LOAD)
    if not objective.timing.is_latency:
        lines.append("latencies of requests were not measured: the objective is held against times of batches")
    elif f"p{objective.percentile:g}" not in str(objective.timing):
        lines.append(f"the objective is held against the {objective.timing}")
    unsettled = [row for row in rows if not row.is_settled]
    lines += [f"{_place(row)} did not settle: {row.note or 'no reason was given'}" for row in unsettled[:NOTES_SHOWN]]
    more = len(unsettled) - NOTES_SHOWN
    if more > 0:
        lines.append(f"and {more} point{'' if more == 1 else 's'} more did not settle")
    return lines


def _marks(chosen: Sequence[Shown], objective: Objective) -> list[str]:
    marks = []
    if not all(row.is_certain for row in chosen):
        marks.append("~ interpolated, true within ± 19 times of 20")
    if not all(objective.is_met(row) for row in chosen):
        marks.append(f"! misses {objective}")
    lines = ["; ".join(marks)] if marks else []
    if any(row.has_few_requests for row in chosen):
        lines.append(f"? a p99 of fewer than {ENOUGH_REQUESTS} requests, which is hardly more than the slowest of them")
    return lines


def _state(profile: Profile) -> str:
    if profile.state is ProfileState.FAILED:
        return f"given up: {profile.reason or 'no reason was given'}"
    return "still being measured" if profile.state is ProfileState.MEASURING else "complete"


def _reddened(text: str) -> Text:
    return Text(text, "red" if text.endswith("!") else "")


def _how(row: Shown) -> str:
    if not row.is_measured:
        return "no"
    return "yes" if row.is_settled else "unsettled"


def _place(row: Shown) -> str:
    return f"{row.sm_percent} % of the SMs, quota {row.quota:g}, batch {row.batch}"
