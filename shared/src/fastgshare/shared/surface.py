"""From some measured points to every point of a table's axes, each with its error bar; monotone in SMs and quota.

Pure, on numpy. Throughput, device time and latencies are smooth in the logarithms of SMs, quota and batch, and close to
straight there, so each is a Gaussian process around a plane (Rasmussen and Williams 2006, algorithm 2.1, with a Matern
5/2 kernel): a plane whose slopes are only roughly known before, plus a bend whose reach and size are chosen by marginal
likelihood, plus scatter that no smooth surface explains. What is measured elsewhere bounds an answer too, because more
SMs or more quota never make a model slower: where a curve is flat, two points at its ends settle all between. Last, the
values are made monotone (the mean of the largest below and the smallest above). Why this form, and what others did:
`docs/decisions/0008`.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgshare.shared.messages import ProfileAxes, ProfilePoint, SurfacePoint

Floats = npt.NDArray[np.float64]

CONFIDENCE_95 = 1.96
SLACK = 3.0
"""A measured neighbour bounds an answer by its value and this many of its deviations."""
LEAST_DEVIATION = 0.005
UNSETTLED_DEVIATION = 0.08
UNSETTLED_DOUBT = 2
"""What did not settle is known half as well as it looks, and never better than that."""
MOST_DEVIATION = 1.0
OFFSET_DEVIATION = 5.0
SEARCHED_POINTS = 48
"""Reach and size of the bend are chosen on at most so many points: more hardly change them, and cost their cube."""
MOST_LOG_ERROR = 3.0
LEAST_VARIANCE = 1e-12
ENOUGH_REQUESTS = 100
"""Latencies of fewer scatter more, by the square root; those that do not tell how many are believed."""
LATENCIES = ("latency_p50_us", "latency_p95_us", "latency_p99_us")


Cell = tuple[int, float, int]


class _Kind(NamedTuple):
    """What is known of a quantity before anything is measured: slopes of its plane along (SMs, quota, batch), how far
    they may be off, the scatter of its values, up to which deviation a measured one is the answer, and whether it rises
    (1) or falls (-1) with SMs and quota or neither."""

    slopes: tuple[float, float, float]
    slope_deviations: tuple[float, float, float]
    scatter: float
    believed: float
    rises: int = 0


class _Shape(NamedTuple):
    """The bend: its reach along the three axes and its size, and the deviation that no smooth surface explains."""

    reach: tuple[float, float, float]
    size: float
    scatter: float


class _Prediction(NamedTuple):
    """Logarithms, and half the width of their 95 % interval."""

    value: Floats
    half: Floats


THROUGHPUT = _Kind((0.4, 1.0, 0.25), (0.4, 0.1, 0.3), 0.02, UNSETTLED_DEVIATION, 1)
DEVICE_TIME = _Kind((-0.4, 0.0, 0.75), (0.4, 0.0, 0.3), 0.02, UNSETTLED_DEVIATION, -1)
LATENCY = _Kind((0.0, -0.7, 0.0), (0.1, 0.5, 0.4), 0.1, 0.15)
"""As a multiple of the batch's device time; tails of some hundred requests scatter."""
REACHES = [(sm, 3.0, batch) for sm in (0.7, 1.5, 3.0) for batch in (1.5, 4.0)]
SHAPES = [
    _Shape(reach, size, scatter) for reach in REACHES for size in (0.1, 0.3, 0.8) for scatter in (0.007, 0.02, 0.05)
]
USUAL_SIZE, SIZE_DOUBT = 0.3, 0.7
SCATTER_DOUBT = 0.8


def device_times_us(points: Sequence[ProfilePoint], axes: ProfileAxes) -> dict[tuple[int, int], int]:
    """The device time of a batch by (percent of the SMs, batch), measured or interpolated; empty without points."""
    usable = [point for point in points if _is_usable(point)]
    cells = [(sm, 1.0, batch) for sm in axes.sm_partitions for batch in axes.batches]
    if not usable:
        return {}
    device, _ = _device_times(usable, [_deviation(point) for point in usable], cells)
    return {(sm, batch): _us(device, at) for at, (sm, _, batch) in enumerate(cells)}


