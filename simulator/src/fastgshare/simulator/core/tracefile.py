"""Traces in CSV: recorded arrivals, or rates by interval, of one function or several; checked before anybody runs them.

Columns, in any order: `t_s` (seconds from the start), and `rps` (requests a second from then until the function's next
row) where the rows are rates, and `function`, which names whose they are. Without `rps` each row is one request.
Pure: text in, arrays out. A file with anything wrong in it gives no trace but every line that is wrong.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.ids import is_name
from fastgshare.simulator.core.traffic import Floats, Load, stepped

TIME, RATE, FUNCTION = "t_s", "rps", "function"
COLUMNS = (TIME, RATE, FUNCTION)
PROBLEMS_SHOWN = 8
MAX_S = 366 * 24 * 3600.0
MAX_RPS = 1e7
ANYBODY = ""
"""Whose rows they are where the file does not tell."""


class TraceInvalid(FastGShareError):
    """A trace cannot be used; `problems` says which lines, and what was expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems="; ".join(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(shown(self.problems))


@dataclass(frozen=True, slots=True)
class Trace:
    """By function: `times_s`, and `rps` from each of them on, or None where each is one request."""

    rows: dict[str, tuple[Floats, Floats | None]]

    @property
    def end_s(self) -> float:
        """When it is over: after the last request, or after the last rate's interval, as long as the one before."""
        return max((_end_s(times, rates) for times, rates in self.rows.values()), default=0.0)

    @property
    def tail_s(self) -> float:
        """How much of that lies after the last row of all and is only assumed; 0 of recorded requests."""
        if all(rates is None for _, rates in self.rows.values()):
            return 0.0
        return self.end_s - max(float(times[-1]) for times, _ in self.rows.values())


def read_trace(text: str) -> Trace:
    """Raises TraceInvalid."""
    lines = csv.reader(text.splitlines())
    try:
        return _read(lines)
    except csv.Error as error:
        raise TraceInvalid([f"line {lines.line_num}: {error}"]) from error


def _read(lines: Any) -> Trace:
    """From a `csv.reader`. Raises TraceInvalid and csv.Error."""
    header = [name.strip().lower() for name in next(lines, [])]
    if problem := _header_problem(header):
        raise TraceInvalid([problem])
    found: dict[str, list[tuple[float, float]]] = {}
    problems: list[str] = []
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        problem = _take(found, dict(zip(header, cells, strict=False)), header, len(cells))
        if problem:
            problems.append(f"line {lines.line_num}: {problem}")
    if problems:
        raise TraceInvalid(problems)
    if not found:
        raise TraceInvalid(["it has no rows, expected at least one"])
    has_rates = RATE in header
    return Trace({name: _columns(rows, has_rates) for name, rows in found.items()})


def load_of(times_s: Floats, rates: Floats, scale: float, until_s: float) -> Load:
    """The rates of one function as a load that ends with the trace, or at `until_s`."""
    ends_s = min(_end_s(times_s, rates), until_s)
    return stepped(list(zip(times_s.tolist(), (rates * scale).tolist(), strict=True)), ends_s)


def shown(problems: Sequence[str]) -> Iterator[str]:
    """The first of them, and how many more there are."""
    yield from problems[:PROBLEMS_SHOWN]
    if len(problems) > PROBLEMS_SHOWN:
        yield f"and {len(problems) - PROBLEMS_SHOWN} more"


def _end_s(times: Floats, rates: Floats | None) -> float:
    last_s = float(times[-1])
    if rates is None:
        return math.floor(last_s) + 1.0
    return min(last_s + (last_s - float(times[-2]) if len(times) > 1 else 1.0), max(last_s + 1.0, MAX_S))


def _header_problem(header: Sequence[str]) -> str:
    expected = f"expected {TIME} and, as needed, {RATE} and {FUNCTION}"
    if len(header) == 1 and ";" in header[0]:
        return f"line 1: its columns are separated by ';', expected ','; {expected}"
    if TIME not in header:
        return f"line 1: its columns are {', '.join(header) or 'none'}, {expected}"
    if unknown := [name for name in header if name not in COLUMNS]:
        return f"line 1: column {unknown[0]!r} is not known, {expected}"
    if len(set(header)) < len(header):
        return f"line 1: a column stands there twice, {expected}"
    return ""


def _take(found: dict[str, list[tuple[float, float]]], row: dict[str, str], header: Sequence[str], cells: int) -> str:
    """Adds a row; what is wrong with it, or nothing."""
    if cells != len(header):
        return f"it has {cells} values, expected {len(header)}: {', '.join(header)}"
    name = row.get(FUNCTION, ANYBODY).strip()
    if FUNCTION in row and not is_name(name):
        return f"function is {name!r}, expected a name of lower-case letters, digits, '-' and '_'"
    at_s, rps = _number(row[TIME]), _number(row.get(RATE, "0"))
    if not 0 <= at_s <= MAX_S:
        return f"{TIME} is {row[TIME].strip()!r}, expected seconds from 0 to {MAX_S:g}"
    if not 0 <= rps <= MAX_RPS:
        return f"{RATE} is {row[RATE].strip()!r}, expected requests a second from 0 to {MAX_RPS:g}"
    before = found.setdefault(name, [])
    if before and (at_s < before[-1][0] or (RATE in row and at_s == before[-1][0])):
        return f"{TIME} is {at_s:g} after {before[-1][0]:g}, expected ascending times"
    before.append((at_s, rps))
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _columns(rows: Sequence[tuple[float, float]], has_rates: bool) -> tuple[Floats, Floats | None]:
    times = np.array([at_s for at_s, _ in rows])
    return times, np.array([rps for _, rps in rows]) if has_rates else None
