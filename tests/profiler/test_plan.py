"""The walk over batch sizes: which are worth measuring, that it ends, and how long it is allowed to take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.profiler.core.plan import Plan
from fastgshare.profiler.core.points import point_from
from fastgshare.shared.messages import MeasureReply, MeasureRequest, ProfilePoint
from fastgshare.shared.units import US_PER_MS, US_PER_S

RELAXED_US = 10 * US_PER_S


def point(batch: int, batch_us: int) -> ProfilePoint:
    return point_from(batch, MeasureReply(execute_us=(batch_us,) * 5))


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(0, (1,)), (1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8)), (33, (1, 2, 4, 8, 16, 32, 33))],
)
def test_sizes_double_up_to_the_largest_itself(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert Plan(max_batch, RELAXED_US).batches() == sizes
    assert Plan(max_batch, RELAXED_US).due(()) == sizes


@given(
    max_batch=st.integers(1, 200),
    objective_us=st.integers(1, 10**6),
    batch_us=st.lists(st.integers(1, 10**6), min_size=16, max_size=16),
)
def test_measuring_what_is_due_ends_with_nothing_due(max_batch: int, objective_us: int, batch_us: list[int]) -> None:
    plan = Plan(max_batch, objective_us)
    points: list[ProfilePoint] = []
    while due := plan.due(points):
        assert set(due) <= set(plan.batches()) - {measured.batch for measured in points}
        points.append(point(due[0], batch_us[len(points)]))
    assert [measured.batch for measured in points] == list(plan.batches()[: len(points)])
    assert plan.left_ms(points, budget_ms=1_000) == 0


def test_one_size_without_gain_may_be_chance_two_in_a_row_end_the_walk() -> None:
    plan = Plan(64, RELAXED_US)
    one_stale = [point(1, 1_000), point(2, 2_000), point(4, 2_000)]
    assert plan.due(one_stale) == (8, 16, 32, 64)
    two_stale = [point(1, 1_000), point(2, 1_960), point(4, 4_000)]
    assert plan.due(two_stale) == ()


def test_growth_is_against_the_best_so_far_not_against_a_bad_neighbour() -> None:
    plan = Plan(64, RELAXED_US)
    assert plan.due([point(1, 1_000), point(2, 4_000), point(4, 4_000)]) == ()


def test_sizes_beyond_the_objective_are_left_out_but_one_input_is_always_measured() -> None:
    plan = Plan(64, objective_us=5_000)
    assert plan.due([point(1, 3_000), point(2, 3_500), point(4, 4_500)])[0] == 8
    assert plan.due([point(1, 3_000), point(2, 3_500), point(4, 5_500)]) == ()
    assert plan.due([point(1, 50_000)]) == ()


def test_a_gap_is_filled_and_what_is_measured_is_not_asked_for_again() -> None:
    assert Plan(16, RELAXED_US).due([point(1, 1_000), point(8, 3_000)]) == (2, 4, 16)


def test_time_left_is_the_budget_while_nothing_is_known_and_then_what_the_runs_will_take() -> None:
    plan = Plan(2, RELAXED_US)
    assert plan.left_ms((), budget_ms=500) == 1_000
    assert plan.left_ms([point(1, 10)], budget_ms=500) == (1_000 + 2) * 20 // 1_000, "batch 2: at most 1,000 runs"
    assert plan.left_ms([point(1, 1_000)], budget_ms=500) == (250 + 2) * 2, "what fits the budget, and warming up"
    slow = plan.left_ms([point(1, 400_000)], budget_ms=500)
    assert slow == (5 + 2) * 800, "the least number of runs, however slow"


@given(batch_us=st.integers(1, 2 * US_PER_S), batch=st.sampled_from([1, 2, 4]), objective_ms=st.integers(1, 60_000))
def test_a_worker_four_times_slower_than_expected_is_still_waited_for(
    batch_us: int, batch: int, objective_ms: int
) -> None:
    plan = Plan(8, objective_ms * US_PER_MS)
    request = MeasureRequest(batch=batch)
    timeout_ms = plan.timeout_ms([point(batch, batch_us)], request)
    owed_runs = request.warmup_runs + request.min_runs
    assert timeout_ms >= request.budget_ms + owed_runs * min(4 * batch_us // US_PER_MS, 10_000)
    assert timeout_ms <= 75_000, "and never for ever"
    assert plan.timeout_ms((), request) <= 75_000
