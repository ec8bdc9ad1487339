"""Points against a slow oracle, and which of two tries is kept."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.profiler.core.plan import Setting
from fastgshare.profiler.core.points import (
    better,
    earlier,
    is_disturbed,
    is_earlier,
    is_final,
    is_too_slow,
    percentile_us,
    point_from,
)
from fastgshare.shared.messages import MeasureReply
from tests.profiler.samples import WHOLE, times

run_times = st.lists(st.integers(1, 10**7), min_size=1, max_size=300)


def slow_percentile(times_us: list[int], percent: int) -> int:
    """The shortest time such that at least `percent` of the runs took no longer, found by trying each."""
    return next(
        candidate
        for candidate in sorted(times_us)
        if Fraction(sum(time_us <= candidate for time_us in times_us), len(times_us)) >= Fraction(percent, 100)
    )


@given(times_us=run_times, percent=st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_percentiles_are_what_trying_each_time_finds(times_us: list[int], percent: int) -> None:
    assert percentile_us(sorted(times_us), percent) == slow_percentile(times_us, percent)


@given(times_us=run_times, latency_us=st.lists(st.integers(1, 10**7), max_size=50))
def test_a_point_says_what_the_worker_measured(times_us: list[int], latency_us: list[int]) -> None:
    at = Setting(50, 0.4, 8)
    reply = MeasureReply(
        execute_us=tuple(times_us),
        throughput_rps=123.0,
        throughput_error=0.01,
        latency_us=tuple(latency_us),
        load_rps=98.0,
        memory_mib=40.0,
        occupancy_percent=0.5,
    )
    point = point_from(at, reply, wall_us=2_500)
    assert (point.sm_partition, point.quota, point.batch) == at
    assert min(times_us) <= point.p50_us <= point.p95_us <= point.p99_us <= max(times_us)
    assert point.latency_p50_us <= point.latency_p95_us <= point.latency_p99_us <= max(latency_us, default=0)
    assert (point.throughput_rps, point.throughput_error, point.load_rps) == (123.0, 0.01, 98.0)
    assert (point.runs, point.requests, point.memory_mib) == (len(times_us), len(latency_us), 40.0)
    assert (point.occupancy_percent, point.wall_ms, point.settled, point.note) == (0.5, 2.5, True, "")


def test_runs_too_short_for_the_clock_do_not_divide_by_zero() -> None:
    point = point_from(WHOLE, MeasureReply(execute_us=(0, 0)))
    assert point.p50_us == 1
    assert point.throughput_rps == 1_000_000


def test_a_batch_that_takes_longer_than_anybody_waits_is_told_so() -> None:
    point = point_from(WHOLE, times(fixed_us=2_000_000), slowest_ms=1_000)
    assert is_too_slow(point)
    assert not point.settled
    assert is_final(point), "another try is no faster"
    assert point.note == "too slow: a batch takes 2000 ms, at most 1000 ms are waited for"


def test_one_batch_that_is_too_long_is_enough_as_it_is_for_the_worker() -> None:
    reply = replace(times(), execute_us=(1_000, 1_000, 1_500_000), settled=False, note="one batch took 1.5 s")
    assert is_too_slow(point_from(WHOLE, reply, slowest_ms=1_000))
    assert not is_too_slow(point_from(WHOLE, reply, slowest_ms=2_000))


def test_what_did_not_settle_is_tried_once_more_whatever_comes_of_it() -> None:
    wandering, fine = point_from(WHOLE, times(settled=False), 1_000), point_from(WHOLE, times(), 2_000)
    assert not is_final(wandering)
    assert wandering.note == "its times wander"
    kept = better(wandering, fine)
    assert (kept.settled, kept.note, kept.wall_ms) == (True, "", 3.0)
    worse = replace(wandering, throughput_rps=wandering.throughput_rps / 2)
    kept = better(worse, wandering)
    assert kept.throughput_rps == wandering.throughput_rps
    assert (kept.settled, kept.note) == (False, "measured twice: its times wander")
    assert is_final(kept)


@pytest.mark.parametrize(("disturbed", "is_so"), [(0.0, False), (0.3, True)])
def test_others_that_ran_beside_it_are_told_of(disturbed: float, is_so: bool) -> None:
    point = point_from(WHOLE, times(settled=False, disturbed=disturbed))
    assert is_disturbed(point) is is_so
    assert not is_final(point)


def test_a_point_to_be_renewed_says_so_and_nothing_else_changes() -> None:
    point = point_from(WHOLE, times())
    assert is_earlier(earlier(point))
    assert not is_earlier(point)
    assert replace(earlier(point), note="") == point
