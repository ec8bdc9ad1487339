"""A table as maps of numbers over SMs and quota: darker to brighter, and beside each number a bar of that height.

The bar says in black and white what the colour says; interpolated numbers have a tilde, those over the objective an
exclamation mark. As many SMs stand side by side as the window is wide for, the others below.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from fastgshare.cli.commands.profile.figures import brief
from fastgshare.cli.commands.profile.rows import Objective, Shown, batches_of
from fastgshare.shared.units import us_to_ms

LEVELS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = ".:-=+*%#"
CELL = 9
QUOTA = 7
# Points of the map viridis, dark to bright: evenly brighter, and told apart by the colour-blind.
RAMP = ((68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37))

Place = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Map:
    """Numbers over SMs and quota. `height`: 0 to 1, how bright and how high."""

    title: str
    rows: Mapping[Place, Shown]
    value: Callable[[Shown], float]
    height: Callable[[float], float]
    is_marked: Callable[[Shown], bool]


def draw(console: Console, rows: Sequence[Shown], batch: int, objective: Objective) -> None:
    """Print the maps of one batch size: throughput, and the latency that counts or the batch's own time."""
    here = {(row.sm_percent, row.quota): row for row in rows if row.batch == batch}
    batches = batches_of(rows)
    others = f"; --batch picks another of {', '.join(map(str, batches))}" if len(batches) > 1 else ""
    console.print(f"batch {batch}{others}", highlight=False)
    levels = ASCII_LEVELS if console.options.ascii_only else LEVELS
    for one in maps(here, objective):
        console.print()
        for line in lines(one, console.width, levels):
            console.print(line, no_wrap=True, crop=True)
    console.print()
    for text in legend(here, objective, levels):
        console.print(text, highlight=False, markup=False)


def maps(rows: Mapping[Place, Shown], objective: Objective) -> list[Map]:
    """What there is to draw of these points."""
    most = max(row.throughput_rps for row in rows.values())

    def late(row: Shown) -> bool:
        return not objective.is_met(row)

    throughput = Map(
        "throughput, inputs/s",
        rows,
        lambda row: row.throughput_rps,
        lambda value: value / most if most else 0.0,
        lambda row: False,
    )
    timing = objective.timing
    title = f"{timing}, ms" + ("" if timing.is_latency else " (latencies were not measured)")
    height = _logarithmic([us_to_ms(timing.of(row)) for row in rows.values() if timing.of(row)])
    return [throughput, Map(title, rows, lambda row: us_to_ms(timing.of(row)), height, late)]


def lines(one: Map, width: int, levels: str = LEVELS) -> Iterator[Text]:
    """A title, then the quotas from above, each a line; where SMs do not fit side by side, further blocks."""
    sms = sorted({sm for sm, _ in one.rows})
    quotas = sorted({quota for _, quota in one.rows}, reverse=True)
    fit = max((width - QUOTA) // CELL, 1)
    yield Text(f"{one.title} by quota and share of SMs", "bold")
    for begin in range(0, len(sms), fit):
        block = sms[begin : begin + fit]
        yield Text(f"{'quota':>{QUOTA - 2}}  " + "".join(f"{f'{sm} %':^{CELL}}" for sm in block), "dim")
        for quota in quotas:
            line = Text(f"{quota:>{QUOTA - 2}g}  ")
            for sm in block:
                line.append_text(_cell(one, one.rows.get((sm, quota)), levels))
            yield line


def legend(rows: Mapping[Place, Shown], objective: Objective, levels: str = LEVELS) -> list[str]:
    """What the marks mean."""
    marks = [f"{levels[0]} to {levels[-1]} least to most"]
    if not all(row.is_certain for row in rows.values()):
        marks.append("~ interpolated")
    if not all(objective.is_met(row) for row in rows.values()):
        marks.append(f"! misses {objective}")
    return ["; ".join(marks)]


def _cell(one: Map, row: Shown | None, levels: str) -> Text:
    value = one.value(row) if row is not None else 0.0
    if row is None or value <= 0:
        return Text(f"{'-':^{CELL}}", "dim")
    height = min(max(one.height(value), 0.0), 1.0)
    level = levels[min(int(height * len(levels)), len(levels) - 1)]
    about = " " if row.is_certain else "~"
    mark = "!" if one.is_marked(row) else " "
    return Text(f"{level}{about}{brief(value):>5}{mark}", _style(height)).append(" ", Style.null())


def _style(height: float) -> Style:
    at = height * (len(RAMP) - 1)
    low = min(int(at), len(RAMP) - 2)
    red, green, blue = (a + (at - low) * (b - a) for a, b in zip(RAMP[low], RAMP[low + 1], strict=True))
    is_bright = 0.3 * red + 0.59 * green + 0.11 * blue > 120
    back = Color.from_rgb(red, green, blue)
    return Style(color="black" if is_bright else "bright_white", bgcolor=back)


def _logarithmic(values: Sequence[float]) -> Callable[[float], float]:
    least, most = min(values, default=1.0), max(values, default=1.0)
    span = math.log(most / least) if most > least else 0.0
    return lambda value: math.log(value / least) / span if span else 0.0
