"""From measured times to a `SpeedCurve`: only as many parameters as the table has shares and batches to tell them by.

Relative errors are what counts. For given sharpness, scaling and fixed part the two bounds enter the time's power
linearly, so they come from non-negative least squares; the other three from a grid that is narrowed round its best.

| the table has | free | assumed |
|---|---|---|
| 4 or more SM shares | floor, work, sharpness, scaling | |
| 3 shares | floor, work, sharpness | scaling 1 |
| 2 shares | floor, work | sharpness 1, scaling 1 |
| 1 share, several batches | floor, work | a batch's fixed part is the floor, what grows with it is work, scaling 1 |
| 1 point | their sum | half of the time is the floor, half is work |

Several batches at several shares tell `fixed` as well; one batch leaves it as given.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastgshare.node_manager.core.speed import MAX_SHARPNESS, MAX_US, WHOLE_PERCENT, SpeedCurve
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.shared.messages import Profile

UNKNOWN_FIXED = 0.5
UNKNOWN_FLOOR = 0.5
SHARES_FOR_SHARPNESS = 3
SHARES_FOR_SCALING = 4
LEAST_SCALING = 0.3
GRID = 7
NARROWINGS = 5
DECIMALS = 3

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class TableUnusable(ModelFault):
    """No curve can be made of a table: field `reason`."""


@dataclass(frozen=True, slots=True)
class TimedPoint:
    """A batch of `batch` items took `time_us` on `sm_percent` of the SMs."""

    sm_percent: float
    batch: int
    time_us: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve, and its error at the points it was made of, relative to the measured time."""

    curve: SpeedCurve
    median_error: float
    max_error: float


@dataclass(frozen=True, slots=True)
class _Shape:
    """What enters the time's power non-linearly."""

    sharpness: float
    scaling: float
    fixed: float


def curve_from_profile(profile: Profile, chunks: int | None = None) -> SpeedCurve:
    """The curve of a table that the profiler measured. Quotas play no part: a batch's device time has none.

    A profile's shares are rounded to percents; where all of them are shares of `chunks` chunks, they are taken as
    those. Points that did not settle count only where none did.

    Raises:
        TableUnusable: no points, or a share, batch or time that cannot be.
    """
    settled = [point for point in profile.points if point.settled] or profile.points
    points = [TimedPoint(point.sm_partition, point.batch, point.device_us) for point in settled]
    try:
        return fit_curve(_on_chunks(points, chunks) if chunks else points).curve
    except TableUnusable as fault:
        reason = f"the profile of {profile.model_digest[:12]} on {profile.device_kind}: {fault.reason}"
        raise TableUnusable(reason=reason) from fault


def fit_curve(points: Sequence[TimedPoint], fixed: float = UNKNOWN_FIXED) -> Fit:
    """The curve that fits best, with `fixed` where the points do not tell it. Raises TableUnusable."""
    _check(points)
    shares = len({point.sm_percent for point in points})
    batches = len({point.batch for point in points})
    if shares == batches == 1:
        curve = _from_one(points, fixed)
    else:
        curve = _search(points, _ranges(shares, batches, fixed))
    errors = errors_of(curve, points)
    return Fit(curve, float(np.median(errors)), max(errors))


def errors_of(curve: SpeedCurve, points: Sequence[TimedPoint]) -> list[float]:
    """How far the curve is from each measured time, as a part of that."""
    return [abs(curve.batch_us(point.sm_percent, point.batch) / point.time_us - 1) for point in points]


def _check(points: Sequence[TimedPoint]) -> None:
    if not points:
        raise TableUnusable(reason="it has no points, expected at least one")
    for point in points:
        if not 0 < point.sm_percent <= WHOLE_PERCENT:
            raise TableUnusable(reason=f"a point at {point.sm_percent} % of the SMs, expected above 0 and at most 100")
        if point.batch < 1:
            raise TableUnusable(reason=f"a point with batch {point.batch}, expected at least 1")
        if not 1 <= point.time_us <= MAX_US:
            raise TableUnusable(reason=f"a point that took {point.time_us} microseconds, expected 1 to {MAX_US}")


def _on_chunks(points: Sequence[TimedPoint], chunks: int) -> Sequence[TimedPoint]:
    """The points at the exact shares of whole chunks, if that is what every rounded share can be."""
    counts = [round(point.sm_percent * chunks / WHOLE_PERCENT) for point in points]
    if any(
        not 1 <= count <= chunks or abs(WHOLE_PERCENT * count / chunks - point.sm_percent) > 0.5
        for count, point in zip(counts, points, strict=True)
    ):
        return points
    return [
        TimedPoint(WHOLE_PERCENT * count / chunks, point.batch, point.time_us)
        for count, point in zip(counts, points, strict=True)
    ]


