"""What the profiler's plan makes of a grid that is measured already: it picks points, and is given the grid's."""

from collections.abc import Callable, Sequence

from fastgshare.profiler.core.plan import Plan, Setting, Survey
from fastgshare.profiler.core.points import setting_of
from fastgshare.shared.messages import ProfileAxes, ProfilePoint
from fastgshare.shared.units import US_PER_S

NO_OBJECTIVE_US = 3_600 * US_PER_S
"""None of a model's batches is left out for its length: the grid is to be predicted whole."""


def follow(axes: ProfileAxes, measure: Callable[[Setting], ProfilePoint]) -> tuple[list[ProfilePoint], Survey]:
    """Measure what the plan finds due until nothing is; the points and what they amount to."""
    plan = Plan(axes, NO_OBJECTIVE_US)
    points: list[ProfilePoint] = []
    while (survey := plan.survey(points)).due:
        points.append(measure(survey.due[0]))
    return points, survey


def few_of(grid: Sequence[ProfilePoint], axes: ProfileAxes) -> tuple[list[ProfilePoint], Survey]:
    """The points of `grid` that the plan would have measured, and what it would have made of them."""
    known = {setting_of(point): point for point in grid}
    return follow(axes, known.__getitem__)
