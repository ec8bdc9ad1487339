"""A table as a picture: for each batch throughput and latency over the SMs, a line for each quota, with error bars.

matplotlib is an extra of this distribution, imported only here and only when a picture is wanted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastgshare.cli.commands.profile.figures import day
from fastgshare.cli.commands.profile.rows import MOST_ERROR, Objective, Shown, batches_of
from fastgshare.cli.running import Usage
from fastgshare.shared.messages import Profile
from fastgshare.shared.units import us_to_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "a picture needs matplotlib, which is not installed: pip install 'fastgshare-cli[plot]'"
ROW_INCHES = 2.6
WIDTH_INCHES = 10.0
HEAD_INCHES = 1.25
DPI = 130
LEGEND_COLUMNS = 8
LEAST_OF_VALUE = 0.1
"""An error bar ends at this share of its value: on a logarithmic axis one towards nothing would be all there is."""
APART_PERCENT = 0.5
"""How far the quotas' points stand apart, so that their error bars do not hide each other."""


class Mark(StrEnum):
    """How a point came about, and how it is drawn: filled, a cross, hollow."""

    INTERPOLATED = "interpolated"
    UNSETTLED = "not settled"
    MEASURED = "measured"

    @classmethod
    def of(cls, row: Shown) -> "Mark":
        """A point's."""
        if not row.is_measured:
            return cls.INTERPOLATED
        return cls.MEASURED if row.is_settled else cls.UNSETTLED


@dataclass(frozen=True, slots=True)
class Subject:
    """What the picture is of."""

    function: str
    model: str
    profile: Profile
    objective: Objective


def check(file: Path) -> None:
    """Fail before anything is measured for a picture that cannot be made. Raises Usage."""
    if file.suffix.lower() != ".png":
        raise Usage(problem=f"{file}: expected a name that ends in .png")
    ensure_matplotlib()