def _from_one(points: Sequence[TimedPoint], fixed: float) -> SpeedCurve:
    sm_percent, batch = points[0].sm_percent, points[0].batch
    time_us = float(np.median([point.time_us for point in points]))
    floor_us = time_us * UNKNOWN_FLOOR / (fixed + (1 - fixed) * batch)
    work_us = time_us * (1 - UNKNOWN_FLOOR) * sm_percent / WHOLE_PERCENT / batch
    return _rounded(floor_us, work_us, _Shape(1.0, 1.0, fixed))


def _ranges(shares: int, batches: int, fixed: float) -> tuple[tuple[float, float], ...]:
    """Bounds of sharpness, scaling and fixed; equal ones where the points do not tell."""
    sharpness = (1.0, MAX_SHARPNESS if shares >= SHARES_FOR_SHARPNESS else 1.0)
    scaling = (LEAST_SCALING if shares >= SHARES_FOR_SCALING else 1.0, 1.0)
    if shares == 1:
        return sharpness, scaling, (1.0, 1.0)
    return sharpness, scaling, (0.0, 1.0) if batches > 1 else (fixed, fixed)


def _search(points: Sequence[TimedPoint], bounds: tuple[tuple[float, float], ...]) -> SpeedCurve:
    share = np.array([point.sm_percent / WHOLE_PERCENT for point in points])
    batch = np.array([float(point.batch) for point in points])
    time_us = np.array([point.time_us for point in points])
    ranges = bounds
    best = (float("inf"), 0.0, 0.0, _Shape(1.0, 1.0, 1.0))
    for _ in range(NARROWINGS):
        grids = [np.geomspace(*ranges[0], GRID), *(np.linspace(*each, GRID) for each in ranges[1:])]
        for values in itertools.product(*(dict.fromkeys(grid.tolist()) for grid in grids)):
            shape = _Shape(*values)
            floor_us, work_us, loss = _bounds_for(shape, share, batch, time_us)
            if loss < best[0]:
                best = (loss, floor_us, work_us, shape)
        chosen = (best[3].sharpness, best[3].scaling, best[3].fixed)
        ranges = tuple(_narrowed(*each, value) for each, value in zip(ranges, chosen, strict=True))
    return _rounded(*best[1:])


def _narrowed(low: float, high: float, value: float) -> tuple[float, float]:
    reach = (high - low) / 4
    return max(value - reach, low), min(value + reach, high)


def _bounds_for(shape: _Shape, share: Floats, batch: Floats, time_us: Floats) -> tuple[float, float, float]:
    """The best floor and work for a shape, and the sum of the squared relative errors they leave.

    Least squares on (time / measured) ** sharpness, which is linear in both bounds' powers; to first order its errors
    are the relative errors times the sharpness.
    """
    per_floor = (shape.fixed + (1 - shape.fixed) * batch) / time_us
    per_work = batch / share**shape.scaling / time_us
    scale = np.array([per_floor.max(), per_work.max()])  # columns near 1: high powers of a microsecond underflow
    columns = np.stack([per_floor, per_work], axis=1) / scale
    powers = columns**shape.sharpness
    weights = _non_negative(powers)
    bounds = weights ** (1 / shape.sharpness) / scale
    ratio = (powers @ weights) ** (1 / shape.sharpness)
    return float(bounds[0]), float(bounds[1]), float(((ratio - 1) ** 2).sum())


def _non_negative(columns: Floats) -> Floats:
    """The non-negative weights with which two columns come closest to 1."""
    weights, *_ = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)
    if (weights >= 0).all():
        return np.asarray(weights)
    alone = columns.sum(axis=0) / (columns**2).sum(axis=0)  # each column by itself
    left = ((columns * alone - 1) ** 2).sum(axis=0)
    return np.where(np.arange(2) == left.argmin(), alone, 0.0)


def _rounded(floor_us: float, work_us: float, shape: _Shape) -> SpeedCurve:
    return SpeedCurve(
        floor_us=min(round(floor_us), MAX_US),
        work_us=min(max(round(work_us), 0 if round(floor_us) else 1), MAX_US),
        sharpness=round(shape.sharpness, DECIMALS),
        scaling=round(shape.scaling, DECIMALS),
        fixed=round(shape.fixed, DECIMALS),
    )
