"""Reading a throughput table: what to expect of a model on any slice and batch, between and beyond its points.

Pure and cheap: a table is published with every point of its axes (`Profile.surface`), so reading is interpolation
within one cell of a grid, linear in the logarithms of SMs, quota and batch. So it keeps what the surface has: never a
lower throughput or a longer time with more SMs or more quota. Below the smallest share or quota throughput shrinks in
proportion, and below the smallest batch; above the largest it does not grow. A batch's device time is linear in the
batch, and a matter of the SMs alone: quotas decide when a batch runs, not how long. What cannot be a point (no share,
no time, no finite throughput) is read as if it were not there: tables are stored by others.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from fastgshare.shared.messages import Profile, ProfilePoint, SurfacePoint

UNKNOWN_ERROR = 0.5
"""Of what is only scaled from a point elsewhere, and of what lies beyond all points."""
REMEMBERED = 4096
"""Readings a table remembers: a gateway asks the same of each replica of a function, on its event loop."""

MAX_CELLS = 2000
"""Of a table that is read from its points alone; where they make more, some of them count for nothing."""

Cell = tuple[int, int, int]
_Near = tuple[float, int, ProfilePoint]
"""How far a point is, its share of the SMs, the point."""


class Reading(NamedTuple):
    """What to expect: as in `SurfacePoint`, with `measured` only exactly where it was."""

    throughput_rps: float
    throughput_error: float
    device_us: int
    device_p95_us: int
    latency_p50_us: int
    latency_p95_us: int
    latency_p99_us: int
    latency_error: float
    measured: bool


class _Place(NamedTuple):
    """Where a value lies on an axis: between `low` and `high`, `weight` of the way; `scale` of it where beyond them."""

    low: int
    high: int
    weight: float
    scale: float


class Table:
    """One (model, device kind)'s answers; `Table.of` makes it."""

    def __init__(self, grid: Mapping[Cell, SurfacePoint], axes: tuple[list[int], list[float], list[int]]) -> None:
        self._grid = grid
        self._sms, self._quotas, self._batches = axes
        self._answers: dict[tuple[float, float, int], Reading] = {}
        self._times: dict[float, tuple[list[float], list[float]]] = {}

    @classmethod
    def of(cls, profile: Profile) -> "Table | None":
        """The table of a profile; None while it has no point. One without a surface is read from its points alone."""
        surface = [point for point in profile.surface if _is_sound(point)] or _from_points(profile.points)
        sms = sorted({point.sm_partition for point in surface})
        quotas = sorted({point.quota for point in surface})
        batches = sorted({point.batch for point in surface})
        sm_at, quota_at, batch_at = _indexes(sms), _indexes(quotas), _indexes(batches)
        grid = {(sm_at[point.sm_partition], quota_at[point.quota], batch_at[point.batch]): point for point in surface}
        if not grid or len(grid) < len(sms) * len(quotas) * len(batches):
            return cls.of(_without_surface(profile)) if profile.surface else None
        return cls(grid, (sms, quotas, batches))

    @property
    def parts(self) -> tuple[Mapping[Cell, SurfacePoint], tuple[list[int], list[float], list[int]]]:
        """What it was made from: `Table(*table.parts)` answers as `table` does."""
        return self._grid, (self._sms, self._quotas, self._batches)

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes it has, ascending."""
        return tuple(self._batches)

    def at(self, sm_percent: float, quota: float, batch: int) -> Reading:
        """What to expect of `sm_percent` of the SMs (0 to 100) for `quota` of the time (0 to 1), both above 0.

        Raises:
            ValueError: a share, quota or batch that is not above 0.
        """
        if not (sm_percent > 0 and quota > 0 and batch >= 1):
            raise ValueError(f"sm_percent {sm_percent}, quota {quota}, batch {batch}: expected all above 0")
        question = (sm_percent, quota, batch)
        known = self._answers.get(question)
        if known is None:
            known = self._read(*question)
            if len(self._answers) < REMEMBERED:
                self._answers[question] = known
        return known

    def _read(self, sm_percent: float, quota: float, batch: int) -> Reading:
        sm, time, size = _place(self._sms, sm_percent), _place(self._quotas, quota), _place(self._batches, batch)
        cells = self._cells(sm, time, size)
        slow = sm.scale * time.scale
        is_within = all(
            axis[0] <= value <= axis[-1]
            for axis, value in ((self._sms, sm_percent), (self._quotas, quota), (self._batches, batch))
        )
        times_us, p95s_us = self._device_times_us(sm_percent)
        least_error = 0.0 if is_within else UNKNOWN_ERROR

        def mean(value: Callable[[SurfacePoint], float]) -> float:
            return math.exp(sum(weight * math.log(max(value(point), 1e-9)) for point, weight in cells))

        def latency_us(value: Callable[[SurfacePoint], float]) -> int:
            is_known = all(value(point) > 0 for point, _ in cells)
            return round(mean(value) / slow) if is_known else 0

        return Reading(
            throughput_rps=mean(lambda point: point.throughput_rps) * slow * size.scale,
            throughput_error=max(least_error, *(point.throughput_error for point, _ in cells)),
            device_us=round(_linear(self._batches, times_us, batch)),
            device_p95_us=round(_linear(self._batches, p95s_us, batch)),
            latency_p50_us=latency_us(lambda point: point.latency_p50_us),
            latency_p95_us=latency_us(lambda point: point.latency_p95_us),
            latency_p99_us=latency_us(lambda point: point.latency_p99_us),
            latency_error=max(least_error, *(point.latency_error for point, _ in cells)),
            measured=is_within and len(cells) == 1 and cells[0][0].measured,
        )

    def _cells(self, sm: _Place, time: _Place, size: _Place) -> list[tuple[SurfacePoint, float]]:
        return [
            (self._grid[i, j, k], a * b * c)
            for i, a in _ends(sm)
            for j, b in _ends(time)
            for k, c in _ends(size)
            if a * b * c > 0
        ]

    def _device_times_us(self, sm_percent: float) -> tuple[list[float], list[float]]:
        """The mean and the 95th percentile for each batch size.

        At the largest quota, where nothing but the device shapes them: the same for every quota, so they are kept.
        """
        known = self._times.get(sm_percent)
        if known is None:
            sm, last = _place(self._sms, sm_percent), len(self._quotas) - 1
            columns = [[(self._grid[i, last, k], weight) for i, weight in _ends(sm)] for k in range(len(self._batches))]
            known = (
                [math.exp(sum(w * math.log(max(p.device_us, 1)) for p, w in column)) / sm.scale for column in columns],
                [
                    math.exp(sum(w * math.log(max(p.device_p95_us, 1)) for p, w in column)) / sm.scale
                    for column in columns
                ],
            )
            if len(self._times) < REMEMBERED:
                self._times[sm_percent] = known
        return known


def _indexes(axis: Sequence[float]) -> dict[float, int]:
    return {value: index for index, value in enumerate(axis)}


def _place(axis: Sequence[float], value: float) -> _Place:
    at = bisect_left(axis, value)
    if at == len(axis):
        return _Place(at - 1, at - 1, 0.0, 1.0)
    if axis[at] == value or at == 0:
        return _Place(at, at, 0.0, min(value / axis[at], 1.0))
    low, high = axis[at - 1], axis[at]
    return _Place(at - 1, at, math.log(value / low) / math.log(high / low), 1.0)


def _ends(place: _Place) -> tuple[tuple[int, float], ...]:
    if place.low == place.high:
        return ((place.low, 1.0),)
    return ((place.low, 1 - place.weight), (place.high, place.weight))


def _linear(sizes: Sequence[int], times_us: Sequence[float], size: int) -> float:
    """Between two sizes on the line through them; below the smallest no shorter, above the largest in proportion."""
    at = bisect_left(sizes, size)
    if at == len(sizes):
        return times_us[-1] * size / sizes[-1]
    if at == 0 or sizes[at] == size:
        return times_us[at]
    share = (size - sizes[at - 1]) / (sizes[at] - sizes[at - 1])
    return times_us[at - 1] + share * (times_us[at] - times_us[at - 1])


def _is_sound(point: ProfilePoint | SurfacePoint) -> bool:
    place = (point.sm_partition, point.quota, point.batch)
    return all(0 < value < math.inf for value in place) and 0 <= point.throughput_rps < math.inf


def _without_surface(profile: Profile) -> Profile:
    """A surface with holes says nothing that its points do not."""
    return Profile(
        model_digest=profile.model_digest,
        device_kind=profile.device_kind,
        state=profile.state,
        points=profile.points,
    )


def _from_points(points: Iterable[ProfilePoint]) -> list[SurfacePoint]:
    """Every combination of the points' values; what was not measured is scaled from the nearest point that was.

    Never up from a smaller slice or quota, as no speed-up is promised: a promise kept is worth more than a better one.
    """
    usable = [point for point in points if _is_sound(point) and point.throughput_rps > 0]
    measured, (sms, quotas, batches) = _thinned({_place_of(point): point for point in usable})
    cells: list[SurfacePoint] = []
    for batch in batches:  # every one of them has points, and none is nearer than those
        here = {(sm, quota): point for (sm, quota, size), point in measured.items() if size == batch}
        nearest = _spread(here, sms, quotas)
        cells += [_scaled(nearest[sm, quota], sm, quota, batch) for sm in sms for quota in quotas]
    return cells


def _place_of(point: ProfilePoint) -> tuple[int, float, int]:
    return point.sm_partition, point.quota, point.batch


def _thinned(
    measured: Mapping[tuple[int, float, int], ProfilePoint],
) -> tuple[Mapping[tuple[int, float, int], ProfilePoint], tuple[list[int], list[float], list[int]]]:
    """The points, or some of them where their values make too many combinations, with their axes."""
    while True:
        sms = sorted({place[0] for place in measured})
        quotas = sorted({place[1] for place in measured})
        batches = sorted({place[2] for place in measured})
        sizes = len(sms), len(quotas), len(batches)
        if math.prod(sizes) <= MAX_CELLS:
            return measured, (sms, quotas, batches)
        axis = sizes.index(max(sizes))
        kept = set((sms, quotas, batches)[axis][::-2])  # the largest stays
        measured = {place: point for place, point in measured.items() if place[axis] in kept}


def _spread(
    here: Mapping[tuple[int, float], ProfilePoint], sms: Sequence[int], quotas: Sequence[float]
) -> dict[tuple[int, float], ProfilePoint]:
    """The nearest of the points of one batch size for each share and quota, of two as near the one of fewer SMs.

    Distances are sums of those along the axes, so sweeping forth and back along one, then the other, finds them all.
    """
    found = {place: (0.0, place[0], point) for place, point in here.items()}
    for quota in quotas:
        _sweep(found, [(sm, quota) for sm in sms], [math.log(sm) for sm in sms])
    for sm in sms:
        _sweep(found, [(sm, quota) for quota in quotas], [math.log(quota) for quota in quotas])
    return {place: point for place, (_, _, point) in found.items()}


def _sweep(found: dict[tuple[int, float], _Near], places: Sequence[tuple[int, float]], at: Sequence[float]) -> None:
    for order in (range(len(places)), range(len(places) - 1, -1, -1)):
        near: _Near | None = None
        before = 0.0
        for index in order:
            if near is not None:
                apart = round(near[0] + abs(at[index] - before), 9)
                near = (apart, near[1], near[2])
            own = found.get(places[index])
            if near is None or (own is not None and own[:2] <= near[:2]):
                near = own
            elif own is None or near[:2] < own[:2]:
                found[places[index]] = near
            before = at[index]


def _scaled(point: ProfilePoint, sm: int, quota: float, batch: int) -> SurfacePoint:
    is_here = (point.sm_partition, point.quota, point.batch) == (sm, quota, batch)
    smaller = min(1.0, sm / point.sm_partition)
    shorter = min(1.0, quota / point.quota)
    longer = max(1.0, batch / point.batch)
    return SurfacePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=point.throughput_rps * smaller * shorter * min(1.0, batch / point.batch),
        throughput_error=point.throughput_error if is_here else UNKNOWN_ERROR,
        device_us=round(point.device_us * longer / smaller),
        device_p95_us=round(point.p95_us * longer / smaller),
        measured=is_here,
        latency_p50_us=round(point.latency_p50_us * longer / smaller / shorter),
        latency_p95_us=round(point.latency_p95_us * longer / smaller / shorter),
        latency_p99_us=round(point.latency_p99_us * longer / smaller / shorter),
        latency_error=0.0 if is_here else UNKNOWN_ERROR,
    )
