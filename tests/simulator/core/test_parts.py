"""Histogram, chance, agenda and tables: each against the obvious way to do it."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.shared.ids import Digest
from fastgshare.shared.tables import Table
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.agenda import Agenda
from fastgshare.simulator.core.chance import Chance, pace_of
from fastgshare.simulator.core.histogram import Histogram
from fastgshare.simulator.core.tables import profile_of


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_a_percentile_is_within_one_percent_of_the_sorted_list(durations: list[int], percent: float) -> None:
    histogram = Histogram()
    for duration_us in durations:
        histogram.add(duration_us)

    ordered = sorted(durations)
    rank = max(int(-(-percent * len(ordered) // 100)), 1)
    assert histogram.percentile_us(percent) == pytest.approx(ordered[rank - 1], rel=0.01, abs=0.5)
    assert histogram.mean_us == round(sum(durations) / len(durations))


def test_an_empty_histogram_tells_nothing() -> None:
    assert (Histogram().percentile_us(99), Histogram().mean_us) == (0, 0)


@pytest.mark.parametrize(("mean_us", "p95_us"), [(10_000, 10_500), (10_000, 20_000), (400, 700)])
def test_batches_scatter_between_the_mean_and_the_95th_percentile(mean_us: int, p95_us: int) -> None:
    chance, pace = Chance(1), pace_of(mean_us, p95_us)

    times = sorted(pace.median_us * 2.718281828 ** (pace.sigma * chance.normal()) for _ in range(40_000))

    assert sum(times) / len(times) == pytest.approx(mean_us, rel=0.02)
    assert times[int(0.95 * len(times))] == pytest.approx(p95_us, rel=0.03)


def test_no_scatter_where_the_table_has_none() -> None:
    assert pace_of(500, 500) == pace_of(500, 400) == (500, 0.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["at", "post", "later"])), max_size=40))
def test_an_agenda_goes_by_time_then_kind_then_order(plans: list[tuple[int, str]]) -> None:
    """Everything is planned at the moment of the first element, by the kind of the second."""
    agenda = Agenda(0, post_us=5, later_us=9)
    happened: list[tuple[int, Any]] = []
    expected: list[tuple[int, int, int]] = []
    delay_us = {"post": 5, "later": 9, "at": 7}
    rank = {"post": 0, "later": 1, "at": 2}

    def act(number: int) -> None:
        happened.append((agenda.now_us, number))

    def begin(about: tuple[int, str]) -> None:
        number, kind = about
        if kind == "at":
            agenda.at(agenda.now_us + delay_us[kind], act, number)
        else:
            (agenda.post if kind == "post" else agenda.later)(act, number)

    for number, (time_us, kind) in enumerate(sorted(plans)):
        agenda.at(time_us, begin, (number, kind))
        expected.append((time_us + delay_us[kind], rank[kind], number))
    agenda.run_until(100)

    assert happened == [(time_us, number) for time_us, _, number in sorted(expected)]
    assert agenda.now_us == 100


def test_a_run_stops_where_it_is_told_and_goes_on_from_there() -> None:
    agenda = Agenda(0, 1, 1)
    happened: list[int] = []
    for time_us in (5, 10):
        agenda.at(time_us, happened.append, time_us)

    agenda.run_until(7)
    assert (happened, agenda.now_us) == ([5], 7)
    agenda.run_until(10)
    assert happened == [5, 10]


def test_a_table_of_a_curve_says_what_the_curve_says() -> None:
    curve = SpeedCurve(floor_us=10_000, work_us=2_000, sharpness=3.0)

    table = Table.of(profile_of(curve, Digest("d"), "sim", 16, batches=(1, 4, 8)))

    assert table is not None
    assert table.batches == (1, 4, 8)
    for width in (6, 12, 50, 100):
        for batch in (1, 4, 8):
            answer = table.at(width, 0.4, batch)
            assert answer.device_us == curve.batch_us(width, batch)
            assert answer.throughput_rps == pytest.approx(0.4 * batch * US_PER_S / answer.device_us)
            assert answer.device_p95_us >= answer.device_us


def test_a_table_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="chunks 0"):
        profile_of(SpeedCurve(floor_us=1, work_us=0), Digest("d"), "sim", 0)


def test_chance_below_is_even() -> None:
    chance, drawn = Chance(3), random.Random(1)
    counts = [0, 0, 0]
    for _ in range(drawn.randint(30_000, 30_000)):
        counts[chance.below(3)] += 1

    assert min(counts) > 9_500
