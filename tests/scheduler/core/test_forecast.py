"""What will arrive: steps at once, ramps ahead of time, nothing made of chance, and room for bursts."""

from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.scheduler.core.forecast import Forecast, Signal, forecast, observe
from fastgshare.scheduler.core.settings import Settings

SETTINGS = Settings()
REPORT_US = 500_000


def after(counts: Iterable[int], every_us: int = REPORT_US) -> list[Forecast]:
    """The forecast after each report."""
    signal = Signal()
    told = []
    for count in counts:
        observe(signal, count, every_us, SETTINGS)
        told.append(forecast([signal], SETTINGS))
    return told


def scattered(mean: float, reports: int, clump: Callable[[Random], int] = lambda _: 1, seed: int = 7) -> list[int]:
    """Counts of a Poisson process of clumps, with this mean of clumps a report."""
    random = Random(seed)
    counts = []
    for _ in range(reports):
        count, left = 0, random.expovariate(1)
        while left < mean:
            count += clump(random)
            left += random.expovariate(1)
        counts.append(count)
    return counts


def test_a_steady_rate_is_told_as_it_is() -> None:
    told = after([10] * 40)[-1]
    assert told == pytest.approx(Forecast(20.0, 20.0, 0.0))


def test_a_step_is_seen_in_one_report() -> None:
    told = after([25] * 20 + [50])[-1]
    assert told.coming_rps >= 100


def test_a_ramp_is_told_ahead_of_time() -> None:
    told = after(range(20, 80))[-1]
    assert told.coming_rps > told.rate_rps + 10, "4 s ahead at 4/s more each second, less what chance may make"


def test_a_falling_rate_is_never_told_below_itself() -> None:
    told = after([*range(80, 20, -1), *[20] * 40])
    assert all(one.coming_rps >= one.rate_rps for one in told)
    assert told[-1].rate_rps == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize(("before", "after_it"), [(30, 1), (12, 1), (30, 5), (30, 12), (100, 2)])
def test_after_a_fall_no_less_is_told_than_arrives(before: int, after_it: int) -> None:
    told = after([before] * 40 + [after_it] * 60)[40:]
    assert all(one.rate_rps >= after_it * 2 - 1e-6 for one in told), "the fall does not go on below it"
    assert told[-1].coming_rps == pytest.approx(after_it * 2, rel=0.02)


def test_chance_makes_neither_trends_nor_bursts() -> None:
    told = after(scattered(50, 2000))[100:]
    assert sum(one.coming_rps > 125 for one in told) < 0.01 * len(told)
    assert sum(one.burst_rps > 0 for one in told) < 0.1 * len(told)


def test_clumps_get_room() -> None:
    calm = after(scattered(48, 400))[-1]
    clumped = after(scattered(6, 400, lambda random: random.choice((4, 8, 12))))[-1]
    assert clumped.rate_rps == pytest.approx(calm.rate_rps, rel=0.3)
    assert clumped.burst_rps > 20 > calm.burst_rps


def test_reports_that_follow_each_other_closely_are_no_flood() -> None:
    signal = Signal()
    for _ in range(20):
        observe(signal, 10, REPORT_US, SETTINGS)
    observe(signal, 5, 1, SETTINGS)
    observe(signal, 5, REPORT_US - 1, SETTINGS)
    assert forecast([signal], SETTINGS).coming_rps == pytest.approx(20, rel=0.01)


@given(st.lists(st.integers(0, 2000), max_size=60), st.integers(1, 5_000_000))
def test_whatever_comes_the_forecast_is_finite_and_not_below_now(counts: list[int], every_us: int) -> None:
    for told in after(counts, every_us):
        assert 0 <= told.rate_rps <= told.coming_rps < 1e10
        assert 0 <= told.burst_rps < 1e10


@given(st.integers(0, 500), st.integers(0, 500))
def test_more_arrivals_are_never_told_as_less(before: int, more: int) -> None:
    steady = [before] * 10
    assert after([*steady, before + more])[-1].coming_rps >= after([*steady, before])[-1].coming_rps - 1e-6
