"""The arithmetic and the frame of `make bench-scheduler`: what is missed, what is compared, parts that break."""

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.command import EXIT_FAULT, EXIT_MISSED
from benchmarks.ranks import nearest_rank
from benchmarks.scheduler import bench
from benchmarks.scheduler.comparison import censored, counted, headline, rows
from benchmarks.scheduler.figures import (
    TARGETS,
    Answered,
    both,
    gap,
    growth,
    kept_objective,
    mean_gap,
    missed,
    percentile_us,
    unmeasured,
    worst_gap,
)
from benchmarks.scheduler.parts import PARTS, Say
from benchmarks.scheduler.sender import Due, Report, Sent, one
from benchmarks.scheduler.traces import GAP_US, Level, levels, poisson
from fastgshare.client import RequestRefused, Result
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import Timing
from fastgshare.simulator.core.histogram import Histogram

COSTS = {"time_sharing": 400.0, "paper": 250.0, "objective": 200.0}


def answered(in_time: int, p99_us: int, censored: bool = False) -> Answered:
    return Answered(
        arrived=100,
        in_time=in_time,
        refused=100 - in_time,
        late=0,
        failed=0,
        p50_us=10,
        p99_us=p99_us,
        seconds=2.0,
        censored=censored,
    )


def good() -> dict[str, object]:
    return {key: target.bound for key, target in TARGETS.items()} | {
        "device_seconds_e": COSTS,
        "kept_objective_e": list(COSTS),
    }


def test_every_target_is_looked_at() -> None:
    assert missed(good()) == []
    bad = {key: target.bound + (1 if target.relation == "at most" else -1) for key, target in TARGETS.items()}
    assert len(missed(bad)) == len(TARGETS)


@pytest.mark.parametrize("rival", ["time_sharing", "paper"])
def test_no_rival_may_need_fewer_devices_than_ours(rival: str) -> None:
    (line,) = missed(good() | {"device_seconds_e": COSTS | {rival: 199.0}})
    assert line == f"device_seconds_e 200, expected at most {rival}'s 199"
    assert missed(good() | {"device_seconds_e": COSTS | {rival: 200.0}}) == []


def test_a_policy_that_misses_the_objective_is_no_rival() -> None:
    kept = kept_objective({"time_sharing": 0.004, "paper": 0.024, "objective": 0.01})

    assert kept == ["time_sharing", "objective"]
    cheaper = {"device_seconds_e": COSTS | {"paper": 100.0}, "kept_objective_e": kept}
    assert missed(good() | cheaper) == []


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


@pytest.mark.parametrize(("percent", "value"), [(20, 1), (40, 2), (50, 3), (60, 3), (99, 5)])
def test_percentiles_are_values_that_occurred(percent: int, value: int) -> None:
    assert nearest_rank([5, 1, 3, 2, 4], percent) == value
    assert percentile_us(histogram(5, 1, 3, 2, 4), 5, percent) == value


def test_percentiles_of_nothing_are_zero() -> None:
    assert nearest_rank([], 99) == percentile_us(histogram(), 0, 99) == 0


@given(latencies=st.lists(st.integers(0, 250), max_size=60), unanswered=st.integers(0, 60), percent=st.integers(1, 99))
def test_who_had_no_answer_waited_for_ever(latencies: list[int], unanswered: int, percent: int) -> None:
    slow = nearest_rank([*latencies, *[inf] * unanswered], percent)

    assert percentile_us(histogram(*latencies), len(latencies) + unanswered, percent) == (None if slow == inf else slow)


def histogram(*latencies_us: int) -> Histogram:
    found = Histogram()
    for latency_us in latencies_us:
        found.add(latency_us)
    return found


def test_a_percentile_that_nobody_reached_is_compared_only_where_the_other_side_has_one() -> None:
    cut, known = answered(90, 500_000, censored=True), answered(90, 400_000)

    assert gap(cut, cut).p99 is None
    assert gap(cut, known).p99 == pytest.approx(0.25)
    assert both(cut, known).censored
    assert mean_gap([gap(cut, cut), gap(cut, known)]).p99 == 0.25
    assert mean_gap([gap(cut, cut)]).p99 is None


def test_a_trace_is_the_same_for_one_seed_and_has_about_the_rate_asked_for() -> None:
    first, second = (levels({0.5: 9, 1.0: 7}, 100.0, 20.0, {"a": 0.75, "b": 0.25}, seed=3) for _ in range(2))

    assert first == second
    assert [level.patience_us for level in first] == [9, 7]
    assert len(first[1].arrivals_us["a"]) == pytest.approx(1500, rel=0.1)
    assert len(first[0].arrivals_us["b"]) == pytest.approx(250, rel=0.2)
    assert list(first[0].arrivals_us["a"]) == sorted(first[0].arrivals_us["a"])
    assert poisson(5.0, 1.0, "x") != poisson(5.0, 1.0, "y")


