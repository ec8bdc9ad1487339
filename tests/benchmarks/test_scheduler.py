"""The arithmetic and the frame of `make bench-scheduler`: what is missed, what is compared, parts that break."""

import msgspec
import pytest

from benchmarks.scheduler import bench
from benchmarks.scheduler.figures import (
    TARGETS,
    Answered,
    both,
    gap,
    growth,
    mean_gap,
    missed,
    percentile_us,
    unmeasured,
    worst_gap,
)
from benchmarks.scheduler.traces import levels, poisson

COSTS = {"time_sharing": 400.0, "paper": 250.0, "objective": 200.0}


def answered(in_time: int, p99_us: int) -> Answered:
    return Answered(
        arrived=100, in_time=in_time, refused=100 - in_time, late=0, failed=0, p50_us=10, p99_us=p99_us, seconds=2.0
    )


def good() -> dict[str, object]:
    return {key: target.bound for key, target in TARGETS.items()} | {"device_seconds_e": COSTS}


def quiet(line: str) -> None:
    """For parts that need somebody to talk to."""


def test_every_target_is_looked_at() -> None:
    assert missed(good()) == []
    bad = {key: target.bound + (1 if target.relation == "at most" else -1) for key, target in TARGETS.items()}
    assert len(missed(bad)) == len(TARGETS)


@pytest.mark.parametrize("rival", ["time_sharing", "paper"])
def test_ours_has_to_cost_less_than_each_rival(rival: str) -> None:
    (line,) = missed(good() | {"device_seconds_e": COSTS | {rival: 200.0}})
    assert line == f"device_seconds_e 200, expected below {rival}'s 200"


def test_what_was_not_measured_is_told_and_misses_nothing() -> None:
    figures: dict[str, object] = {"orders_placed": 420}
    assert missed(figures) == []
    assert unmeasured(figures) == [key for key in TARGETS if key != "orders_placed"]


def test_a_figure_that_is_no_number_is_a_fault() -> None:
    with pytest.raises(TypeError, match="orders_placed is 'all', expected a number"):
        missed({"orders_placed": "all"})


def test_simulated_and_real_are_compared_relative_to_the_real() -> None:
    one, other = answered(90, 1_200), answered(100, 1_000)

    assert gap(one, other).goodput == pytest.approx(0.1)
    assert gap(one, other).p99 == pytest.approx(0.2)
    assert gap(answered(0, 0), answered(0, 0)) == gap(other, other)
    assert gap(one, answered(0, 1_000)).goodput == float("inf")


def test_errors_are_published_as_mean_and_worst() -> None:
    gaps = [gap(answered(90, 1_200), answered(100, 1_000)), gap(answered(100, 1_000), answered(100, 1_000))]

    assert (mean_gap(gaps).goodput, mean_gap(gaps).p99) == (0.05, 0.1)
    assert (worst_gap(gaps).goodput, worst_gap(gaps).p99) == (0.1, 0.2)


def test_two_real_runs_count_as_their_mean() -> None:
    assert both(answered(90, 1_200), answered(100, 1_000)) == answered(95, 1_100)


def test_growth_is_from_the_smallest_size_to_the_largest() -> None:
    assert growth({10_000: 6.0, 100: 2.0, 1_000: 9.0}) == 3.0


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 3), (99, 5)])
def test_percentiles_are_values_that_occurred(percent: float, value: int) -> None:
    assert percentile_us([5, 1, 3, 2, 4], percent) == value
    assert percentile_us([], percent) == 0


def test_a_trace_is_the_same_for_one_seed_and_has_about_the_rate_asked_for() -> None:
    first, second = (levels((0.5, 1.0), 100.0, 20.0, {"a": 0.75, "b": 0.25}, seed=3) for _ in range(2))

    assert first == second
    assert len(first[1].arrivals_us["a"]) == pytest.approx(1500, rel=0.1)
    assert len(first[0].arrivals_us["b"]) == pytest.approx(250, rel=0.2)
    assert list(first[0].arrivals_us["a"]) == sorted(first[0].arrivals_us["a"])
    assert poisson(5.0, 1.0, "x") != poisson(5.0, 1.0, "y")


def test_a_part_that_breaks_is_told_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(quick: bool, say: bench.Say) -> dict[str, object]:
        raise ValueError("no such scenario")

    def places(quick: bool, say: bench.Say) -> dict[str, object]:
        return {"orders_placed": 420 if quick else 0}

    result = bench.measure({"breaks": breaks, "packing": places}, quick=True)
    assert result.broken == {"breaks": "ValueError: no such scenario"}
    assert result.figures == {"orders_placed": 420}
    assert bench.publish(result, 1.0, check=True) == bench.EXIT_FAULT
    document = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert document["orders_placed"] == 420
    assert document["missed"] == []
    assert "late_share_e" in document["not_measured"]


def test_a_missed_target_is_an_exit_status_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.Result(figures={"orders_placed": 419})
    assert bench.publish(result, 1.0, check=False) == 0
    assert bench.publish(result, 1.0, check=True) == bench.EXIT_MISSED
    assert "missed: orders_placed 419, expected at least 420" in capsys.readouterr().out
