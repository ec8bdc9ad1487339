"""What chance does beside the arrivals, from one seed: how far batches are off their mean, which gateway takes a call.

A batch's time is log-normal with the table's mean and 95th percentile: never negative, and with the longer tail above
that measured times have.
"""

import math
from typing import NamedTuple

import numpy as np

PERCENTILE_95 = 1.6448536269514722
DRAWN_AT_ONCE = 4096
WIDEST = math.exp(PERCENTILE_95**2 / 2) * 0.999
"""No log-normal has its 95th percentile further above its mean than that."""


class Pace(NamedTuple):
    """A batch's time: `median_us * exp(sigma * z)` for a normal `z`."""

    median_us: float
    sigma: float


def pace_of(mean_us: float, p95_us: float) -> Pace:
    """The pace of this mean and 95th percentile; no scatter where the latter is not above the mean."""
    ratio = min(p95_us / mean_us, WIDEST)
    if ratio <= 1:
        return Pace(mean_us, 0.0)
    sigma = PERCENTILE_95 - math.sqrt(PERCENTILE_95**2 - 2 * math.log(ratio))
    return Pace(mean_us * math.exp(-(sigma**2) / 2), sigma)


class Chance:
    """Draws in the order asked for: the same seed and the same questions, the same answers."""

    __slots__ = ("_normals", "_source", "_wholes")

    def __init__(self, seed: int) -> None:
        self._source = np.random.default_rng(seed)
        self._normals: list[float] = []
        self._wholes: list[float] = []

    def normal(self) -> float:
        """Of mean 0 and variance 1."""
        if not self._normals:
            self._normals = self._source.standard_normal(DRAWN_AT_ONCE).tolist()
        return self._normals.pop()

    def delay_us(self, mean_us: int) -> int:
        """Exponentially distributed."""
        return int(-mean_us * math.log1p(-self._whole()))

    def below(self, count: int) -> int:
        """A whole number from 0, below `count`."""
        return int(self._whole() * count)

    def _whole(self) -> float:
        if not self._wholes:
            self._wholes = self._source.random(DRAWN_AT_ONCE).tolist()
        return self._wholes.pop()
