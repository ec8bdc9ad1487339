"""How fast back-to-back runs go, how well that is known, and whether it stays so.

A course is the count of runs done as a function of time, straight between completions, so that a block of time has a
rate wherever it begins. Rates come with a confidence interval by the method of batch means (Law, Simulation Modeling
and Analysis, 9.5.3): times of neighbouring runs are correlated, those of long blocks hardly, and Student's t on the
blocks says how well their mean is known, wider where even blocks resemble their neighbours. Blocks hold equally many
runs; where tokens are paced they are equally many windows, for within one runs come as the quota lets them. No clock:
times are integer microseconds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

MOST_BLOCKS = 16
FEW_BLOCKS = 5
LEAST_BLOCK_US = 10_000  # what a thread may lose to its neighbours at one go
STEADY = 0.10
MOST_LIKE = 0.8
LEAST_ERROR = 0.001  # clocks and waking threads tell no better
UNKNOWN = 1.0

# The 97.5th percentile of Student's t by degrees of freedom, from 1.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Rate(NamedTuple):
    """Runs a microsecond, half the 95 % confidence interval as a share of it, and how many blocks say so."""

    per_us: float
    error: float
    blocks: int


@dataclass(slots=True)
class Course:
    """Runs from `begun_us` on. `grain_us`: blocks of time are whole multiples of it, 1 where tokens are not paced."""

    begun_us: int
    grain_us: int = 1
    device_us: list[int] = field(default_factory=list)
    _knots_us: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is done when it begins."""
        self._knots_us = [self.begun_us]

    def add(self, ended_us: int, device_us: int) -> None:
        """One more run is done."""
        self._knots_us.append(max(ended_us, self._knots_us[-1]))
        self.device_us.append(device_us)

    def __len__(self) -> int:
        return len(self.device_us)

    @property
    def ended_us(self) -> int:
        """When the last run was done."""
        return self._knots_us[-1]

    @property
    def span_us(self) -> int:
        """From its begin to the end of its last run."""
        return self.ended_us - self.begun_us

    @property
    def first_ended_us(self) -> int:
        """When the first run was done."""
        return self._knots_us[min(1, len(self))]

    def done(self, at_us: float) -> float:
        """Runs done by then."""
        place = bisect_right(self._knots_us, at_us)
        if place == 0:
            return 0.0
        if place == len(self._knots_us):
            return float(len(self))
        before_us, after_us = self._knots_us[place - 1], self._knots_us[place]
        return place - 1 + (at_us - before_us) / (after_us - before_us)

    def last_us(self, runs: int) -> int:
        """How long the last `runs` took together."""
        return self._knots_us[-1] - self._knots_us[-1 - runs]

    def between(self, begin_us: float, end_us: float) -> Sequence[int]:
        """Device times of the runs that ended after `begin_us`, at `end_us` at the latest."""
        first, last = (bisect_right(self._knots_us, at_us) for at_us in (begin_us, end_us))
        return self.device_us[max(first - 1, 0) : max(last - 1, 0)]

    def stretches_us(self, runs: int) -> list[int]:
        """How long each `runs` runs took, up to the last one."""
        return [after - before for before, after in pairwise(self._knots_us[len(self) % runs :: runs])]

    def block_us(self, length_us: float) -> int:
        """The length of a block of about that length."""
        return max(round(length_us / self.grain_us), 1) * self.grain_us


def rate_of(course: Course) -> Rate:
    """The rate over the whole course, or as many whole blocks of it as there are."""
    runs, span_us = len(course), course.span_us
    if not runs or not span_us:
        return Rate(0.0, UNKNOWN, 0)
    blocks = _windows(course) if course.grain_us > 1 else _stretches(course)
    mean = fmean(blocks) if blocks else 0.0
    if len(blocks) < 2 or mean <= 0:
        return Rate(runs / span_us, UNKNOWN, len(blocks))
    half = _student(len(blocks) - 1) * stdev(blocks) / sqrt(len(blocks)) * _clinging(blocks)
    per_us = mean if course.grain_us > 1 else runs / span_us
    return Rate(per_us, min(max(half / mean, LEAST_ERROR), UNKNOWN), len(blocks))


def _stretches(course: Course) -> Sequence[float]:
    """Time per run over blocks of equally many runs: where nothing paces them each starts when one ends."""
    runs = len(course)
    count = min(max(min(MOST_BLOCKS, course.span_us // LEAST_BLOCK_US), FEW_BLOCKS), runs)
    return course.stretches_us(runs // count)


def _windows(course: Course) -> Sequence[float]:
    """Runs per time over blocks of as many windows each, with two runs in a block where there are enough."""
    span_us = course.span_us
    count = max(min(MOST_BLOCKS, span_us // course.grain_us, max(FEW_BLOCKS, len(course) // 2)), 1)
    length_us = course.block_us(span_us / min(count, len(course)))
    edges_us = [course.ended_us - length_us * block for block in range(span_us // length_us, -1, -1)]
    done = [course.done(edge_us) for edge_us in edges_us]
    return [(after - before) / length_us for before, after in pairwise(done)]


def _clinging(blocks: Sequence[float]) -> float:
    """By how much an interval widens where a block is like the one before it: less is known than their number says."""
    mean = fmean(blocks)
    off = [block - mean for block in blocks]
    power = sum(value * value for value in off)
    if not power:
        return 1.0
    likeness = sum(before * after for before, after in pairwise(off)) / power
    likeness = min(max(likeness, 0.0), MOST_LIKE)
    return sqrt((1 + likeness) / (1 - likeness))


def shift_of(course: Course) -> float | None:
    """By what share the times of the second half are longer, between completions or on the device; None: too few."""
    span_us = course.span_us
    half_us = course.block_us(span_us / 2)
    if half_us * 2 > span_us:
        half_us = course.block_us(span_us / 2 - course.grain_us / 2)
    return _shift(course, half_us) if half_us * 2 <= span_us else None


def is_steady(course: Course) -> bool | None:
    """Whether the last two blocks, about a third of the runs so far each, agree in both times; None: too early to tell.

    The first run of a model is like no other and never part of a block.
    """
    third = len(course) // 3
    if not third:
        return None
    known_us = course.ended_us - course.first_ended_us
    length_us = course.block_us(max(min(course.last_us(third), known_us // 2), LEAST_BLOCK_US))
    if 2 * length_us > known_us:
        return None
    shift = _shift(course, length_us)
    return None if shift is None else abs(shift) <= STEADY


def _shift(course: Course, length_us: int) -> float | None:
    """The last block against the one before it."""
    end_us = course.ended_us
    edges_us = (end_us - 2 * length_us, end_us - length_us, end_us)
    first, second = (course.between(*edges_us[place : place + 2]) for place in (0, 1))
    if not first or not second:
        return None
    done = [course.done(edge_us) for edge_us in edges_us]
    wall = (done[1] - done[0]) / max(done[2] - done[1], 1e-9) - 1
    device = fmean(second) / max(fmean(first), 1) - 1 if any(second) else 0.0
    return max(wall, device, key=abs)


def _student(freedom: int) -> float:
    return _STUDENT[min(freedom, len(_STUDENT)) - 1]