def fit(points: Sequence[ProfilePoint], axes: ProfileAxes) -> tuple[SurfacePoint, ...]:
    """Every point of `axes`, in the order of SMs, quota and batch; empty where nothing was measured.

    Points that did not settle count little; those off the axes (a larger batch than is wanted now) count as well. What
    cannot be a point counts for nothing.
    """
    usable = [point for point in points if _is_usable(point)]
    cells = list(itertools.product(axes.sm_partitions, axes.quotas, axes.batches))
    if not usable or not cells:
        return ()
    deviations = [_deviation(point) for point in usable]
    at = [(point.sm_partition, point.quota, point.batch) for point in usable]
    rps = _predict(THROUGHPUT, at, [point.throughput_rps for point in usable], deviations, cells)
    device, tail = _device_times(usable, deviations, cells)
    latencies = _latencies(usable, cells, device)
    measured = {cell for cell, point in zip(at, usable, strict=True) if point.settled}
    return tuple(
        SurfacePoint(
            sm_partition=cell[0],
            quota=cell[1],
            batch=cell[2],
            throughput_rps=float(np.exp(rps.value[i])),
            throughput_error=_relative(rps.half[i]),
            device_us=max(round(float(np.exp(device.value[i]))), 1),
            device_p95_us=max(round(float(np.exp(device.value[i])) * tail), 1),
            measured=cell in measured,
            latency_p50_us=_us(latencies[0], i),
            latency_p95_us=_us(latencies[1], i),
            latency_p99_us=_us(latencies[2], i),
            latency_error=max((_relative(each.half[i]) for each in latencies if each is not None), default=0.0),
        )
        for i, cell in enumerate(cells)
    )


def _is_usable(point: ProfilePoint) -> bool:
    values = (point.sm_partition, point.quota, point.batch, point.throughput_rps, point.device_us)
    return all(0 < value < math.inf for value in values)


def _deviation(point: ProfilePoint) -> float:
    told = point.throughput_error / CONFIDENCE_95
    known = max(told, LEAST_DEVIATION) if told < MOST_DEVIATION else MOST_DEVIATION  # no number is no knowledge
    return known if point.settled else max(UNSETTLED_DOUBT * known, UNSETTLED_DEVIATION)


def _device_times(
    points: Sequence[ProfilePoint], deviations: Sequence[float], cells: Sequence[Cell]
) -> tuple[_Prediction, float]:
    """Device times do not depend on quotas: points that differ in nothing else are one, the best known of them.

    Also the usual 95th percentile as a multiple of the mean.
    """
    best: dict[tuple[int, int], tuple[float, ProfilePoint]] = {}
    for deviation, point in zip(deviations, points, strict=True):
        key = (point.sm_partition, point.batch)
        if key not in best or deviation < best[key][0]:
            best[key] = (deviation, point)
    chosen = [point for _, point in best.values()]
    prediction = _predict(
        DEVICE_TIME,
        [(point.sm_partition, 1.0, point.batch) for point in chosen],
        [point.device_us for point in chosen],
        [deviation for deviation, _ in best.values()],
        [(sm, 1.0, batch) for sm, _, batch in cells],
    )
    tail = float(np.median([max(point.p95_us / max(point.device_us, 1), 1.0) for point in chosen]))
    return prediction, tail


def _latencies(
    points: Sequence[ProfilePoint], cells: Sequence[Cell], device: _Prediction
) -> tuple[_Prediction | None, _Prediction | None, _Prediction | None]:
    """The 50th, 95th and 99th percentile, bent alike; None for one that no point has, as in tables from elsewhere.

    At one load a latency is so many times the batch's device time, and how many hardly depends on the SMs: what is
    interpolated is that ratio. No percentile is below the one before it.
    """
    wanted = np.array(cells, dtype=float)
    known = {name: [point for point in points if getattr(point, name) > 0] for name in LATENCIES}
    found: dict[str, _Prediction] = {}
    floor: Floats = np.full(len(cells), -np.inf)
    telling = "latency_p95_us" if known["latency_p95_us"] else next((name for name in LATENCIES if known[name]), "")
    shape = _likeliest(LATENCY, *_ratios(known[telling], telling)) if telling else None
    for name in LATENCIES:
        if known[name]:
            ratio = _predict(LATENCY, *_ratios(known[name], name), cells, shape)
            floor = np.maximum(_monotone(-1, ratio.value + device.value, wanted), floor)
            found[name] = _Prediction(floor, ratio.half + device.half)
    p50, p95, p99 = (found.get(name) for name in LATENCIES)
    return p50, p95, p99


