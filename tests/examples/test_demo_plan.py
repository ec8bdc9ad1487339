"""The demo's load: what a level means, and that a seed fixes every arrival."""

import itertools
from collections import Counter

import pytest

from examples.demo.plan import PHASES, Arrival, Capacity, Cost, Phase, arrivals, full_rates, spans_us

MIX = {"big": 3.0, "small": 1.0}
APART = {
    "big": Cost(20_000, 10_000, (frozenset({"0"}),)),
    "small": Cost(1_000, 3_000, (frozenset({"1"}),)),
}
TWO_CORES, MANY_CORES = Capacity(2, 2.0), Capacity(8, 8.0)
COUNTS = {"big": 7, "small": 7}
STEADY = (Phase("steady", 1, 0.5, 0.5, MIX),)


def busy_share(rates: dict[str, float], costs: dict[str, Cost]) -> float:
    return sum(rate * costs[function].total_us / 1e6 for function, rate in rates.items())


def test_level_one_keeps_all_cores_busy_and_divides_the_time_by_the_mix() -> None:
    rates = full_rates(APART, MIX, TWO_CORES)
    assert busy_share(rates, APART) == pytest.approx(2)
    assert rates["big"] * 30_000 == pytest.approx(3 * rates["small"] * 4_000)


def test_a_core_that_all_replicas_share_fills_up_before_the_machine_does() -> None:
    together = {name: Cost(cost.device_us, cost.around_us, (frozenset({"0"}),)) for name, cost in APART.items()}
    rates = full_rates(together, MIX, MANY_CORES)
    assert sum(rate * together[name].device_us / 1e6 for name, rate in rates.items()) == pytest.approx(1)


def test_replicas_of_one_function_share_its_work_and_a_wide_one_fills_all_its_chunks() -> None:
    alone = {"big": 1.0}
    two = {"big": Cost(10_000, 0, (frozenset({"0"}), frozenset({"1"})))}
    wide = {"big": Cost(10_000, 0, (frozenset({"0", "1"}),))}
    assert full_rates(two, alone, MANY_CORES)["big"] == pytest.approx(200)
    assert full_rates(wide, alone, MANY_CORES)["big"] == pytest.approx(100)


def test_cores_that_slow_each_other_down_do_less_each_and_together() -> None:
    slowed = Capacity(2, 1.5)
    assert busy_share(full_rates(APART, MIX, slowed), APART) == pytest.approx(1.5)
    alone = {"big": Cost(10_000, 0, (frozenset({"0"}),))}
    assert full_rates(alone, {"big": 1.0}, slowed)["big"] == pytest.approx(75)


def test_phases_follow_each_other_and_fill_the_time() -> None:
    spans = spans_us(PHASES, 30.0)
    assert spans[0][0] == 0
    assert spans[-1][1] == 30_000_000
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_the_phases_call_every_function_and_go_beyond_what_can_be_done() -> None:
    assert all(phase.mix.keys() == {"filetype", "ocr", "textdir"} for phase in PHASES)
    assert max(phase.end for phase in PHASES) > 1 > PHASES[-1].end


def test_the_same_seed_makes_the_same_timetable_and_another_seed_another() -> None:
    first, again, other = (arrivals(STEADY, APART, COUNTS, TWO_CORES, 5.0, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_arrivals_come_in_order_at_the_rate_of_their_level() -> None:
    timetable = arrivals(STEADY, APART, COUNTS, TWO_CORES, seconds=200.0, seed=3)
    assert [arrival.due_us for arrival in timetable] == sorted(arrival.due_us for arrival in timetable)
    counts = Counter(arrival.function for arrival in timetable)
    for function, rate in full_rates(APART, MIX, TWO_CORES).items():
        assert counts[function] / 200 == pytest.approx(0.5 * rate, rel=0.05)


def test_a_rising_phase_rises() -> None:
    rising = (Phase("rising", 1, 0.2, 0.8, MIX),)
    timetable = arrivals(rising, APART, COUNTS, TWO_CORES, seconds=200.0, seed=3)
    early = sum(arrival.due_us < 100_000_000 for arrival in timetable)
    assert early / (len(timetable) - early) == pytest.approx(0.35 / 0.65, rel=0.1)


def test_one_request_in_five_goes_by_http_and_every_example_has_its_turn() -> None:
    timetable = arrivals(STEADY, APART, COUNTS, TWO_CORES, seconds=20.0, seed=3)
    of_big: list[Arrival] = [arrival for arrival in timetable if arrival.function == "big"]
    assert sum(arrival.over_http for arrival in of_big) == len(of_big) // 5
    assert {arrival.example for arrival in of_big[:7]} == set(range(7))
    by_http = {arrival.example for arrival in timetable if arrival.over_http}
    assert by_http == set(range(7))
