"""The tables of functions and decisions: their columns, which of them fit, how rows are sorted and chosen. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.text import Text

from fastgshare.cli.top import figures
from fastgshare.cli.top.marks import Marks
from fastgshare.shared.overview.view import Decision, FunctionView, PlatformView

KEPT, MISSED = "✓", "!"
BAD_STYLE = "bold #D55E00"  # to be read on dark and on light
NAME_WIDTH = 17
SPARK_WIDTH = 11


class Column(NamedTuple):
    """A column of functions; the lower its `rank`, the sooner it has a place. Sorted by `order`, smallest first."""

    key: str
    heading: str
    width: int
    rank: int
    cell: Callable[[FunctionView], Text]
    order: Callable[[FunctionView], tuple[float, str]] | None = None


def _plain(text: str) -> Text:
    return Text(text, no_wrap=True)


def _right(text: str, width: int) -> Text:
    return Text(text.rjust(width), no_wrap=True)


def _met(window: str, width: int) -> Callable[[FunctionView], Text]:
    def cell(function: FunctionView) -> Text:
        kept = figures.is_kept(function, window)
        text = figures.share(function.attainment.get(window))
        if kept is None:
            return Text(text.rjust(width), "dim")
        return Text(f"{KEPT if kept else MISSED}{text}".rjust(width), "" if kept else BAD_STYLE)

    return cell


def _least_met_first(function: FunctionView) -> tuple[float, str]:
    met = function.attainment.get("1m")
    return (2.0 if met is None else met, function.function)


def _burn(function: FunctionView) -> Text:
    burn = function.burn.get("1h")
    return Text(figures.times(burn).rjust(6), BAD_STYLE if burn is not None and burn > 1 else "")


def _spark(function: FunctionView) -> Text:
    return Text(figures.spark(function.rate_spark, SPARK_WIDTH))


def _replicas(function: FunctionView) -> Text:
    short = function.ready < function.wanted_min
    return Text(figures.replicas(function), BAD_STYLE if short else "")


COLUMNS: tuple[Column, ...] = (
    Column("objective", "objective", 12, 2, lambda one: _plain(figures.objective(one))),
    Column("met", " met 1m", 7, 1, _met("1m", 7), _least_met_first),
    Column("met_10m", "    10m", 7, 8, _met("10m", 7)),
    Column("met_1h", "     1h", 7, 9, _met("1h", 7)),
    Column("burn", "  burn", 6, 7, _burn, lambda one: (-(one.burn.get("1h") or 0.0), one.function)),
    Column(
        "rate", " req/s", 6, 3, lambda one: _right(figures.rate(one.rate), 6), lambda one: (-one.rate, one.function)
    ),
    Column("p50", "p50 ms", 6, 10, lambda one: _right(figures.ms(one.p50_ms), 6)),
    Column(
        "p99",
        "p99 ms",
        6,
        4,
        lambda one: _right(figures.ms(one.p99_ms), 6),
        lambda one: (-(one.p99_ms or 0.0), one.function),
    ),
    Column("ready", "ready", 7, 5, _replicas),
    Column("held", " held", 5, 11, lambda one: _right(str(one.held), 5)),
    Column("spark", "last 2 min", SPARK_WIDTH, 6, _spark),
)
ORDERS = ("name", *(column.key for column in COLUMNS if column.order is not None))


def fitting(width: int) -> list[Column]:
    """The columns that there is room for beside the name, in their places."""
    left = width - NAME_WIDTH - 2
    chosen = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if left >= column.width + 2:
            chosen.add(column.key)
            left -= column.width + 2
    return [column for column in COLUMNS if column.key in chosen]


def name_cell(function: FunctionView, marks: Marks) -> Text:
    """Its letter in its colour, and its name."""
    mark = marks.of(function.function)
    troubled = BAD_STYLE if function.reasons else ""
    name = function.function if len(function.function) <= NAME_WIDTH - 2 else function.function[: NAME_WIDTH - 3] + "…"
    return Text.assemble((mark.letter, mark.style), " ", (name, troubled), no_wrap=True)


def chosen_functions(view: PlatformView, wanted: str, order: str) -> list[FunctionView]:
    """Those whose name holds what is wanted, in this order."""
    found = [function for function in view.functions if wanted.lower() in function.function]
    by = next((column.order for column in COLUMNS if column.key == order), None)
    return sorted(found, key=by) if by is not None else found


def chosen_decisions(view: PlatformView, wanted: str, function: str = "") -> list[Decision]:
    """Those about a function (empty: any) that hold what is wanted anywhere."""
    return [
        decision
        for decision in view.decisions
        if (not function or decision.function == function) and wanted.lower() in _searched(decision)
    ]


def _searched(decision: Decision) -> str:
    return f"{decision.kind} {decision.function} {decision.text} {decision.source}".lower()


def decision_line(decision: Decision, marks: Marks, now_us: int) -> Text:
    """How long ago, what, about whom, and why."""
    mark = marks.of(decision.function)
    return Text.assemble(
        (f"{figures.ago(decision.at_us, now_us):>4} ", "dim"),
        (f"{decision.kind:<18.18} ", "bold"),
        (mark.letter, mark.style) if decision.function else " ",
        " ",
        (f"{decision.function:<12.12} ", ""),
        " ".join(decision.text.split()),
        no_wrap=True,
        overflow="ellipsis",
    )


def functions_cells(functions: Sequence[FunctionView], columns: Sequence[Column], marks: Marks) -> list[list[Text]]:
    """A row a function."""
    return [[name_cell(one, marks), *(column.cell(one) for column in columns)] for one in functions]
