"""The arithmetic of the quota benchmark: shares over any ten windows, overlaps, and what counts as missed."""

import pytest

from benchmarks.quota.bench import TARGETS
from benchmarks.quota.figures import Run, overlaps, quota_error, time_between
from benchmarks.targets import misses

WINDOW_US = 100


def steady(name: str, mask: int, every_us: int, length_us: int, until_us: int, first_us: int = 0) -> list[Run]:
    return [Run(name, mask, start, start + length_us) for start in range(first_us, until_us, every_us)]


def test_time_is_counted_inside_the_interval_only() -> None:
    assert time_between([Run("a", 1, 0, 10), Run("a", 1, 20, 40)], 5, 30) == 5 + 10


def test_a_replica_that_gets_its_quota_evenly_has_no_error() -> None:
    found = quota_error(steady("a", 1, 10, 2, 10_000), "a", 0.2, 0, 10_000, WINDOW_US)
    assert (found.mean_points, found.worst_points) == (0, 0)


def test_the_worst_ten_windows_are_found_where_the_average_is_right() -> None:
    late = steady("a", 1, 10, 4, 10_000, first_us=5_000)  # nothing at first, twice as much afterwards
    found = quota_error([*late, *steady("b", 1, 10, 2, 10_000)], "a", 0.2, 0, 10_000, WINDOW_US)
    assert found.mean_points == 0
    assert abs(found.worst_points) == 20


def test_batches_overlap_where_they_share_a_chunk_at_the_same_time() -> None:
    assert overlaps([Run("a", 0b01, 0, 10), Run("b", 0b10, 5, 15), Run("c", 0b01, 10, 20)]) == 0
    assert overlaps([Run("a", 0b11, 0, 10), Run("b", 0b10, 9, 15)]) == 1


def test_a_target_is_missed_on_its_own_side_and_every_target_is_looked_at() -> None:
    fine = {key: target.bound for key, target in TARGETS.items()}
    assert misses(TARGETS, fine) == []
    bad = {key: target.bound + (1 if target.relation == "at most" else -1) for key, target in TARGETS.items()}
    assert len(misses(TARGETS, bad)) == len(TARGETS)
    with pytest.raises(KeyError):
        misses(TARGETS, {})
