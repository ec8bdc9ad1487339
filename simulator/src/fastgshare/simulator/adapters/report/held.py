"""What replicas held of devices: a device's chunks over the run, and all rectangles at the busiest moment.

A replica on a chunk is drawn as high (or wide) there as its guaranteed share of the time. Where in the window that
share lies is the node's matter; here each lies lowest where nothing else is on any of its chunks at the time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from fastgshare.simulator.adapters.report.looks import (
    FUNCTIONS,
    WIDTH_INCHES,
    Clock,
    clock_for,
    function_colours,
    legend_names,
    ranked_colours,
)
from fastgshare.simulator.core.outcome import Outcome, Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DEVICES = 4
MAX_PACKINGS = 8
COLUMNS = 4
EPSILON = 1e-9


class Box(NamedTuple):
    """A rectangle of a picture, in its panel's units."""

    function: str
    left: float
    bottom: float
    width: float
    height: float


def over_time(policy: str, outcome: Outcome) -> "Figure":
    """For the first few devices that were used: chunks upwards, time to the right."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    clock = clock_for(outcome.duration_us)
    shown = _by_device(outcome.rectangles)
    total, shown = len(shown), shown[:MAX_DEVICES]
    colours = _colours(outcome, [held for _, some in shown for held in some])
    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 1.9 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    chunks = _chunks(outcome.rectangles)
    for panel, (device, rectangles) in zip(panels, shown, strict=True):
        _draw(panel, [box for held, bottom in placed(rectangles) for box in _lane(held, bottom, clock)], colours, 0.3)
        panel.set_ylim(0, chunks)
        panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        panel.set_ylabel("chunks of SMs")
        panel.set_title(device, loc="left", fontsize=10)
    clock.mark(panels[-1], outcome.duration_us)
    _legend(figure, colours)
    some = f", the first {len(shown)} of {total} devices" if total > len(shown) else ""
    figure.suptitle(f"{policy}: what replicas hold{some} (height on a chunk: guaranteed share of its time)")
    return figure


def at_once(policy: str, outcome: Outcome) -> "Figure":
    """The rectangles at the moment with most devices in use: chunks to the right, share of the time upwards."""
    from matplotlib.figure import Figure

    at_us = _fullest(outcome)
    here = [held for held in outcome.rectangles if held.from_us <= at_us < held.until_us]
    devices = _by_device(here)
    total, devices = len(devices), devices[:MAX_PACKINGS]
    colours = _colours(outcome, [held for _, some in devices for held in some])
    columns = min(max(len(devices), 2), COLUMNS)
    rows = max(-(-len(devices) // columns), 1)
    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    chunks = _chunks(outcome.rectangles)
    for panel, (device, rectangles) in zip(panels, devices, strict=False):
        _packing(panel, rectangles, colours)
        panel.set_title(device, loc="left", fontsize=9)
    for panel in panels[len(devices) :]:
        panel.set_axis_off()
    panels[0].set_xlim(0, chunks)
    panels[0].set_ylim(0, 1)
    for panel in panels[max(len(devices) - columns, 0) : len(devices)]:  # those with nothing below them
        panel.set_xlabel("chunks of SMs")
        panel.tick_params(labelbottom=True)
    figure.supylabel("guaranteed share of the time", fontsize=10)
    _legend(figure, colours)
    some = f", {len(devices)} of {total} devices" if total > len(devices) else ""
    figure.suptitle(f"{policy}: rectangles at {at_us / 1e6:,.1f} s, with most devices in use{some}")
    return figure


def placed(rectangles: Iterable[Rectangle]) -> list[tuple[Rectangle, float]]:
    """Each with the lower end of its share, 0 to 1. Wide ones first, as they find the fewest places."""
    done: list[tuple[Rectangle, float]] = []
    standing: list[tuple[Rectangle, float]] = []
    for held in sorted(rectangles, key=lambda each: (each.from_us, -len(each.chunks), each.chunks, each.replica)):
        standing = [(other, bottom) for other, bottom in standing if other.until_us > held.from_us]
        mine = set(held.chunks)
        around = sorted(
            (bottom, bottom + other.quota_request)
            for other, bottom in standing
            if held.until_us > other.from_us and not mine.isdisjoint(other.chunks)
        )
        at = 0.0
        for low, high in around:
            if low - at >= held.quota_request - EPSILON:
                break
            at = max(at, high)
        standing.append((held, min(at, max(1 - held.quota_request, 0.0))))
        done.append(standing[-1])
    return done


def _packing(panel: "Axes", rectangles: Sequence[Rectangle], colours: dict[str, str]) -> None:
    boxes = [
        Box(held.function, first, bottom, count, held.quota_request)
        for held, bottom in placed(rectangles)
        for first, count in runs(held.chunks)
    ]
    _draw(panel, boxes, colours, 1.0)


def _lane(held: Rectangle, bottom: float, clock: Clock) -> Iterator[Box]:
    """On each chunk its share of the height; neighbouring chunks in one where it has them whole."""
    left, right = (at_us / 1e6 / clock.seconds for at_us in (held.from_us, held.until_us))
    is_whole = held.quota_request >= 1 - EPSILON
    lanes = runs(held.chunks) if is_whole else [(chunk, 1) for chunk in held.chunks]
    for first, count in lanes:
        height = count if is_whole else held.quota_request
        yield Box(held.function, left, first + bottom, right - left, height)


def _draw(panel: "Axes", boxes: Sequence[Box], colours: dict[str, str], line_width: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle as Patch

    patches = [Patch((box.left, box.bottom), box.width, box.height) for box in boxes]
    faces = [colours[box.function] for box in boxes]
    panel.add_collection(PatchCollection(patches, facecolors=faces, edgecolors="white", linewidths=line_width))


def runs(chunks: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring chunks as (first, how many)."""
    grouped = groupby(enumerate(sorted(chunks)), key=lambda pair: pair[1] - pair[0])
    found = [[chunk for _, chunk in members] for _, members in grouped]
    return [(members[0], len(members)) for members in found]


