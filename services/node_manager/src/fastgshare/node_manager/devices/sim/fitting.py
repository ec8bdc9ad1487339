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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
NARROWINGS = 24
NARROWING = 0.8
LEAST_DETERMINANT = 1e-9
DECIMALS = 3

Bounds = tuple[tuple[float, float], ...]
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


class _Shape(NamedTuple):
    """What enters the time's power non-linearly."""

    sharpness: float
    scaling: float
    fixed: float


class _Best(NamedTuple):
    loss: float
    floor_us: float
    work_us: float
    shape: _Shape


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


def _ranges(shares: int, batches: int, fixed: float) -> Bounds:
    """Bounds of sharpness, scaling and fixed; equal ones where the points do not tell."""
    sharpness = (1.0, MAX_SHARPNESS if shares >= SHARES_FOR_SHARPNESS else 1.0)
    scaling = (LEAST_SCALING if shares >= SHARES_FOR_SCALING else 1.0, 1.0)
    if shares == 1:
        return sharpness, scaling, (1.0, 1.0)
    return sharpness, scaling, (0.0, 1.0) if batches > 1 else (fixed, fixed)


def _search(points: Sequence[TimedPoint], bounds: Bounds) -> SpeedCurve:
    """The best of a grid over the bounds, then of finer ones round the best so far, which may wander off."""
    share = np.array([point.sm_percent / WHOLE_PERCENT for point in points])
    batch = np.array([float(point.batch) for point in points])
    time_us = np.array([point.time_us for point in points])
    low, high = np.array(bounds).T
    middle, reach = (low + high) / 2, (high - low) / 2
    best = _Best(math.inf, 0.0, 0.0, _Shape(1.0, 1.0, 1.0))
    for _ in range(NARROWINGS):
        first, last = np.maximum(middle - reach, low), np.minimum(middle + reach, high)
        axes = [np.geomspace(first[0], last[0], GRID), *(np.linspace(first[at], last[at], GRID) for at in (1, 2))]
        shapes = np.stack([axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
        best = min(best, _best_of(shapes, share, batch, time_us), key=lambda found: found.loss)
        middle, reach = np.array(best.shape), reach * NARROWING
    return _rounded(best.floor_us, best.work_us, best.shape)


def _best_of(shapes: Floats, share: Floats, batch: Floats, time_us: Floats) -> _Best:
    """The shape, of rows of sharpness, scaling and fixed, that leaves the smallest sum of squared relative errors.

    Floor and work of each are the least squares of (time / measured) ** sharpness against 1, which is linear in their
    powers; to first order its errors are the relative errors times the sharpness.
    """
    sharpness, scaling, fixed = (column[:, None] for column in shapes.T)
    floor = (fixed + (1 - fixed) * batch) / time_us
    work = batch / share**scaling / time_us
    floor_scale, work_scale = floor.max(axis=1), work.max(axis=1)  # high powers of a microsecond would underflow
    floor, work = (floor / floor_scale[:, None]) ** sharpness, (work / work_scale[:, None]) ** sharpness
    floor_weight, work_weight = _non_negative(floor, work)
    ratio = (floor * floor_weight[:, None] + work * work_weight[:, None]) ** (1 / sharpness)
    losses = ((ratio - 1) ** 2).sum(axis=1)
    at = int(losses.argmin())
    shape = _Shape(*shapes[at].tolist())
    floor_us = float(floor_weight[at] ** (1 / shape.sharpness) / floor_scale[at])
    work_us = float(work_weight[at] ** (1 / shape.sharpness) / work_scale[at])
    return _Best(float(losses[at]), floor_us, work_us, shape)


def _non_negative(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """For each row the non-negative weights with which the two columns of values come closest to 1."""
    squares, others, mixed = (one**2).sum(axis=1), (other**2).sum(axis=1), (one * other).sum(axis=1)
    total, other_total = one.sum(axis=1), other.sum(axis=1)
    determinant = squares * others - mixed**2
    is_told = determinant > LEAST_DETERMINANT * squares * others
    divisor = np.where(is_told, determinant, 1.0)
    weight = (others * total - mixed * other_total) / divisor
    other_weight = (squares * other_total - mixed * total) / divisor
    both = is_told & (weight >= 0) & (other_weight >= 0)
    prefers_one = total**2 / squares >= other_total**2 / others  # what each by itself explains
    alone = np.where(prefers_one, total / squares, 0.0)
    other_alone = np.where(prefers_one, 0.0, other_total / others)
    return np.where(both, weight, alone), np.where(both, other_weight, other_alone)


def _rounded(floor_us: float, work_us: float, shape: _Shape) -> SpeedCurve:
    return SpeedCurve(
        floor_us=min(round(floor_us), MAX_US),
        work_us=min(max(round(work_us), 0 if round(floor_us) else 1), MAX_US),
        sharpness=round(shape.sharpness, DECIMALS),
        scaling=round(shape.scaling, DECIMALS),
        fixed=round(shape.fixed, DECIMALS),
    )
