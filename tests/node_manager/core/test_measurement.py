"""A measurement in virtual time: it ends when enough is known, says how well, and doubts itself where it should."""

import random
from statistics import fmean

import pytest

from fastgshare.node_manager.core.measurement import Finished, Measurement, WaitUntil
from fastgshare.shared.messages import MeasureRequest
from fastgshare.shared.messages.profile import MAX_RUNS
from fastgshare.shared.units import US_PER_S
from tests.node_manager.core.plays import Bursts, Played, Smooth, steady

SEEDS = 200


def asked(
    batch: int = 1,
    budget_ms: int = 1_000,
    max_runs: int = MAX_RUNS,
    quota: float = 0.0,
    open_ms: int = 0,
    load: float = 0.8,
    seed: int = 7,
    slowest_ms: int = 0,
    warmup_runs: int = 2,
    min_runs: int = 5,
    precision: float = 0.02,
) -> MeasureRequest:
    return MeasureRequest(
        batch=batch,
        warmup_runs=warmup_runs,
        min_runs=min_runs,
        precision=precision,
        budget_ms=budget_ms,
        max_runs=max_runs,
        quota=quota,
        open_ms=open_ms,
        load=load,
        seed=seed,
        slowest_ms=slowest_ms,
    )


# Closed loop


def test_a_steady_model_is_known_exactly_within_a_tenth_of_a_second_or_so() -> None:
    played = Played(steady(1_000))
    measured = played.play(asked(batch=8))
    assert measured.throughput_rps == pytest.approx(8_000)
    assert measured.throughput_error <= 0.001
    assert (measured.settled, measured.note, measured.latency_us) == (True, "", ())
    assert set(measured.execute_us) == {1_000}
    assert played.now_us < 150_000


