"""Points against a slow oracle, and what makes one settled."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.profiler.core.points import has_settled, percentile_us, point_from
from fastgshare.shared.messages import MeasureReply
from fastgshare.shared.units import US_PER_S

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


@given(times_us=run_times, batch=st.integers(1, 64))
def test_a_point_is_in_order_and_its_throughput_is_that_of_all_runs_together(times_us: list[int], batch: int) -> None:
    point = point_from(batch, MeasureReply(execute_us=tuple(times_us), chunks=1, total_chunks=2))
    assert min(times_us) <= point.p50_us <= point.p95_us <= point.p99_us <= max(times_us)
    assert point.throughput_rps == pytest.approx(batch * len(times_us) * US_PER_S / sum(times_us))
    assert (point.batch, point.runs, point.sm_partition) == (batch, len(times_us), 50)


def test_a_run_too_short_for_the_clock_does_not_divide_by_zero() -> None:
    point = point_from(1, MeasureReply(execute_us=(0, 0), chunks=0, total_chunks=0))
    assert point.p50_us == 1
    assert 1 <= point.sm_partition <= 100


@pytest.mark.parametrize(
    ("execute_us", "settled"),
    [
        ((100,) * 8, True),
        ((100, 101, 99, 100, 109, 110, 108, 109), True),
        ((100, 100, 100, 100, 120, 120, 120, 120), False),
        ((300, 300, 300, 300, 100, 100, 100, 100), False),
        ((900, 100, 100, 100, 100, 100, 100, 100), True),  # one straggler does not move a median
        ((100, 100, 100), False),  # too few to tell
    ],
)
def test_a_point_is_settled_when_its_halves_agree(execute_us: tuple[int, ...], settled: bool) -> None:
    assert has_settled(execute_us) is settled
