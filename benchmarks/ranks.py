"""Percentiles by the nearest-rank method: the least value that so many percent of all do not exceed. Pure."""

from collections.abc import Sequence
from math import ceil

PERCENT = 100


def nearest_rank(values: Sequence[float], percent: float, of_nothing: float = 0.0) -> float:
    """One of the values, in whatever order they are; `of_nothing` where there are none."""
    ranked = sorted(values)
    return ranked[max(ceil(len(ranked) * percent / PERCENT), 1) - 1] if ranked else of_nothing
