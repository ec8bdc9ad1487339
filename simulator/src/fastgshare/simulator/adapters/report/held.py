"""What replicas held of devices: a device's chunks over the run, and all rectangles at the busiest moment.

At one moment a replica on a chunk is as high as its guaranteed share of the time. Where in the window that share lies
is the node's matter; here each lies lowest where nothing else is on any of its chunks. Over time: see `lanes`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from fastgshare.simulator.adapters.report.lanes import Lane, lanes, runs
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
MANY_BOXES = 400
LIGHT = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#999999")
"""Colours on which black is read more easily than white."""
LABELLED_WIDTH, LABELLED_HEIGHT = 0.03, 0.06
"""Shares of the panel that a box has at least, for its quota to be written into it."""
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
    label: str


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
    for panel, (device, rectangles) in zip(panels, shown, strict=True):
        chunks = _chunks(outcome, device, rectangles)
        boxes = [_box(lane, clock) for lane in lanes(rectangles)]
        _draw(panel, boxes, colours, 0.5 if len(boxes) < MANY_BOXES else 0.2)
        _label(panel, boxes, colours, chunks, outcome.duration_us / 1e6 / clock.seconds)
        panel.set_ylim(0, chunks)
        panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        panel.set_ylabel("chunks of SMs")
        panel.set_title(device, loc="left", fontsize=10)
    clock.mark(panels[-1], outcome.duration_us)
    _legend(figure, colours)
    some = f", the first {len(shown)} of {total} devices" if total > len(shown) else ""
    figure.suptitle(f"{policy}: what replicas hold{some}\na box is a replica, as high as its chunks times its quota")
    return figure


def at_once(policy: str, outcome: Outcome) -> "Figure":
    """The rectangles at the moment with most devices in use: chunks to the right, share of the time upwards."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    at_us = _fullest(outcome)
    here = [held for held in outcome.rectangles if held.from_us <= at_us < held.until_us]
    devices = _by_device(here)
    total, devices = len(devices), devices[:MAX_PACKINGS]
    colours = _colours(outcome, [held for _, some in devices for held in some])
    columns = min(max(len(devices), 2), COLUMNS)
    rows = max(-(-len(devices) // columns), 1)
    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, (device, rectangles) in zip(panels, devices, strict=False):
        _packing(panel, rectangles, colours)
        panel.set_xlim(0, _chunks(outcome, device, rectangles))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        panel.set_title(device, loc="left", fontsize=9)
    for panel in panels[len(devices) :]:
        panel.set_axis_off()
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
        Box(held.function, first, bottom, count, held.quota_request, "")
        for held, bottom in placed(rectangles)
        for first, count in runs(held.chunks)
    ]
    _draw(panel, boxes, colours, 1.0)


def _draw(panel: "Axes", boxes: Sequence[Box], colours: dict[str, str], line_width: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle as Patch

    patches = [Patch((box.left, box.bottom), box.width, box.height) for box in boxes]
    faces = [colours[box.function] for box in boxes]
    panel.add_collection(PatchCollection(patches, facecolors=faces, edgecolors="white", linewidths=line_width))


def _box(lane: Lane, clock: Clock) -> Box:
    left, right = (at_us / 1e6 / clock.seconds for at_us in (lane.from_us, lane.until_us))
    return Box(lane.held.function, left, lane.bottom, right - left, lane.height, f"{lane.held.quota_request:g}")


def _label(panel: "Axes", boxes: Sequence[Box], colours: dict[str, str], chunks: int, width: float) -> None:
    """The quota, where it is readable."""
    for box in boxes:
        if box.width > LABELLED_WIDTH * width and box.height > LABELLED_HEIGHT * chunks:
            middle = box.left + box.width / 2, box.bottom + box.height / 2
            ink = "black" if colours[box.function] in LIGHT else "white"
            panel.text(*middle, box.label, ha="center", va="center", fontsize=7, color=ink, clip_on=True)


def _by_device(rectangles: Iterable[Rectangle]) -> list[tuple[str, list[Rectangle]]]:
    ordered = sorted(rectangles, key=lambda held: (len(held.device), held.device, held.from_us))
    return [(str(device), list(held)) for device, held in groupby(ordered, key=lambda held: held.device)]


def _chunks(outcome: Outcome, device: str, rectangles: Iterable[Rectangle]) -> int:
    """All of a device; where that is not known, up to the last one held."""
    known = next((each.chunks for each in outcome.devices if each.device == device), 0)
    return known or 1 + max((max(held.chunks) for held in rectangles if held.chunks), default=0)


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
