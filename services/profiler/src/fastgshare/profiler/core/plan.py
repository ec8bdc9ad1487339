"""Which points of a table's axes to measure, and in which order: the corners, then the rest up to 35 % of them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from fastgshare.shared.messages import ProfileAxes, ProfilePoint, SurfacePoint

QUOTAS = (0.2, 0.4, 0.6, 0.8, 1.0)
SHARE_MEASURED = 0.35
UNKNOWN_ERROR = 0.5

V = TypeVar("V")


class Setting(NamedTuple):
    """One point of the axes."""

    sm_partition: int
    quota: float
    batch: int


class Survey(NamedTuple):
    """What is still to measure, the next first; how many points in all; the largest relative error left; and what is
    to be expected at every point of the axes, nothing while nothing is measured."""

    due: tuple[Setting, ...]
    planned: int
    error: float
    surface: tuple[SurfacePoint, ...]


def axes_for(chunks: int, max_batch: int) -> ProfileAxes:
    """The axes of a device of that many chunks, for batches up to `max_batch`."""
    percents = {round(100 * held / max(chunks, 1)) or 1 for held in range(1, max(chunks, 1) + 1)}
    doubling = {1 << power for power in range(max_batch.bit_length()) if 1 << power <= max_batch}
    return ProfileAxes(
        sm_partitions=tuple(sorted(percents)), quotas=QUOTAS, batches=tuple(sorted(doubling | {max(max_batch, 1)}))
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure `axes`, for functions whose loosest objective is `objective_us`; all of it if `is_grid`."""

    axes: ProfileAxes
    objective_us: int
    is_grid: bool = False

    def survey(self, points: Sequence[ProfilePoint]) -> Survey:
        """What `points` leave to do, and what they tell."""
        axes = self.axes
        lattice = _product(axes.sm_partitions, axes.quotas, axes.batches)
        corners = _product(_ends(axes.sm_partitions), _ends(axes.quotas), _ends(axes.batches))
        order = list(dict.fromkeys([*corners, *lattice]))
        planned = len(order) if self.is_grid else max(len(corners), round(SHARE_MEASURED * len(order)))
        measured = {Setting(point.sm_partition, point.quota, point.batch): point for point in points}
        due = [setting for setting in order if setting not in measured][: max(planned - len(measured), 0)]
        if not measured:
            return Survey(tuple(due), planned, UNKNOWN_ERROR, ())
        error = max((point.throughput_error for point in points), default=0.0)
        surface = tuple(_nearest(setting, measured) for setting in lattice)
        return Survey(tuple(due), max(planned, len(measured)), error if not due else UNKNOWN_ERROR, surface)


def _product(sms: Sequence[int], quotas: Sequence[float], batches: Sequence[int]) -> list[Setting]:
    return [Setting(sm, quota, batch) for sm, quota, batch in itertools.product(sms, quotas, batches)]


def _ends(values: Sequence[V]) -> tuple[V, ...]:
    return tuple(dict.fromkeys((values[0], values[-1])))


def _nearest(setting: Setting, measured: dict[Setting, ProfilePoint]) -> SurfacePoint:
    found = min(measured, key=lambda at: sum(abs(a - b) / max(a, b) for a, b in zip(at, setting, strict=True)))
    point = measured[found]
    is_there = found == setting
    return SurfacePoint(
        sm_partition=setting.sm_partition,
        quota=setting.quota,
        batch=setting.batch,
        throughput_rps=point.throughput_rps,
        throughput_error=point.throughput_error if is_there else UNKNOWN_ERROR,
        device_us=point.device_us,
        device_p95_us=point.p95_us,
        measured=is_there,
        latency_p50_us=point.latency_p50_us,
        latency_p95_us=point.latency_p95_us,
        latency_p99_us=point.latency_p99_us,
    )