def ensure_matplotlib() -> None:
    """Raises Usage where there is no matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise Usage(problem=MISSING) from None


def write_png(path: Path, subject: Subject, rows: Sequence[Shown], batches: Sequence[int]) -> None:
    """Draw these batches of a table into a file. Raises Usage where there is no matplotlib or no room for the file."""
    ensure_matplotlib()
    figure = draw(subject, rows, batches)
    try:
        figure.savefig(path, dpi=DPI, format="png")
    except OSError as error:
        raise Usage(problem=f"{path}: cannot write it: {error.strerror or error}") from None


def draw(subject: Subject, rows: Sequence[Shown], batches: Sequence[int]) -> "Figure":
    """The figure: a row of two panels for each batch."""
    from matplotlib.figure import Figure

    height = HEAD_INCHES + ROW_INCHES * len(batches)
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(len(batches), 2, sharex=True, squeeze=False)
    for (left, right), batch in zip(panels, batches, strict=True):
        here = [row for row in rows if row.batch == batch]
        _throughput(left, here)
        _latency(right, here, subject.objective)
        left.set_title(f"batch {batch}", loc="left", fontsize=10, fontweight="bold")
    for panel in panels[-1]:
        panel.set_xlabel("SMs of the slice, %")
    _head(figure, subject, rows)
    return figure


def _head(figure: "Figure", subject: Subject, rows: Sequence[Shown]) -> None:
    from matplotlib.lines import Line2D

    profile = subject.profile
    about = [subject.model, profile.device_kind]
    if profile.measured_at_us:
        about.append(day(profile.measured_at_us))
    if profile.source:
        about.append(profile.source)
    figure.suptitle(f"{subject.function}: throughput and latency by slice\n{' · '.join(about)}", fontsize=12)
    quotas = _quotas(rows)
    handles: list[Line2D] = [Line2D([], [], color=_colour(quotas, quota), label=f"quota {quota:g}") for quota in quotas]
    dot = partial(Line2D, [], [], color="0.3", linestyle="none", marker="o", markersize=5)
    marks = {Mark.of(row) for row in rows}
    if Mark.MEASURED in marks:
        handles.append(dot(label=Mark.MEASURED))
    if Mark.UNSETTLED in marks:
        handles.append(dot(label=Mark.UNSETTLED, marker="x"))
    if Mark.INTERPOLATED in marks:
        handles.append(dot(label=f"{Mark.INTERPOLATED}, 95 % error", markerfacecolor="white"))
    handles.append(Line2D([], [], color="crimson", linestyle="--", label=str(subject.objective)))
    columns = len(handles) if len(handles) <= LEGEND_COLUMNS else -(-len(handles) // 2)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _throughput(panel: "Axes", rows: Sequence[Shown]) -> None:
    _lines(panel, rows, lambda row: row.throughput_rps, lambda row: row.throughput_error)
    for quota in _quotas(rows):  # said at the line itself: colours alone do not reach everybody
        last = max((row for row in rows if row.quota == quota), key=lambda row: row.sm_percent)
        at = (last.sm_percent, last.throughput_rps)
        panel.annotate(f"{quota:g}", at, (6, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_ylabel("inputs a second")
    panel.set_ylim(bottom=0)


def _latency(panel: "Axes", rows: Sequence[Shown], objective: Objective) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    timing = objective.timing
    _lines(
        panel,
        rows,
        lambda row: us_to_ms(timing.of(row)),
        lambda row: row.latency_error if timing.is_latency else 0.0,
    )
    panel.set_ylabel(f"{timing}, ms")
    panel.set_yscale("log")
    panel.axhline(us_to_ms(objective.slo_us), color="crimson", linestyle="--", linewidth=1.2)
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(_plain)
    panel.yaxis.set_minor_formatter(NullFormatter())


def _plain(value: float, _at: float) -> str:
    return f"{value:g}"


def _lines(
    panel: "Axes", rows: Sequence[Shown], value: Callable[[Shown], float], error: Callable[[Shown], float]
) -> None:
    """A line a quota through all points; each with its error, those that were measured filled or a cross."""
    quotas = _quotas(rows)
    for nth, quota in enumerate(quotas):
        colour = _colour(quotas, quota)
        aside = APART_PERCENT * (nth - (len(quotas) - 1) / 2)
        line = [row for row in rows if row.quota == quota and value(row) > 0]
        panel.plot([row.sm_percent + aside for row in line], [value(row) for row in line], color=colour, linewidth=1.2)
        for mark in Mark:
            some = [row for row in line if Mark.of(row) is mark]
            panel.errorbar(
                [row.sm_percent + aside for row in some],
                [value(row) for row in some],
                yerr=[
                    [value(row) * min(error(row), 1 - LEAST_OF_VALUE) for row in some],
                    [value(row) * min(error(row), MOST_ERROR) for row in some],
                ],
                color=colour,
                linestyle="none",
                marker="x" if mark is Mark.UNSETTLED else "o",
                markersize=4 if mark is Mark.INTERPOLATED else 5,
                markerfacecolor="white" if mark is Mark.INTERPOLATED else colour,
                elinewidth=1,
                capsize=2,
            )
    panel.grid(visible=True, alpha=0.25)
    panel.set_xlim(0, 108)


def _quotas(rows: Sequence[Shown]) -> list[float]:
    return sorted({row.quota for row in rows})


def _colour(quotas: Sequence[float], quota: float) -> str:
    """Dark for little time, brighter for more; never the pale end, which white paper swallows."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    share = quotas.index(quota) / max(len(quotas) - 1, 1)
    return to_hex(colormaps["viridis"](0.85 * share))


def chosen_batches(rows: Sequence[Shown], batch: int | None) -> list[int]:
    """The one that was asked for, or all. Raises Usage for one that the table does not have."""
    batches = batches_of(rows)
    if batch is None:
        return batches
    if batch not in batches:
        raise Usage(problem=f"--batch is {batch}, the table has {', '.join(map(str, batches))}")
    return [batch]
