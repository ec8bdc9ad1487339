"""The arithmetic of the telemetry benchmark: turns, ratios, and what counts as kept."""

from collections import Counter

import pytest

from benchmarks.targets import misses
from benchmarks.telemetry.figures import ALL, MODES, OFF, SAMPLED, TARGETS, Kept, order, rates, ratio


def test_everybody_has_every_place_in_a_round_equally_often() -> None:
    places = Counter((mode, place) for number in range(9) for place, mode in enumerate(order(number)))
    assert set(places.values()) == {3}
    assert len(places) == len(MODES) ** 2


def test_a_ratio_is_taken_within_a_round_so_that_a_slower_machine_cancels_out() -> None:
    rounds = [
        {OFF: 100.0, SAMPLED: 99.0, ALL: 50.0},
        {OFF: 10.0, SAMPLED: 9.9, ALL: 5.0},
        {OFF: 50.0, SAMPLED: 10.0, ALL: 25.0},
    ]
    assert ratio(rounds, SAMPLED) == pytest.approx(0.99)
    assert ratio(rounds, ALL) == pytest.approx(0.5)
    assert rates(rounds) == {OFF: 50.0, SAMPLED: 10.0, ALL: 25.0}


def test_a_violation_is_kept_where_both_the_stream_and_the_collector_have_it() -> None:
    assert Kept(missed=4, in_stream=4, exported=3).share == 0.75
    assert Kept(missed=4, in_stream=4, exported=4).share == 1.0


def test_where_nothing_was_missed_nothing_is_shown() -> None:
    figures = {"rps_ratio_tracing_off_sampled1pct": 0.97, "violations_kept": Kept(0, 0, 0).share}
    assert misses(TARGETS, figures) == ["violations_kept 0, expected at least 1"]
