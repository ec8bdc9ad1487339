"""Which points of a table are worth measuring, the next first.

The corners of the axes, then wherever the interpolation is least sure, until nothing is left that may be off by more
than 5 %, or until a third of the points are spent. A grid measures all of them. What would take too long to measure
(small slices, large batches of slow models) is left to the interpolation and its error bar; batches that on the whole
device take longer than the objective are of no use to anybody, and leave the axes once both ends of the batch axis are
known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from fastgshare.shared.messages import ProfileAxes, ProfilePoint, SurfacePoint
from fastgshare.shared.surface import device_times_us, fit
from fastgshare.shared.units import US_PER_S

SM_PERCENTS = (6, 12, 24, 50, 60, 80, 100)
QUOTAS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""The published grid's (FaST-GShare, ICPP 2023, section 3.4), and ours."""

TARGET_ERROR = 0.05
BUDGET_PERCENT = 35
LEAST_POINTS = 3
RUNS_A_POINT = 8
MOST_POINT_US = 30 * US_PER_S


class Setting(NamedTuple):
    """One point of the axes."""

    sm_partition: int
    quota: float
    batch: int


class Survey(NamedTuple):
    """What a table's points amount to.

    `due`: what to measure, the next first, none when the table is complete; `planned` how many points it will have, as
    far as can be told; `error` the largest relative error of what may still be measured; `axes` and `surface` for the
    table, the latter empty while nothing is measured; `left_out` how many points would take too long to measure.
    """

    due: tuple[Setting, ...]
    planned: int
    error: float
    axes: ProfileAxes
    surface: tuple[SurfacePoint, ...]
    left_out: int = 0


def largest_error(surface: Sequence[SurfacePoint]) -> float:
    """The largest relative error of throughput that any point of a surface may have."""
    return max((point.throughput_error for point in surface), default=0.0)


def percent_of(chunks: int, total_chunks: int) -> int:
    """A share of a device's chunks in whole percent, as points have it: 1 to 100."""
    return min(max(round(100 * chunks / max(total_chunks, 1)), 1), 100)


def chunks_of(sm_percent: int, total_chunks: int) -> int:
    """How many chunks a point of the axes stands for."""
    return min(max(round(sm_percent * total_chunks / 100), 1), total_chunks)


def axes_for(chunks: int, max_batch: int) -> ProfileAxes:
    """The axes on a device of `chunks` chunks: the published shares in whole chunks, batches doubled to the largest."""
    held = {max(1, -(-percent * chunks // 100)) for percent in SM_PERCENTS}
    doubling = [1 << power for power in range(max(max_batch, 1).bit_length())]
    return ProfileAxes(
        sm_partitions=tuple(percent_of(count, chunks) for count in sorted(held)),
        quotas=QUOTAS,
        batches=tuple(sorted({*(size for size in doubling if size <= max_batch), max(max_batch, 1)})),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of one table: points of `axes`, for functions whose loosest objective is `objective_us`."""

    axes: ProfileAxes
    objective_us: int
    is_grid: bool = False

    def survey(self, points: Sequence[ProfilePoint]) -> Survey:
        """Where a table with these points stands. Takes tens of milliseconds."""
        axes = self._useful_axes(points)
        surface = fit(points, axes)
        measured = {Setting(point.sm_partition, point.quota, point.batch) for point in points}
        if not surface:
            return Survey(tuple(_corners(axes)), self._budget(axes), 0.0, axes, ())
        answers = {Setting(answer.sm_partition, answer.quota, answer.batch): answer for answer in surface}
        unmeasured = [setting for setting in answers if setting not in measured]
        open_ = [setting for setting in unmeasured if not _is_too_long(answers[setting])]
        left_out = len(unmeasured) - len(open_)
        error = max((answers[setting].throughput_error for setting in open_), default=0.0)
        done = sum(setting in measured for setting in answers)
        if self.is_grid:
            return Survey(tuple(_in_order(open_, axes)), done + len(open_), error, axes, surface, left_out)
        corners = [setting for setting in _corners(axes) if setting in open_]
        doubtful = sorted(
            (setting for setting in open_ if answers[setting].throughput_error > TARGET_ERROR),
            key=lambda setting: -answers[setting].throughput_error,
        )
        order = list(dict.fromkeys([*corners, *doubtful]))
        left = order[: max(self._budget(axes) - len(points), 0)]
        return Survey(tuple(left), done + len(left), error, axes, surface, left_out)

    def _budget(self, axes: ProfileAxes) -> int:
        whole = len(axes.sm_partitions) * len(axes.quotas) * len(axes.batches)
        return whole if self.is_grid else min(max(whole * BUDGET_PERCENT // 100, LEAST_POINTS), whole)

    def _useful_axes(self, points: Sequence[ProfilePoint]) -> ProfileAxes:
        """Without the batches that alone outlast the objective on the whole device; one input always stays."""
        largest = self.axes.batches[-1]
        here = [point for point in points if point.sm_partition == self.axes.sm_partitions[-1]]
        if not {1, largest} <= {point.batch for point in here}:
            return self.axes
        times_us = device_times_us(here, replace(self.axes, sm_partitions=self.axes.sm_partitions[-1:]))
        useful = [batch for (_, batch), time_us in times_us.items() if time_us <= self.objective_us]
        return replace(self.axes, batches=tuple(size for size in self.axes.batches if size == 1 or size in useful))


def _corners(axes: ProfileAxes) -> list[Setting]:
    """What bounds the rest, the most telling first: the whole device, the smallest slice, the shortest time."""
    small, large = axes.sm_partitions[0], axes.sm_partitions[-1]
    short, whole = axes.quotas[0], axes.quotas[-1]
    one, most = axes.batches[0], axes.batches[-1]
    order = [
        Setting(large, whole, one),
        Setting(large, whole, most),
        Setting(small, whole, one),
        Setting(small, short, most),
        Setting(small, whole, most),
        Setting(large, short, one),
        Setting(small, short, one),
        Setting(large, short, most),
    ]
    return list(dict.fromkeys(order))


def _in_order(settings: Sequence[Setting], axes: ProfileAxes) -> list[Setting]:
    """The corners, then quick points before slow ones: who interrupts early has most."""
    corners = [setting for setting in _corners(axes) if setting in settings]
    rest = sorted(settings, key=lambda setting: (-setting.quota, setting.batch, -setting.sm_partition))
    return list(dict.fromkeys([*corners, *rest]))


def _is_too_long(answer: SurfacePoint) -> bool:
    return RUNS_A_POINT * answer.device_us / answer.quota > MOST_POINT_US
