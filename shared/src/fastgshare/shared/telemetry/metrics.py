"""A service's metrics at one moment, as plain data: what exporters write, whatever their format. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from fastgshare.shared.histograms import BOUNDS_US
from fastgshare.shared.telemetry.catalog import Metric
from fastgshare.shared.units import US_PER_S

BOUNDS_S: tuple[float, ...] = tuple(bound / US_PER_S for bound in BOUNDS_US)
"""Bucket bounds of durations, as metrics have them."""


class Value(NamedTuple):
    """A counter's or gauge's value; `labels` in the metric's order."""

    labels: tuple[str, ...]
    value: float


class Spread(NamedTuple):
    """A histogram: counts by bucket (one more than `bounds`, each bound included in its bucket), and the sum."""

    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Family(NamedTuple):
    """A metric with all its values, or spreads where it is a histogram."""

    metric: Metric
    values: tuple[Value, ...] = ()
    spreads: tuple[Spread, ...] = ()


Source = Callable[[], Iterable[Family]]
"""Asked now and then, on the event loop: tells how things stand, and is done at once."""


def single(metric: Metric, value: float) -> Family:
    """A metric without labels."""
    return Family(metric, (Value((), value),))


def by_label(metric: Metric, values: Mapping[str, float]) -> Family:
    """A metric with one label."""
    return Family(metric, tuple(Value((label,), value) for label, value in values.items()))


def durations(labels: tuple[str, ...], counts: Sequence[int], sum_us: int) -> Spread:
    """Counts in the buckets of `fastgshare.shared.histograms`."""
    return Spread(labels, BOUNDS_S, tuple(counts), sum_us / US_PER_S)


def rows(labels: tuple[str, ...], batches: Mapping[int, float]) -> Spread:
    """Batches by rows, which are counted in fractions of a batch; a power of two bounds each bucket."""
    bounds = tuple(float(1 << power) for power in range(11))
    up_to = [round(sum(count for size, count in batches.items() if size <= bound)) for bound in bounds]
    up_to.append(round(sum(batches.values())))
    counts = [up_to[0], *(after - before for before, after in pairwise(up_to))]
    return Spread(labels, bounds, tuple(counts), sum(size * count for size, count in batches.items()))


def gathered(sources: Iterable[Source]) -> Iterator[Family]:
    """What all sources tell; families without a value are left out."""
    for source in sources:
        for family in source():
            if family.values or family.spreads:
                yield family
