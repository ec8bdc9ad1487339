"""From who ran when to shares of time, their errors and overlaps: pure, so that the arithmetic can be tested.

A quota is judged over *any* ten windows, not on average: `worst_error` slides an interval of that length over the run.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

POINTS = 100.0
WINDOWS = 10
STEPS_PER_WINDOW = 4


class Run(NamedTuple):
    """One batch on the device, in microseconds: its replica, the chunks, from when to when."""

    replica: str
    mask: int
    start_us: int
    end_us: int


class QuotaError(msgspec.Struct, frozen=True):
    """How far from its quota a replica was, in points of a hundred: on average, and over its worst ten windows."""

    replica: str
    quota: float
    mean_points: float
    worst_points: float


def quota_error(
    runs: Sequence[Run], replica: str, quota: float, begin_us: int, end_us: int, window_us: int
) -> QuotaError:
    """The error of one replica that always had work from `begin_us` to `end_us`."""
    own = [run for run in runs if run.replica == replica]
    mean = time_between(own, begin_us, end_us) / (end_us - begin_us) - quota
    length_us, step_us = WINDOWS * window_us, window_us // STEPS_PER_WINDOW
    starts = range(begin_us, end_us - length_us + 1, step_us)
    errors = [time_between(own, start, start + length_us) / length_us - quota for start in starts]
    worst = max(errors, key=abs, default=mean)
    return QuotaError(replica, quota, round(mean * POINTS, 3), round(worst * POINTS, 3))


def time_between(runs: Iterable[Run], begin_us: int, end_us: int) -> int:
    """Device time of these runs inside an interval."""
    return sum(max(min(run.end_us, end_us) - max(run.start_us, begin_us), 0) for run in runs)


def overlaps(runs: Iterable[Run]) -> int:
    """How many times a batch began on a chunk before the one there before it had ended."""
    by_chunk: dict[int, list[Run]] = {}
    for run in runs:
        for chunk in range(run.mask.bit_length()):
            if run.mask >> chunk & 1:
                by_chunk.setdefault(chunk, []).append(run)
    return sum(
        later.start_us < earlier.end_us
        for on_chunk in by_chunk.values()
        for earlier, later in pairwise(sorted(on_chunk, key=lambda run: run.start_us))
    )
