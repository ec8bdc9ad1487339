"""Arrivals have the rate and the spacing that was asked for, ascend, and are the same for the same seed."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.simulator.core.traffic import (
    BLOCK,
    Load,
    arrivals,
    merged,
    rate_at,
    recorded,
    seed_for,
    steady,
    stepped,
    wave,
)

SECOND = 1_000_000


def counts_by_second(times: list[int], seconds: int) -> list[int]:
    counts = np.bincount(np.array(times) // SECOND, minlength=seconds)
    return [int(count) for count in counts]


def variation(times: list[int]) -> float:
    gaps = np.diff(times)
    return float(gaps.std() / gaps.mean())


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 3.0])
def test_a_steady_rate_has_its_mean_and_its_burstiness(cv: float) -> None:
    times = list(arrivals(steady(200.0, 500.0), cv, seed=1))
    assert len(times) == pytest.approx(100_000, rel=0.03)
    assert variation(times) == pytest.approx(cv, rel=0.05, abs=0.001)


def test_even_spacing_is_even_to_the_microsecond() -> None:
    times = list(arrivals(steady(100.0, 2.0), 0.0, seed=1))
    assert len(times) in (199, 200)
    assert set(np.diff(times).tolist()) <= {9_999, 10_000, 10_001}


def test_steps_last_until_the_next_and_nothing_comes_before_the_first() -> None:
    load = stepped([(5, 30), (15, 40), (25, 0)], until_s=40)
    times = list(arrivals(load, 0.0, seed=3))
    counts = counts_by_second(times, 40)
    assert counts[:5] == [0] * 5
    assert sum(counts[5:15]) == pytest.approx(300, abs=1)
    assert sum(counts[15:25]) == pytest.approx(400, abs=1)
    assert counts[25:] == [0] * 15


def test_a_wave_has_its_mean_its_peak_and_its_trough() -> None:
    load = wave(100.0, 1.8, period_s=100.0, peak_at_s=25.0, until_s=200.0)
    assert load.requests == pytest.approx(20_000, rel=1e-3)
    assert rate_at(load, 25 * SECOND) == pytest.approx(180, rel=0.01)
    assert rate_at(load, 75 * SECOND) == pytest.approx(20, rel=0.05)
    counts = counts_by_second(list(arrivals(load, 0.0, seed=1)), 200)
    assert sum(counts[20:30]) == pytest.approx(1800 * 0.987, rel=0.01)


def test_a_wave_that_goes_down_to_nothing_never_goes_below() -> None:
    load = wave(50.0, 2.0, period_s=10.0, peak_at_s=0.0, until_s=95.0)
    assert (np.diff(load.expected) >= 0).all()


def test_the_same_seed_gives_the_same_arrivals_and_another_gives_others() -> None:
    load = steady(50.0, 100.0)
    first, again, other = (list(arrivals(load, 1.0, seed=seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert seed_for(1, 0) != seed_for(1, 1) != seed_for(2, 1)


def test_arrivals_are_made_while_they_are_asked_for() -> None:
    endless = arrivals(steady(1000.0, 1e7), 1.0, seed=1)
    assert len(list(itertools.islice(endless, 10))) == 10


def test_traffic_starts_late_and_stops_early() -> None:
    times = list(arrivals(steady(100.0, 60.0), 1.0, seed=1, from_us=10 * SECOND, until_us=20 * SECOND))
    assert times[0] >= 10 * SECOND
    assert times[-1] < 20 * SECOND
    assert len(times) == pytest.approx(1000, rel=0.15)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.floats(0, 500)), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    st.integers(0, 100),
)
def test_arrivals_ascend_and_lie_within_the_load(gaps: list[tuple[int, float]], cv: float, seed: int) -> None:
    starts = np.cumsum([gap for gap, _ in gaps]).tolist()
    steps = [(float(at_s), rps) for at_s, (_, rps) in zip(starts, gaps, strict=True)]
    until_s = starts[-1] + 3.0
    times = list(arrivals(stepped(steps, until_s), cv, seed))
    assert times == sorted(times)
    assert all(steps[0][0] * SECOND <= at_us <= until_s * SECOND for at_us in times)


def test_recorded_arrivals_come_as_they_were() -> None:
    times_s = np.array([0.1, 0.25, 0.25, 3.0])
    assert list(recorded(times_s, 1.0, seed=1)) == [100_000, 250_000, 250_000, 3_000_000]
    assert list(recorded(times_s, 1.0, seed=1, from_us=SECOND, until_us=2 * SECOND)) == [
        1_100_000,
        1_250_000,
        1_250_000,
    ]


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_recorded_arrivals_are_thinned_or_multiplied(scale: float) -> None:
    times_s = np.cumsum(np.random.default_rng(1).standard_exponential(3 * BLOCK))
    times = list(recorded(times_s, scale, seed=1))
    assert len(times) == pytest.approx(scale * 3 * BLOCK, rel=0.03)
    assert times == sorted(times)
    assert 0.9 < variation(times) < 1.5  # copies lie within the gaps, which gives short ones


def test_several_traffics_are_merged_in_order() -> None:
    assert list(merged([[1, 5], [2, 3, 9]])) == [1, 2, 3, 5, 9]


def test_no_load_at_all_is_no_arrivals() -> None:
    assert list(arrivals(steady(0.0, 10.0), 1.0, seed=1)) == []
    assert list(arrivals(Load(np.array([0.0, 1.0]), np.array([0.0, 0.0])), 0.0, seed=1)) == []
