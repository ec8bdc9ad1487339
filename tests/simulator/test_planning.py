"""The fewest devices that are enough are found, none is tried twice, and where none are it is said why."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.ids import FunctionName
from fastgshare.shared.simulated import Planned, Tried
from fastgshare.simulator.core.outcome import Counts, FunctionOutcome, Outcome, Spent
from fastgshare.simulator.core.planning import fewest, judged


def needing(wanted: int, seen: list[int], most_used: int = 10**9) -> Callable[[int], Tried]:
    def trial(devices: int) -> Tried:
        seen.append(devices)
        used = min(devices, max(wanted, 1), most_used)
        is_enough = devices >= wanted and most_used >= wanted
        return Tried(devices=devices, used=used, is_enough=is_enough, device_seconds=1.0, late_share=0.0, why="slow")

    return trial


def plan(wanted: int, first: int = 1, most: int = 1000, most_used: int = 10**9) -> tuple[Planned, list[int]]:
    seen: list[int] = []
    return fewest(needing(wanted, seen, most_used), "objective", "v100", 1, most, first), seen


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_answer_is_the_fewest_and_the_number_below_was_tried(wanted: int, first: int) -> None:
    answer, seen = plan(wanted, first)
    assert answer.devices == wanted
    assert len(seen) == len(set(seen))
    assert wanted == 1 or any(one.devices == wanted - 1 and not one.is_enough for one in answer.tried)
    assert len(seen) <= 22


def test_what_was_not_used_is_not_needed() -> None:
    assert plan(wanted=3, first=500) == (plan(wanted=3, first=500)[0], [500, 3, 2])


def test_it_stops_at_the_limit() -> None:
    answer, seen = plan(wanted=50, most=40)
    assert answer.devices == 0
    assert answer.why == "40 are not enough: slow"
    assert max(seen) == 40


def test_it_stops_where_more_devices_are_not_even_used() -> None:
    answer, seen = plan(wanted=50, most_used=3)
    assert answer.devices == 0
    assert answer.why == "more devices do not help: 3 of 4 were used, and slow"
    assert seen == [1, 2, 4]


def outcome(samples: list[Counts], percentile: float = 99.0) -> Outcome:
    total = Counts(
        arrived=sum(each.arrived for each in samples),
        in_time=sum(each.in_time for each in samples),
        late=sum(each.late for each in samples),
    )
    function = FunctionOutcome(
        function=FunctionName("f"),
        slo_ms=69,
        slo_percentile=percentile,
        counts=total,
        latency_us={},
        samples=samples,
    )
    return Outcome(
        duration_us=len(samples) * 1_000_000,
        sample_us=1_000_000,
        functions=[function],
        devices=[],
        samples=[],
        rectangles=[],
        decisions=[],
        spent=Spent(),
    )


def test_a_miss_is_told_with_what_became_of_the_requests() -> None:
    tried = judged(2, outcome([Counts(10_000, 9_899, 101)]), 0)
    assert not tried.is_enough
    assert tried.why == "f answered 98.99% within 69 ms, expected 99% (1.01% late)"


@pytest.mark.parametrize(("in_time", "is_enough"), [(9_900, True), (9_899, False)])
def test_the_objective_is_a_share_of_all_requests(in_time: int, is_enough: bool) -> None:
    assert judged(1, outcome([Counts(10_000, in_time, 10_000 - in_time)]), 0).is_enough is is_enough


def test_what_came_during_the_warm_up_does_not_count() -> None:
    cold = outcome([Counts(100, 0, 100), Counts(100, 100)])
    assert not judged(1, cold, 0).is_enough
    assert judged(1, cold, 1_000_000).is_enough
    assert not judged(1, cold, 500_000).is_enough  # a sample that the warm-up ends in counts


def test_where_nothing_counts_nothing_is_enough() -> None:
    early = judged(1, outcome([Counts(100, 0, 100), Counts()]), 1_000_000)
    assert (early.is_enough, early.why) == (False, "all 100 requests of f came in the warm-up, so none counts")
    none = judged(1, outcome([Counts()]), 0)
    assert (none.is_enough, none.why) == (False, "no request came, so nothing was tried")


def test_a_function_without_requests_beside_one_with_some_has_missed_nothing() -> None:
    made = outcome([Counts(10, 10)])
    made.functions.append(outcome([Counts()]).functions[0])
    assert judged(1, made, 0).is_enough
