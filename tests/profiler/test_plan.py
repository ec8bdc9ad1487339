"""What is measured next: corners first, then where it is least sure; little of the whole, nothing that takes long."""

import math

import pytest

from fastgshare.profiler.core.plan import (
    BUDGET_PERCENT,
    TARGET_ERROR,
    Plan,
    Setting,
    axes_for,
    chunks_of,
    percent_of,
)
from fastgshare.shared.messages import ProfilePoint
from fastgshare.shared.units import US_PER_S

V100 = axes_for(16, 8)
NO_OBJECTIVE_US = 3_600 * US_PER_S


def device_us(setting: Setting) -> float:
    floor_us = 8_000 + 4_000 * setting.batch
    work_us = 3_000 * setting.batch * 100 / setting.sm_partition
    return float((floor_us**4 + work_us**4) ** 0.25)


def measured(setting: Setting, slowness: float = 1.0) -> ProfilePoint:
    time_us = round(slowness * device_us(setting))
    return ProfilePoint(
        sm_partition=setting.sm_partition,
        quota=setting.quota,
        batch=setting.batch,
        throughput_rps=setting.quota * setting.batch * US_PER_S / time_us,
        throughput_error=0.01,
        p50_us=time_us,
        p95_us=time_us,
        p99_us=time_us,
        device_us=time_us,
        runs=50,
    )


def follow(plan: Plan, slowness: float = 1.0) -> list[ProfilePoint]:
    """Measure what is due, one at a time, until nothing is."""
    points: list[ProfilePoint] = []
    while due := plan.survey(points).due:
        assert len(points) < 500
        points.append(measured(due[0], slowness))
    return points


def test_axes_are_the_published_grid_in_whole_chunks() -> None:
    assert V100.sm_partitions == (6, 12, 25, 50, 62, 81, 100)
    assert V100.quotas == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert V100.batches == (1, 2, 4, 8)
    assert axes_for(2, 6).sm_partitions == (50, 100)
    assert axes_for(2, 6).batches == (1, 2, 4, 6)
    assert axes_for(1, 1).sm_partitions == (100,)


@pytest.mark.parametrize("total", [1, 2, 3, 8, 16, 66])
def test_a_percentage_of_the_axes_stands_for_the_chunks_it_came_from(total: int) -> None:
    for percent in axes_for(total, 1).sm_partitions:
        assert percent_of(chunks_of(percent, total), total) == percent


def test_corners_come_first_and_the_whole_device_with_one_input_before_all() -> None:
    due = Plan(V100, NO_OBJECTIVE_US).survey(()).due

    assert due[0] == Setting(100, 1.0, 1)
    assert set(due) == {Setting(sm, quota, batch) for sm in (6, 100) for quota in (0.2, 1.0) for batch in (1, 8)}


def test_a_third_of_the_points_are_enough_to_know_the_rest() -> None:
    points = follow(Plan(V100, NO_OBJECTIVE_US))
    survey = Plan(V100, NO_OBJECTIVE_US).survey(points)

    assert len(points) <= BUDGET_PERCENT / 100 * 140
    assert survey.error <= TARGET_ERROR
    for answer in survey.surface:
        truth = measured(Setting(answer.sm_partition, answer.quota, answer.batch)).throughput_rps
        assert abs(math.log(answer.throughput_rps / truth)) < 2 * TARGET_ERROR


def test_after_the_corners_the_least_sure_point_is_next() -> None:
    plan = Plan(V100, NO_OBJECTIVE_US)
    corners = [measured(setting) for setting in plan.survey(()).due]
    survey = plan.survey(corners)
    errors = {Setting(a.sm_partition, a.quota, a.batch): a.throughput_error for a in survey.surface}

    assert errors[survey.due[0]] == max(errors.values())
    assert list(survey.due) == sorted(survey.due, key=lambda setting: -errors[setting])


def test_a_grid_measures_every_point_once() -> None:
    points = follow(Plan(axes_for(3, 2), NO_OBJECTIVE_US, is_grid=True))
    settings = [(point.sm_partition, point.quota, point.batch) for point in points]

    assert len(settings) == len(set(settings)) == 3 * 5 * 2


def test_what_is_planned_is_what_is_done_in_the_end() -> None:
    plan = Plan(V100, NO_OBJECTIVE_US)
    points = follow(plan)

    assert plan.survey(points).planned == len(points)
    assert plan.survey(points[:5]).planned >= len(points) - 5


def test_batches_that_outlast_the_objective_on_the_whole_device_leave_the_axes() -> None:
    plan = Plan(V100, objective_us=30_000)
    survey = plan.survey([measured(Setting(100, 1.0, 1)), measured(Setting(100, 1.0, 8))])

    assert survey.axes.batches == (1, 2, 4)
    assert {answer.batch for answer in survey.surface} == {1, 2, 4}
    assert Setting(6, 1.0, 4) in survey.due
    assert not {setting.batch for setting in survey.due} & {8}


def test_one_input_stays_however_strict_the_objective() -> None:
    survey = Plan(V100, objective_us=1).survey([measured(Setting(100, 1.0, 1)), measured(Setting(100, 1.0, 8))])

    assert survey.axes.batches == (1,)
    assert survey.due


def test_what_takes_too_long_is_left_to_the_error_bar() -> None:
    """Two minutes a batch on the smallest slice: the table still ends, from what can be measured."""
    points = follow(Plan(V100, NO_OBJECTIVE_US), slowness=100)

    assert points
    assert all(8 * point.device_us / point.quota <= 60 * US_PER_S for point in points[2:])


def test_a_device_of_one_chunk_and_a_model_of_one_input_need_three_points() -> None:
    assert len(follow(Plan(axes_for(1, 1), NO_OBJECTIVE_US))) <= 3
