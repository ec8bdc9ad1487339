"""What every plan owes: whole chunks, the largest batch itself, and an end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.profiler.core.plan import Plan, axes_for
from fastgshare.profiler.core.points import point_from
from fastgshare.shared.messages import ProfilePoint
from tests.profiler.samples import times


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (33, (1, 2, 4, 8, 16, 32, 33))]
)
def test_batches_double_up_to_the_largest_itself(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert axes_for(2, max_batch).batches == sizes


def test_shares_of_the_sms_are_whole_chunks_and_end_with_all_of_them() -> None:
    assert axes_for(2, 1).sm_partitions == (50, 100)
    assert axes_for(1, 1).sm_partitions == (100,)
    assert axes_for(4, 1).quotas == (0.2, 0.4, 0.6, 0.8, 1.0)


@settings(max_examples=20, deadline=None)
@given(chunks=st.integers(1, 4), max_batch=st.integers(1, 9), is_grid=st.booleans())
def test_measuring_what_is_due_ends_with_nothing_due(chunks: int, max_batch: int, is_grid: bool) -> None:
    plan = Plan(axes_for(chunks, max_batch), 1_000_000, is_grid)
    lattice = len(plan.axes.sm_partitions) * len(plan.axes.quotas) * len(plan.axes.batches)
    points: list[ProfilePoint] = []
    survey = plan.survey(points)
    assert survey.surface == ()
    while survey.due:
        points.append(point_from(survey.due[0], times(survey.due[0])))
        survey = plan.survey(points)
        assert len(survey.surface) == lattice
    assert len({(point.sm_partition, point.quota, point.batch) for point in points}) == len(points)
    assert len(points) <= lattice
    assert not is_grid or len(points) == lattice
