"""The device over time as a PNG beside the report, drawn by what draws the simulator's reports."""

from collections.abc import Sequence
from pathlib import Path

from examples.demo.figures import Summary
from examples.demo.rectangles import Held, Moment
from fastgshare.shared.ids import DeviceId, FunctionName, NodeId, ReplicaId
from fastgshare.shared.units import s_to_us
from fastgshare.simulator.adapters.report import drawing, held
from fastgshare.simulator.core.outcome import Counts, DeviceOutcome, FunctionOutcome, Outcome, Rectangle, Spent

NAME = "rectangles.png"
DOTS_PER_INCH = 110


def draw(summary: Summary, folder: Path, chunks: int) -> str:
    """Write the picture of devices of `chunks` chunks. Gives its name.

    Nothing where there is nothing to draw it with, or nothing to draw.
    """
    if not summary.moments or not drawing.can_draw():
        return ""
    held.over_time("this run", _as_outcome(summary, chunks)).savefig(folder / NAME, dpi=DOTS_PER_INCH)
    return NAME


def rectangles_of(moments: Sequence[Moment], until_us: int) -> list[Rectangle]:
    """What each replica held, from when it was first seen so until it was seen otherwise."""
    done: list[Rectangle] = []
    since: dict[Held, int] = {}
    for moment in moments:
        at_us = min(max(moment.at_us, 0), until_us)
        gone = [each for each in since if each not in moment.held]
        done += [_rectangle(each, since.pop(each), at_us) for each in gone]
        for each in moment.held:
            since.setdefault(each, at_us)
    done += [_rectangle(each, from_us, until_us) for each, from_us in since.items()]
    return [each for each in done if each.until_us > each.from_us]


def _rectangle(each: Held, from_us: int, until_us: int) -> Rectangle:
    return Rectangle(
        function=FunctionName(each.function),
        replica=ReplicaId(each.replica),
        device=DeviceId(each.device),
        chunks=each.chunks,
        quota_request=each.quota,
        quota_limit=1.0,
        from_us=from_us,
        until_us=until_us,
    )


def _as_outcome(summary: Summary, chunks: int) -> Outcome:
    """As much of one as a picture of what was held takes."""
    duration_us = s_to_us(summary.load_seconds)
    rectangles = rectangles_of(summary.moments, duration_us)
    devices = sorted({held.device for held in rectangles})
    return Outcome(
        duration_us=duration_us,
        sample_us=duration_us,
        functions=[
            FunctionOutcome(
                function=FunctionName(figures.target.function),
                slo_ms=figures.target.objective_ms,
                slo_percentile=figures.target.percentile,
                counts=Counts(),
                latency_us={},
                samples=[],
            )
            for figures in summary.functions
        ],
        devices=[DeviceOutcome(device=name, node=NodeId(""), kind="", chunks=chunks) for name in devices],
        samples=[],
        rectangles=rectangles,
        decisions=[],
        spent=Spent(),
    )
