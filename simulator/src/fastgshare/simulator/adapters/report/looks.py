"""Colours that people with any kind of colour vision can tell apart, and axes of time that read well.

The palette is Okabe and Ito's (2008). Policies differ in their lines as well, and functions are named at the side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgshare.simulator.core.outcome import FunctionOutcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LineStyle = str | tuple[int, tuple[int, ...]]

FUNCTIONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
OTHERS = "#999999"
POLICIES: dict[str, tuple[str, LineStyle]] = {
    "objective": ("#0072B2", "-"),
    "paper": ("#D55E00", "--"),
    "time_sharing": ("#009E73", "-."),
    "exclusive": ("#CC79A7", ":"),
    "fixed": ("#000000", (0, (5, 1, 1, 1, 1, 1))),
}
WIDTH_INCHES = 10.0
MAX_POINTS = 1_500
MAX_ROWS = 6
HOUR_S = 3_600
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Clock:
    """The unit in which an axis of time counts."""

    unit: str
    seconds: float

    def mark(self, panel: "Axes", duration_us: int) -> None:
        """Limits and label."""
        panel.set_xlim(0, duration_us / 1e6 / self.seconds)
        panel.set_xlabel(f"time, {self.unit}")


def clock_for(duration_us: int) -> Clock:
    """Seconds up to ten minutes, minutes up to three hours, then hours."""
    duration_s = duration_us / 1e6
    if duration_s <= 10 * MINUTE_S:
        return Clock("s", 1)
    return Clock("min", MINUTE_S) if duration_s <= 3 * HOUR_S else Clock("h", HOUR_S)


def policy_look(policy: str) -> tuple[str, LineStyle]:
    """Colour and line style."""
    return POLICIES.get(policy, (OTHERS, "-"))


def line_width(nth: int, of: int) -> float:
    """Of the nth of several lines: earlier ones are wider, so that they show behind later ones that equal them."""
    return 1.4 + 1.3 * (of - 1 - nth)


def largest(functions: Sequence[FunctionOutcome]) -> list[FunctionOutcome]:
    """Those with most requests, in the order in which they stand."""
    ranked = sorted(functions, key=lambda function: -function.counts.arrived)[:MAX_ROWS]
    return [function for function in functions if function in ranked]


def function_colours(functions: Sequence[FunctionOutcome]) -> dict[str, str]:
    """Those with most requests have colours of their own, the others share grey."""
    return ranked_colours({str(function.function): function.counts.arrived for function in functions})


def ranked_colours(weights: Mapping[str, float]) -> dict[str, str]:
    """The heaviest have colours of their own, the others share grey."""
    ranked = sorted(weights, key=lambda name: (-weights[name], name))
    return {name: FUNCTIONS[nth] if nth < len(FUNCTIONS) else OTHERS for nth, name in enumerate(ranked)}


def legend_names(colours: dict[str, str]) -> dict[str, str]:
    """By colour, what a legend calls it."""
    grey = [name for name, colour in colours.items() if colour == OTHERS]
    names = {colour: name for name, colour in colours.items() if colour != OTHERS}
    return names | ({OTHERS: grey[0] if len(grey) == 1 else f"{len(grey)} others"} if grey else {})