def _by_device(rectangles: Iterable[Rectangle]) -> list[tuple[str, list[Rectangle]]]:
    ordered = sorted(rectangles, key=lambda held: (len(held.device), held.device, held.from_us))
    return [(str(device), list(held)) for device, held in groupby(ordered, key=lambda held: held.device)]


def _chunks(rectangles: Iterable[Rectangle]) -> int:
    return 1 + max((max(held.chunks) for held in rectangles if held.chunks), default=0)


def _fullest(outcome: Outcome) -> int:
    """Of the moments with most devices in use, the one with most SM-time promised; the first of equal ones."""
    changes: dict[int, list[tuple[int, Rectangle]]] = {}
    for held in outcome.rectangles:
        changes.setdefault(held.from_us, []).append((1, held))
        changes.setdefault(held.until_us, []).append((-1, held))
    on_device: Counter[str] = Counter()
    used, promised, best = 0, 0.0, (0, 0.0, 0)
    for at_us in sorted(changes):
        for change, held in changes[at_us]:
            before = on_device[held.device]
            on_device[held.device] += change
            used += (before + change > 0) - (before > 0)
            promised += change * len(held.chunks) * held.quota_request
        best = max(best, (used, round(promised, 6), -at_us))
    return -best[2]


def _colours(outcome: Outcome, shown: Iterable[Rectangle]) -> dict[str, str]:
    """Of the functions shown: those of the other pictures, or where these have too few, by what is held here."""
    areas: dict[str, float] = {}
    for held in shown:
        area = len(held.chunks) * held.quota_request * (held.until_us - held.from_us)
        areas[held.function] = areas.get(held.function, 0.0) + area
    if len(outcome.functions) > len(FUNCTIONS):
        return ranked_colours(areas)
    return {name: colour for name, colour in function_colours(outcome.functions).items() if name in areas}


def _legend(figure: "Figure", colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for colour, name in legend_names(colours).items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=9, frameon=False)