def _ratios(points: Sequence[ProfilePoint], name: str) -> tuple[list[Cell], list[float], list[float]]:
    """Where these points are, this latency of theirs as a multiple of the batch's device time, and its deviations."""
    return (
        [(point.sm_partition, point.quota, point.batch) for point in points],
        [getattr(point, name) / point.device_us for point in points],
        [_latency_deviation(point) for point in points],
    )


def _latency_deviation(point: ProfilePoint) -> float:
    few = max(ENOUGH_REQUESTS / point.requests, 1.0) if point.requests > 0 else 1.0
    return LATENCY.scatter * math.sqrt(few) * (1 if point.settled else UNSETTLED_DOUBT)


def _us(prediction: _Prediction | None, at: int) -> int:
    return 0 if prediction is None else max(round(float(np.exp(prediction.value[at]))), 1)


def _relative(half: float) -> float:
    return float(np.expm1(min(half, MOST_LOG_ERROR)))


# The process


def _predict(
    kind: _Kind,
    at: Sequence[tuple[float, float, float]],
    values: Sequence[float],
    deviations: Sequence[float],
    cells: Sequence[tuple[float, float, float]],
    shape: _Shape | None = None,
) -> _Prediction:
    """The quantity at `cells`, from `values` at `at` with relative `deviations`; `shape` or the likeliest bend."""
    shape = shape or _likeliest(kind, at, values, deviations)
    known, wanted = np.array(at, dtype=float), np.array(cells, dtype=float)
    x, flat, noise = _flattened(kind, at, values, deviations)
    x_wanted = np.log(wanted) - np.log(known[:1])
    middle = float(flat.mean())
    scatter = np.sqrt(noise**2 + shape.scatter**2)
    factor = np.linalg.cholesky(_kernel(kind, shape, x, x) + np.diag(scatter**2))
    solved = np.linalg.solve(factor, _kernel(kind, shape, x, x_wanted))
    value = middle + x_wanted @ np.array(kind.slopes) + solved.T @ np.linalg.solve(factor, flat - middle)
    own = OFFSET_DEVIATION**2 + (x_wanted**2) @ np.array(kind.slope_deviations) ** 2 + shape.size**2
    half = CONFIDENCE_95 * np.sqrt(np.maximum(own - (solved**2).sum(axis=0) + shape.scatter**2, LEAST_VARIANCE))
    logs = np.log(np.array(values, dtype=float))
    if not kind.rises:
        return _Prediction(_as_measured(value, known, wanted, logs, noise < kind.believed), half)
    bounded = _bounded(kind.rises, _Prediction(value, half), known, wanted, (logs, SLACK * scatter))
    answered = _as_measured(bounded.value, known, wanted, logs, noise < kind.believed)
    return _Prediction(_monotone(kind.rises, answered, wanted), bounded.half)


def _flattened(
    kind: _Kind, at: Sequence[tuple[float, float, float]], values: Sequence[float], deviations: Sequence[float]
) -> tuple[Floats, Floats, Floats]:
    """Where the points are from the first, in logarithms; what their values are off the usual plane; deviations."""
    x = np.log(np.array(at, dtype=float))
    x -= x[:1].copy()
    return x, np.log(np.array(values, dtype=float)) - x @ np.array(kind.slopes), np.array(deviations)