def test_warm_up_ends_when_times_are_steady_and_none_of_it_counts() -> None:
    def warming(_rows: int, now_us: int) -> float:
        return 1_000 + max(0, 9_000 - now_us // 10)  # 10 ms at first, 1 ms after a tenth of a second

    measured = Played(warming).play(asked())
    assert measured.throughput_rps == pytest.approx(1_000, rel=0.02)
    assert measured.settled
    assert measured.warmup_runs > 20


def test_a_warm_up_can_be_told_to_last_and_costs_the_budget_nothing() -> None:
    """Steady from the start, and faster later: who looks too early measures that."""
    played = Played(lambda _rows, now_us: 2_000 if now_us < 500_000 else 1_000, least_warmup_us=600_000)
    measured = played.play(asked(budget_ms=1_000, precision=0.0))
    assert measured.throughput_rps == pytest.approx(1_000)
    assert measured.settled
    assert 1_590_000 <= played.now_us <= 1_610_000


def test_a_cold_first_run_costs_no_more_than_a_few_others() -> None:
    played = Played(lambda _rows, now_us: 300_000 if now_us < 2_000 else 1_000)
    measured = played.play(asked())
    assert measured.throughput_rps == pytest.approx(1_000)
    assert measured.settled
    assert measured.warmup_runs < 40


def test_times_that_never_get_steady_are_measured_and_doubted() -> None:
    played = Played(lambda _rows, now_us: 1_000 + now_us / 20)
    measured = played.play(asked(budget_ms=400))
    assert not measured.settled
    assert "its times were not steady after" in measured.note
    assert "the times of the second half were" in measured.note
    assert "longer" in measured.note
    assert played.now_us < 450_000


def test_times_that_drift_after_the_warm_up_are_doubted_in_numbers() -> None:
    generator = random.Random(1)

    def drifting(_rows: int, now_us: int) -> float:
        return generator.gauss(10_000, 300) * (1.0 if now_us < 600_000 else 1.5)

    measured = Played(drifting).play(asked(budget_ms=1_200, precision=0.0))
    assert not measured.settled
    assert "the times of the second half were" in measured.note


def test_bimodal_times_are_settled_once_their_mean_is_known() -> None:
    generator = random.Random(3)
    measured = Played(lambda _rows, _now_us: generator.choice((500, 1_500))).play(asked(budget_ms=4_000))
    assert measured.settled
    assert abs(measured.throughput_rps - 1_000) <= 1_000 * 2 * measured.throughput_error
    assert measured.throughput_error <= 0.02


def test_a_slow_model_is_told_by_the_fewest_runs_and_with_how_little_that_is() -> None:
    generator = random.Random(5)
    played = Played(lambda _rows, _now_us: generator.gauss(400_000, 80_000))
    measured = played.play(asked(budget_ms=500))
    assert len(measured.execute_us) == 5
    assert not measured.settled
    assert "5 runs in the budget: they tell it within" in measured.note
    assert 0.05 < measured.throughput_error < 1


@pytest.mark.parametrize("cold_ms", [0, 20_000])
def test_a_batch_that_is_too_slow_ends_it_and_is_what_is_known(cold_ms: int) -> None:
    played = Played(lambda _rows, now_us: 12_300_000 + (cold_ms * 1_000 if now_us < 2_000 else 0))
    measured = played.play(asked(slowest_ms=10_000, open_ms=1_000))
    assert len(played.rows) == 2  # the first run of all may be slow
    assert measured.note == "one batch took 12.3 s, longer than 10 s"
    assert not measured.settled
    assert measured.execute_us == (12_300_000,)
    assert measured.throughput_rps == pytest.approx(1 / 12.3)
    assert measured.throughput_error == 1


def test_waiting_for_the_slice_makes_no_batch_slow() -> None:
    measurement = Measurement(asked(slowest_ms=100, max_runs=5, budget_ms=100_000), lambda rate: 1 / rate)
    now_us = 0
    while not isinstance(step := measurement.next(now_us), Finished):
        measurement.ran(now_us, now_us + 1_000_000, 50_000)
        now_us += 1_000_000
    assert set(step.result.execute_us) == {50_000}
    assert "longer than" not in step.result.note


def test_a_batch_of_the_open_loop_that_is_too_slow_is_told_among_the_times() -> None:
    measurement = Measurement(asked(slowest_ms=100, open_ms=1_000), lambda rate: 1 / rate)
    now_us = 0
    while not isinstance(step := measurement.next(now_us), Finished):
        if isinstance(step, WaitUntil):
            now_us = step.at_us
            continue
        took_us = 500_000 if measurement.is_open else 1_000
        measurement.ran(now_us, now_us + took_us, took_us)
        now_us += took_us
    assert step.result.execute_us[-1] == max(step.result.execute_us) == 500_000
    assert step.result.note == "one batch took 0.5 s, longer than 0.1 s"
    assert step.result.throughput_rps == pytest.approx(1_000)


def test_a_cold_first_run_alone_is_not_too_slow() -> None:
    measured = Played(lambda _rows, now_us: 2_000_000 if now_us < 2_000 else 10_000).play(asked(slowest_ms=1_000))
    assert measured.throughput_rps == pytest.approx(100)
    assert measured.settled


def test_runs_and_budget_bound_it() -> None:
    generator = random.Random(5)
    played = Played(lambda _rows, _now_us: generator.expovariate(1 / 1_000))
    assert len(played.play(asked(max_runs=50)).execute_us) == 50
    noisy = Played(lambda _rows, _now_us: generator.expovariate(1 / 5_000))
    assert not noisy.play(asked(budget_ms=300)).settled
    assert noisy.now_us < 350_000


def test_without_a_warm_up_the_first_run_counts() -> None:
    measured = Played(steady(1_000)).play(asked(warmup_runs=0, min_runs=1, max_runs=1))
    assert measured.execute_us == (1_000,)
    assert measured.throughput_rps == pytest.approx(1_000)


# Paced tokens


@pytest.mark.parametrize("quota", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("each_us", [500, 4_000, 12_000])
def test_waiting_for_tokens_counts_and_the_quota_shows(quota: float, each_us: int) -> None:
    played = Played(steady(each_us), Smooth(quota))
    measured = played.play(asked(quota=quota))
    assert measured.throughput_rps == pytest.approx(quota * US_PER_S / each_us, rel=0.01)
    assert measured.settled
    assert played.now_us > 600_000  # several windows


@pytest.mark.parametrize("quota", [0.2, 0.5])
def test_bursts_within_windows_are_no_noise(quota: float) -> None:
    played = Played(steady(1_000), Bursts(quota))
    measured = played.play(asked(quota=quota))
    assert measured.throughput_rps == pytest.approx(quota * 1_000, rel=0.01)
    assert measured.throughput_error < 0.02
    assert measured.settled


# How well it is known


@pytest.mark.parametrize(("noise", "each_us"), [(0.02, 2_000), (0.1, 5_000), (0.3, 1_000)])
@pytest.mark.parametrize("quota", [1.0, 0.4])
def test_the_true_throughput_lies_within_the_interval_nearly_as_often_as_it_says(
    noise: float, each_us: int, quota: float
) -> None:
    true_rps = quota * US_PER_S / each_us
    hits = 0
    for seed in range(SEEDS):
        generator = random.Random(seed)
        played = Played(lambda _rows, _now_us, one=generator: one.gauss(1, noise) * each_us, Smooth(quota))  # type: ignore[misc]
        measured = played.play(asked(quota=quota, seed=seed))
        hits += abs(measured.throughput_rps - true_rps) <= measured.throughput_error * measured.throughput_rps
    assert hits >= 0.9 * SEEDS


def test_runs_that_resemble_their_neighbours_do_not_pretend_to_know_more() -> None:
    hits = 0
    for seed in range(SEEDS):
        generator, state = random.Random(seed), [0.0]

        def alike(_rows: int, _now_us: int, one: random.Random = generator, last: list[float] = state) -> float:
            last[0] = 0.7 * last[0] + one.gauss(0, 0.07)
            return 1_000 * (1 + last[0])

        measured = Played(alike).play(asked(seed=seed))
        hits += abs(measured.throughput_rps - 1_000) <= measured.throughput_error * measured.throughput_rps
    assert hits >= 0.88 * SEEDS


# Open loop


@pytest.mark.parametrize(("load", "within"), [(0.5, 0.03), (0.8, 0.12)])
def test_latencies_of_single_inputs_are_those_of_the_m_d_1_queue(load: float, within: float) -> None:
    """Pollaczek and Khinchine: the mean time in the system is D (1 + load / 2 (1 - load))."""
    played = Played(steady(1_000))
    measured = played.play(asked(open_ms=10_000, load=load))
    assert len(measured.latency_us) == pytest.approx(load * 10_000, rel=0.05)
    assert fmean(measured.latency_us) == pytest.approx(1_000 * (1 + load / (2 * (1 - load))), rel=within)
    assert min(measured.latency_us) >= 1_000
    assert measured.load_rps == pytest.approx(load * 1_000)
    assert measured.settled
    assert played.waits > 0


def test_the_same_seed_brings_the_same_arrivals() -> None:
    first, again, other = (Played(steady(1_000)).play(asked(open_ms=500, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.latency_us != other.latency_us


def test_a_batch_takes_what_has_arrived_and_no_more_than_it_holds() -> None:
    played = Played(lambda rows, _now_us: 5_000 + 100 * rows)
    measured = played.play(asked(batch=16, open_ms=2_000))
    closed = len(measured.execute_us) + measured.warmup_runs
    assert set(played.rows[:closed]) == {16}
    assert sum(played.rows[closed:]) == len(measured.latency_us)
    assert max(played.rows[closed:]) <= 16
    assert len(set(played.rows[closed:])) > 3


def test_arrivals_while_the_device_is_busy_count_from_when_they_came() -> None:
    measurement = Measurement(asked(batch=2, open_ms=1_000, warmup_runs=0, max_runs=5), lambda rate: 10_000.0)
    now_us = 0
    for _ in range(5):
        measurement.next(now_us)
        measurement.ran(now_us, now_us + 1_000, 1_000)
        now_us += 1_000
    measurement.next(15_000)
    measurement.ran(15_000, 40_000, 25_000)  # meanwhile others came at 25 and 35 ms
    measurement.next(40_000)
    measurement.ran(40_000, 41_000, 1_000)
    measurement.stop(41_000, "enough")
    step = measurement.next(41_000)
    assert isinstance(step, Finished)
    assert step.result.latency_us == (25_000, 16_000, 6_000)


def test_a_queue_that_only_grows_is_left_in_the_end() -> None:
    played = Played(lambda rows, now_us: 1_000 if now_us < 200_000 else 20_000)
    measured = played.play(asked(open_ms=1_000))
    assert not measured.settled
    assert "requests of the open loop were not answered in time" in measured.note
    assert played.now_us < 2_500_000
    assert measured.latency_us[-1] > 1_000_000  # as long as it was waited for


def test_nothing_arrives_where_the_load_is_nothing() -> None:
    played = Played(steady(500_000))
    measured = played.play(asked(open_ms=10))
    assert measured.latency_us == ()
    assert measured.load_rps > 0


# Others


@pytest.mark.parametrize(("share", "is_settled"), [(0.02, True), (0.2, False)])
def test_who_else_ran_is_told_and_doubted_from_a_twentieth_on(share: float, is_settled: bool) -> None:
    played = Played(steady(1_000), others_us=lambda now_us: 5_000_000 + int(share * now_us))
    measured = played.play(asked(open_ms=500))
    assert measured.disturbed == pytest.approx(share, abs=0.01)
    assert measured.settled is is_settled
    if not is_settled:
        assert measured.note == "others ran on its chunks for 20 % of the time"
