"""Percentiles are values that occurred, of the rank that their definition says."""

from math import inf

import pytest

from benchmarks.ranks import nearest_rank


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (20, 1), (21, 2), (50, 3), (60, 3), (95, 5), (100, 5)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert nearest_rank([5, 1, 3, 2, 4], percent) == value


@pytest.mark.parametrize("percent", range(1, 101))
def test_of_a_hundred_values_each_percent_is_one(percent: int) -> None:
    assert nearest_rank(range(100, 0, -1), percent) == percent


def test_of_nothing_it_is_what_the_caller_says() -> None:
    assert nearest_rank([], 50) == 0
    assert nearest_rank([], 50, of_nothing=inf) == inf
