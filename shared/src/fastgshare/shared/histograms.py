"""Counts of durations in fixed buckets: cheap to keep in a core, additive across processes and over time. Pure.

One set of bounds for every stage of every request, so that any two of them add up. Neighbouring bounds lie within a
factor of 1.5 from 1 ms to 10 s, where objectives are; a quantile read back is off by less than half of that.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastgshare.shared.units import US_PER_MS

_BOUNDS_MS = (
    *(0.1, 0.25, 0.5, 0.75),
    *(1, 1.5, 2, 3, 4, 5, 7.5),
    *(10, 15, 20, 25, 30, 40, 50, 60, 75),
    *(100, 125, 150, 200, 250, 300, 400, 500, 600, 750),
    *(1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 7_500),
    *(10_000, 30_000, 60_000),
)
BOUNDS_US: tuple[int, ...] = tuple(round(bound * US_PER_MS) for bound in _BOUNDS_MS)
"""Upper bounds, each included in its bucket; one more bucket holds what lies above the last."""

# Every request counts several durations: looking the bucket up takes half of what searching for it does.
_STEP_US = 50
_SHORT_US = 100_000
_BUCKET_OF_STEP: tuple[int, ...] = tuple(
    bisect_left(BOUNDS_US, step_us) for step_us in range(0, _SHORT_US + 1, _STEP_US)
)


@dataclass(slots=True)
class Durations:
    """How many durations fell into each bucket, and their sum in microseconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    sum_us: int = 0

    def add(self, duration_us: int) -> None:
        """Count one, of 0 or more microseconds."""
        if duration_us <= _SHORT_US:
            self.counts[_BUCKET_OF_STEP[(duration_us + _STEP_US - 1) // _STEP_US]] += 1
        else:
            self.counts[bisect_left(BOUNDS_US, duration_us)] += 1
        self.sum_us += duration_us


def quantile_us(counts: Sequence[int], q: float) -> float | None:
    """The duration below which a share `q` in (0, 1] of those counted lie, interpolated within its bucket.

    None when nothing was counted. What lies above the last bound is read as that bound.
    """
    wanted = q * sum(counts)
    if not wanted:
        return None
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            if bucket == len(BOUNDS_US):
                break
            low = BOUNDS_US[bucket - 1] if bucket else 0
            return low + (BOUNDS_US[bucket] - low) * (wanted - below) / count
        below += count
    return float(BOUNDS_US[-1])
