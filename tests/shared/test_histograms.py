"""Histograms count each duration in the bucket whose bounds enclose it, and give quantiles back within a bucket."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.histograms import BOUNDS_US, Durations, quantile_us


@given(st.integers(0, 200_000_000) | st.sampled_from([bound + by for bound in BOUNDS_US for by in (-1, 0, 1)]))
def test_a_duration_falls_into_its_bucket(duration_us: int) -> None:
    durations = Durations()
    durations.add(duration_us)
    assert durations.counts.index(1) == bisect_left(BOUNDS_US, duration_us)
    assert sum(durations.counts) == 1
    assert durations.sum_us == duration_us


@given(st.lists(st.integers(1, 60_000_000), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(sample_us: list[int], q: float) -> None:
    durations = Durations()
    for duration_us in sample_us:
        durations.add(duration_us)
    ranked = sorted(sample_us)
    true_us = ranked[min(len(ranked) - 1, max(0, -int(-q * len(ranked) // 1) - 1))]
    bucket = bisect_left(BOUNDS_US, true_us)
    found_us = quantile_us(durations.counts, q)
    assert found_us is not None
    assert (BOUNDS_US[bucket - 1] if bucket else 0) <= found_us <= BOUNDS_US[bucket]


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_us(Durations().counts, 0.5) is None
