"""From two tables of one model, one of few points and the full grid, to what the few were worth: pure.

The grid's own points are the truth; what the small table measured itself does not count as predicted.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from fastgshare.shared.messages import ProfilePoint, SurfacePoint

TIE = 0.05
"""Slices whose worth differs by less are of the same rank: no measurement tells them apart."""
LATENCY_TIE = 0.10
"""The 95th percentile of some hundred requests is not known better: what is that close to an objective may miss it."""
OBJECTIVES = (1.5, 4.0, 12.0)
"""As multiples of the 95th percentile of latency of one input at a time on the whole device."""

Cell = tuple[int, float, int]
Slice = tuple[int, float]


class Comparison(msgspec.Struct, frozen=True):
    """Of one model: `points_used_share` of the grid's, errors of what was predicted, how often its error bar held,
    `rank_agreement` of slices by what they do per resource within an objective, and what the slice that the small
    table calls best is worth, as a share of the best there is, at worst over the objectives."""

    model: str
    grid_points: int
    points_used: int
    points_used_share: float
    median_error: float
    p95_error: float
    max_error: float
    within_error_bar: float
    rank_agreement: float
    best_slice_worth: float
    unsettled: int


class Entry(NamedTuple):
    """One cell of a table, for ranking."""

    throughput_rps: float
    latency_us: int


def compare(
    model: str, small: Sequence[ProfilePoint], surface: Sequence[SurfacePoint], grid: Sequence[ProfilePoint]
) -> Comparison:
    """The small table's `surface` from its points, against the points of the full grid."""
    truth = {(point.sm_partition, point.quota, point.batch): point for point in grid}
    answers = {(answer.sm_partition, answer.quota, answer.batch): answer for answer in surface}
    own = {(point.sm_partition, point.quota, point.batch) for point in small}
    predicted = [cell for cell in truth if cell not in own and cell in answers]
    errors = sorted(abs(answers[cell].throughput_rps / truth[cell].throughput_rps - 1) for cell in predicted)
    held = sum(_is_within(answers[cell], truth[cell]) for cell in predicted)
    before = {cell: Entry(answer.throughput_rps, answer.latency_p95_us) for cell, answer in answers.items()}
    after = {cell: Entry(point.throughput_rps, point.latency_p95_us) for cell, point in truth.items() if cell in before}
    objectives_us = [factor * _quickest(truth) for factor in OBJECTIVES]
    return Comparison(
        model=model,
        grid_points=len(truth),
        points_used=len(own),
        points_used_share=round(len(own) / len(truth), 4),
        median_error=round(_quantile(errors, 0.5), 4),
        p95_error=round(_quantile(errors, 0.95), 4),
        max_error=round(errors[-1], 4) if errors else 0.0,
        within_error_bar=round(held / len(predicted), 4) if predicted else 1.0,
        rank_agreement=round(rank_agreement(before, after, objectives_us), 4),
        best_slice_worth=round(min(best_slice_worth(before, after, us) for us in objectives_us), 4),
        unsettled=sum(not point.settled for point in grid),
    )


def mean_of(grids: Sequence[Sequence[ProfilePoint]]) -> list[ProfilePoint]:
    """Several measurements of one grid as one: the geometric means of throughputs and of latencies."""
    by_cell = [{(point.sm_partition, point.quota, point.batch): point for point in grid} for grid in grids]
    shared = [cell for cell in by_cell[0] if all(cell in other for other in by_cell)]
    return [_mean([grid[cell] for grid in by_cell]) for cell in shared]


def _mean(points: Sequence[ProfilePoint]) -> ProfilePoint:
    def mean(values: Iterable[float]) -> float:
        return math.exp(fmean(math.log(max(value, 1e-9)) for value in values))

    return replace(
        points[0],
        throughput_rps=mean(point.throughput_rps for point in points),
        throughput_error=mean(point.throughput_error for point in points),
        latency_p50_us=round(mean(point.latency_p50_us for point in points)),
        latency_p95_us=round(mean(point.latency_p95_us for point in points)),
        latency_p99_us=round(mean(point.latency_p99_us for point in points)),
        settled=all(point.settled for point in points),
    )


def apart(first: Sequence[ProfilePoint], second: Sequence[ProfilePoint]) -> tuple[float, float]:
    """By how much throughputs of two grids differ: the median and the 95th percentile, relative."""
    other = {(point.sm_partition, point.quota, point.batch): point.throughput_rps for point in second}
    pairs = [(p.throughput_rps, other.get((p.sm_partition, p.quota, p.batch))) for p in first]
    errors = sorted(abs(one / two - 1) for one, two in pairs if two is not None)
    return round(_quantile(errors, 0.5), 4), round(_quantile(errors, 0.95), 4)


def worth(table: Mapping[Cell, Entry], objective_us: float) -> dict[Slice, float]:
    """Requests a second per resource (`T / (sm x quota)`) of each slice, at the best batch within the objective; 0
    where no batch is within it."""
    found: dict[Slice, float] = {}
    for (sm, quota, _), entry in table.items():
        within = entry.latency_us <= objective_us
        per_resource = entry.throughput_rps / (sm * quota) if within else 0.0
        found[sm, quota] = max(found.get((sm, quota), 0.0), per_resource)
    return found


def rank_agreement(small: Mapping[Cell, Entry], grid: Mapping[Cell, Entry], objectives_us: Sequence[float]) -> float:
    """Of the pairs of slices whose worth the grid tells apart, the share that both tables put in the same order."""
    agreeing = pairs = 0
    for objective_us in objectives_us:
        ours, theirs = worth(small, objective_us), worth(grid, objective_us)
        strict, lenient = (worth(grid, objective_us * (1 + tie)) for tie in (-LATENCY_TIE, LATENCY_TIE))
        certain = sorted(slice_ for slice_ in theirs if strict[slice_] == lenient[slice_])
        for one, other in itertools.combinations(certain, 2):
            if abs(theirs[one] - theirs[other]) <= TIE * max(theirs[one], theirs[other]):
                continue
            pairs += 1
            agreeing += (ours[one] > ours[other]) == (theirs[one] > theirs[other]) and ours[one] != ours[other]
    return agreeing / pairs if pairs else 1.0


def best_slice_worth(small: Mapping[Cell, Entry], grid: Mapping[Cell, Entry], objective_us: float) -> float:
    """What the slice chosen by the small table is worth by the grid, as a share of the best there is; 1 where there
    is none within the objective, and neither table claims one. A latency above the objective by less than a tie is
    not held against the choice."""
    ours, theirs = worth(small, objective_us), worth(grid, objective_us * (1 + LATENCY_TIE))
    best = max(theirs.values(), default=0.0)
    chosen = max(ours, key=lambda each: (ours[each], -each[0], -each[1]))
    if best == 0:
        return 1.0 if ours[chosen] == 0 else 0.0
    return theirs[chosen] / best if ours[chosen] > 0 else 0.0


def _quickest(truth: Mapping[Cell, ProfilePoint]) -> int:
    """The 95th percentile of latency of one input at a time on the whole device for all of the time."""
    cell = max((cell for cell in truth if cell[2] == 1), key=lambda cell: (cell[0], cell[1]))
    return truth[cell].latency_p95_us


def _is_within(answer: SurfacePoint, point: ProfilePoint) -> bool:
    """Whether the measured value lies within the answer's error bar, given that it is uncertain itself."""
    apart = abs(math.log(answer.throughput_rps / point.throughput_rps))
    return apart <= math.log1p(answer.throughput_error) + math.log1p(point.throughput_error)


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
