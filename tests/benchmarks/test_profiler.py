"""The arithmetic of `make bench-profiler`, and its virtual side on a curve whose answers are known."""

import pytest

from benchmarks.profiler import virtual
from benchmarks.profiler.bench import TARGETS
from benchmarks.profiler.figures import Entry, best_slice_worth, compare, rank_agreement, worth
from benchmarks.profiler.replay import few_of, follow
from benchmarks.targets import misses
from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.profiler.core.plan import Setting, axes_for
from fastgshare.shared.messages import ProfilePoint, SurfacePoint
from fastgshare.shared.surface import fit
from fastgshare.shared.units import US_PER_S

CURVE = SpeedCurve(floor_us=10_000, work_us=3_000, sharpness=4.0)


def point(sm: int, quota: float, batch: int, rps: float) -> ProfilePoint:
    return ProfilePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        p50_us=1,
        p95_us=1,
        p99_us=1,
        device_us=10,
        runs=9,
        latency_p50_us=100,
        latency_p95_us=200,
        latency_p99_us=300,
    )


def answer(sm: int, quota: float, batch: int, rps: float, error: float = 0.05) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        throughput_error=error,
        device_us=10,
        device_p95_us=10,
        measured=False,
        latency_p50_us=100,
        latency_p95_us=200,
        latency_p99_us=300,
    )


def test_only_what_was_predicted_counts_as_predicted() -> None:
    grid = [point(50, 1.0, 1, 50), point(100, 1.0, 1, 100), point(100, 0.5, 1, 50)]
    surface = [answer(50, 1.0, 1, 50), answer(100, 1.0, 1, 110), answer(100, 0.5, 1, 51)]

    found = compare("m", [grid[0]], surface, grid)

    assert (found.points_used, found.grid_points, found.points_used_share) == (1, 3, 0.3333)
    assert found.median_error == pytest.approx(0.02)
    assert found.p95_error == found.max_error == pytest.approx(0.1)
    assert found.within_error_bar == 0.5


def test_a_slice_is_worth_its_best_batch_within_the_objective() -> None:
    table = {(50, 1.0, 1): Entry(50, 10), (50, 1.0, 8): Entry(200, 90), (100, 1.0, 1): Entry(60, 5)}

    assert worth(table, 50) == {(50, 1.0): 1.0, (100, 1.0): 0.6}
    assert worth(table, 100) == {(50, 1.0): 4.0, (100, 1.0): 0.6}
    assert worth(table, 1) == {(50, 1.0): 0.0, (100, 1.0): 0.0}


def test_ranks_agree_where_both_order_what_differs() -> None:
    truth = {(25, 1.0, 1): Entry(50, 10), (50, 1.0, 1): Entry(60, 10), (100, 1.0, 1): Entry(70, 10)}
    turned = {(25, 1.0, 1): Entry(20, 10), (50, 1.0, 1): Entry(60, 10), (100, 1.0, 1): Entry(70, 10)}

    assert rank_agreement(truth, truth, [50]) == 1
    assert rank_agreement(turned, truth, [50]) == pytest.approx(2 / 3)
    assert best_slice_worth(truth, truth, 50) == 1
    assert best_slice_worth(turned, truth, 50) == pytest.approx(0.6)


def test_a_slice_that_misses_the_objective_in_truth_is_worth_nothing() -> None:
    truth = {(25, 1.0, 1): Entry(50, 90), (100, 1.0, 1): Entry(70, 10)}
    hopeful = {(25, 1.0, 1): Entry(50, 40), (100, 1.0, 1): Entry(70, 10)}

    assert best_slice_worth(hopeful, truth, 50) == 0
    assert rank_agreement(hopeful, truth, [50]) == 0


def test_a_missed_target_is_named() -> None:
    good = {key: target.bound for key, target in TARGETS.items()}

    assert misses(TARGETS, good) == []
    assert misses(TARGETS, good | {"rank_agreement": 0.9}) == ["rank_agreement 0.9, expected at least 0.95"]
    assert misses(TARGETS, good | {"p95_error": 0.2}) == ["p95_error 0.2, expected at most 0.12"]


def test_an_emulated_point_is_what_the_curve_and_the_quota_make_of_it() -> None:
    found = virtual.Emulated(CURVE, chunks=16, seed=1).measure(Setting(50, 0.4, 4))
    alone_us = CURVE.batch_us(50, 4)

    assert found.settled
    assert found.device_us == pytest.approx(alone_us, rel=0.02)
    assert found.throughput_rps == pytest.approx(0.4 * 4 * US_PER_S / alone_us, rel=0.04)
    assert found.latency_p99_us > found.latency_p50_us > found.device_us / 2


def test_a_few_points_of_an_emulated_model_tell_the_rest() -> None:
    axes = axes_for(4, 2)
    points, survey = follow(axes, virtual.Emulated(CURVE, chunks=4, seed=1).measure)
    whole = virtual.grid(axes, virtual.Emulated(CURVE, chunks=4, seed=2).measure)
    found = compare("m", points, survey.surface, whole)

    assert found.points_used_share <= 0.35
    assert found.median_error <= 0.05
    assert fit(points, axes) == survey.surface


def test_a_grid_is_replayed_with_its_own_points() -> None:
    axes = axes_for(4, 2)
    whole = virtual.grid(axes, virtual.Emulated(CURVE, chunks=4, seed=2).measure)
    points, survey = few_of(whole, axes)

    assert set(points) <= set(whole)
    assert not survey.due
