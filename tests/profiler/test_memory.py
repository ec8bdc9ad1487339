"""Leaks: told from memory that a model needs."""

import pytest

from fastgshare.profiler.core.memory import Memory


def after(grown_mib: list[float], batch: int = 1, began_mib: float = 100.0) -> str:
    memory = Memory()
    now_mib = began_mib
    for grown in grown_mib:
        now_mib += grown
        memory.measured(batch, now_mib, grown)
    return memory.leak()


def test_growth_in_most_points_is_a_leak_with_its_numbers() -> None:
    assert after([0, 20, 20, 0, 20, 20]) == (
        "it leaks memory: 80 MiB more over 5 points, growing in 4 of them, from 100 MiB"
    )


@pytest.mark.parametrize(
    "grown_mib",
    [
        [0, 15, 15, 15, 15],  # 60 MiB in all
        [0, 400, 0, 0, 0, 0, 0, 0],  # once
        [0, 50, 50, 50],  # too few to tell
        [0, 50, -50, 50, -50, 50, -50, 50, -50],  # up and down
        [500, 10, 10, 0],  # what the first batch took
    ],
)
def test_other_growth_is_none(grown_mib: list[float]) -> None:
    assert after(grown_mib) == ""


def test_much_for_a_small_model_is_little_for_a_large_one() -> None:
    assert after([0, 50, 50, 50, 50], began_mib=100)
    assert not after([0, 50, 50, 50, 50], began_mib=1_000)


def test_batches_larger_than_any_before_may_take_memory() -> None:
    memory = Memory()
    for power in range(10):
        memory.measured(1 << power, 100.0 * power, 100.0)
    assert not memory.leak()


def test_memory_that_comes_and_goes_is_no_leak() -> None:
    assert after([0, *([40, -35] * 6), 40]) == ""
    assert after([0, *([9, 9, -18] * 6)]) == ""