def _likeliest(
    kind: _Kind, at: Sequence[tuple[float, float, float]], values: Sequence[float], deviations: Sequence[float]
) -> _Shape:
    """The shape under which the points are likeliest, with some preference for usual ones."""
    step = -(-len(at) // SEARCHED_POINTS)
    x, flat, noise = _flattened(kind, at[::step], values[::step], deviations[::step])
    bends = {reach: _bend(reach, x, x) for reach in REACHES}
    plane, own = _plane(kind, x, x), np.diag(noise**2)
    kernels = np.stack(
        [plane + own + shape.size**2 * bends[shape.reach] + shape.scatter**2 * np.eye(len(x)) for shape in SHAPES]
    )
    factors = np.linalg.cholesky(kernels)
    column = np.broadcast_to((flat - flat.mean())[:, None], (len(SHAPES), len(flat), 1))
    whitened = np.linalg.solve(factors, column)[..., 0]
    fits = -0.5 * (whitened**2).sum(axis=1) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    sizes, scatters = np.array([[shape.size, shape.scatter] for shape in SHAPES]).T
    doubts = (np.log(sizes / USUAL_SIZE) / SIZE_DOUBT) ** 2 + (np.log(scatters / kind.scatter) / SCATTER_DOUBT) ** 2
    return SHAPES[int(np.argmax(fits - 0.5 * doubts))]


def _kernel(kind: _Kind, shape: _Shape, one: Floats, other: Floats) -> Floats:
    """The covariance of the plane and the bend, of shape (points of one, points of other)."""
    total: Floats = _plane(kind, one, other) + shape.size**2 * _bend(shape.reach, one, other)
    return total


def _plane(kind: _Kind, one: Floats, other: Floats) -> Floats:
    """The covariance that doubts about its offset and slopes make."""
    total: Floats = OFFSET_DEVIATION**2 + (one * np.array(kind.slope_deviations) ** 2) @ other.T
    return total


def _bend(reach: tuple[float, float, float], one: Floats, other: Floats) -> Floats:
    """The correlation of two places: 1 where they are the same, less the farther they are apart (Matern 5/2)."""
    apart = (one[:, None, :] - other[None, :, :]) / np.array(reach)
    far = np.sqrt(5.0 * (apart**2).sum(axis=2))
    near: Floats = (1 + far + far**2 / 3) * np.exp(-far)
    return near


# What more SMs and more quota never do


def _bounded(
    rises: int, free: _Prediction, known: Floats, wanted: Floats, measured: tuple[Floats, Floats]
) -> _Prediction:
    """The interval cut to what points measured at the same batch allow."""
    logs, slack = measured
    below, above = _ordered(known, wanted)
    if rises < 0:
        below, above = above, below
    least = np.where(below, (logs - slack)[None, :], -np.inf).max(axis=1)
    most = np.where(above, (logs + slack)[None, :], np.inf).min(axis=1)
    low, high = np.maximum(free.value - free.half, least), np.minimum(free.value + free.half, most)
    crossed = low > high
    middle = (low + high) / 2
    low, high = np.where(crossed, middle, low), np.where(crossed, middle, high)
    half = np.where(crossed, free.half, (high - low) / 2)
    return _Prediction(np.clip(free.value, low, high), half)


def _ordered(known: Floats, wanted: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of shape (wanted, known): which points have no more, and which no less, of both SMs and quota at that batch."""
    same = known[None, :, 2] == wanted[:, None, 2]
    no_more = (known[None, :, :2] <= wanted[:, None, :2]).all(axis=2)
    no_less = (known[None, :, :2] >= wanted[:, None, :2]).all(axis=2)
    return same & no_more, same & no_less


def _as_measured(value: Floats, known: Floats, wanted: Floats, logs: Floats, believed: npt.NDArray[np.bool_]) -> Floats:
    """Where a point was measured well, its value is the answer."""
    answered = value.copy()
    for place, log in zip(known[believed], logs[believed], strict=True):
        answered[(wanted == place).all(axis=1)] = log
    return answered


def _monotone(rises: int, value: Floats, wanted: Floats) -> Floats:
    """At every batch the mean of the largest value with no more, and the smallest with no less, of SMs and quota."""
    no_more, no_less = _ordered(wanted, wanted)
    rising = rises * value
    largest = np.where(no_more, rising[None, :], -np.inf).max(axis=1)
    smallest = np.where(no_less, rising[None, :], np.inf).min(axis=1)
    middle: Floats = rises * (largest + smallest) / 2
    return middle