def test_a_part_that_breaks_is_told_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(quick: bool, say: Say) -> dict[str, object]:
        raise ValueError("no such scenario")

    def places(quick: bool, say: Say) -> dict[str, object]:
        return {"orders_placed": 420 if quick else 0}

    result = bench.measure({"breaks": breaks, "packing": places}, quick=True)
    assert result.broken == {"breaks": "ValueError: no such scenario"}
    assert result.figures == {"orders_placed": 420}
    assert bench.publish(result, 1.0, check=True) == EXIT_FAULT
    document = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert document["orders_placed"] == 420
    assert document["missed"] == []
    assert "late_share_e" in document["not_measured"]


def test_a_missed_target_is_an_exit_status_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.Result(figures={"orders_placed": 419})
    assert bench.publish(result, 1.0, check=False) == 0
    assert bench.publish(result, 1.0, check=True) == EXIT_MISSED
    assert "missed: orders_placed 419, expected at least 420" in capsys.readouterr().out


def test_a_report_is_counted_by_level_and_function_and_refusals_have_no_latency() -> None:
    trace = [Level(0.5, 1.0, 200, {"a": (0,), "b": (500,)}), Level(1.0, 1.0, 200, {"a": (0, 10), "b": (20,)})]
    second_us = 1_000_000 + GAP_US
    sent = [
        Sent(0, "a", "answered", 0, 80),
        Sent(500, "b", "answered", 0, 120),
        Sent(second_us, "a", "refused", 0, 5),
        Sent(second_us + 10, "a", "failed", 0, 5),
        Sent(second_us + 20, "b", "answered", 0, 210),
    ]

    calm, busy = counted(Report([], sent), trace, objective_us=100)

    assert (calm["a"].in_time, calm["a"].late, calm["a"].p99_us) == (1, 0, 80)
    assert (calm["b"].in_time, calm["b"].late, calm["b"].p99_us) == (0, 1, 120)
    assert (busy["a"].arrived, busy["a"].refused, busy["a"].failed, busy["a"].p99_us) == (2, 1, 1, 200)
    assert (calm["a"].censored, busy["a"].censored) == (False, True)
    assert (busy["b"].arrived, busy["b"].late, busy["b"].failed, busy["b"].censored) == (1, 0, 1, True)


def test_simulated_is_held_against_the_mean_of_two_real_runs_which_are_held_against_each_other() -> None:
    trace = [Level(0.5, 2.0, 9_000, {"a": ()})]

    found = rows(trace, [{"a": answered(99, 1_320)}], [[{"a": answered(90, 1_000)}], [{"a": answered(90, 1_200)}]])
    published = headline(found)
    cut = answered(90, 9_000, censored=True)
    overloaded = rows(trace, [{"a": cut}], [[{"a": cut}], [{"a": cut}]])

    assert published["fidelity_error_goodput"] == 0.1
    assert published["fidelity_error_p99"] == 0.2
    assert published["real_repeat_goodput"] == 0
    assert published["real_repeat_p99"] == pytest.approx(0.1667, abs=1e-3)
    assert headline([*found, *overloaded])["fidelity_error_p99"] == 0.2
    assert "fidelity_error_p99" not in headline(overloaded)
    assert censored([*found, *overloaded]) == ["0.5 a"]


class Answering:
    """Stands in for a client: notes how long callers said they would wait."""

    def __init__(self, refusal: ErrorBody | None = None) -> None:
        self.refusal = refusal
        self.timeouts_s: list[float] = []

    async def invoke(self, function: str, inputs: object, *, timeout_s: float) -> Result:
        self.timeouts_s.append(timeout_s)
        if self.refusal is not None:
            raise RequestRefused(self.refusal)
        return Result({}, None, None, Timing(execute_us=700, batch=2))


async def test_what_the_sender_is_late_by_counts_and_is_taken_off_the_deadline() -> None:
    client = Answering()

    sent = await one(client, Due(5, "a", 100_000), monotonic_us() - 60_000)

    assert (sent.what, sent.execute_us, sent.batch) == ("answered", 700, 2)
    assert sent.latency_us >= sent.lag_us >= 60_000
    assert client.timeouts_s[0] <= 0.04


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (ErrorCode.OVERLOADED, "refused"),
        (ErrorCode.DEADLINE_EXCEEDED, "refused"),
        (ErrorCode.MODEL_FAILED, "failed"),
    ],
)
async def test_a_refusal_is_none_of_the_model_s_failures(code: ErrorCode, what: str) -> None:
    sent = await one(Answering(ErrorBody(code, "so")), Due(5, "a", 100_000), monotonic_us())

    assert (sent.what, sent.why) == (what, f"{code.value}: so")


def test_parts_are_asked_for_by_name() -> None:
    assert set(PARTS) == {"fidelity", "cold_start", "service_levels", "packing", "scale", "speed"}
    with pytest.raises(SystemExit):
        bench.main(["--only", "everything"])
