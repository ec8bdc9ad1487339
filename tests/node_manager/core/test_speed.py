"""Curves keep the order of things: more SMs, smaller batches and fewer neighbours never make a batch slower."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.core.speed import (
    MAX_US,
    Contention,
    Portion,
    SpeedCurve,
    emulated_us,
    portion,
)

shares = st.floats(min_value=0.1, max_value=100.0)
batches = st.integers(min_value=1, max_value=1024)
times = st.integers(min_value=1, max_value=60_000_000)


@st.composite
def curves(draw: st.DrawFn) -> SpeedCurve:
    return SpeedCurve(
        floor_us=draw(st.integers(0, MAX_US)),
        work_us=draw(st.integers(1, MAX_US)),
        sharpness=draw(st.floats(1.0, 16.0)),
        scaling=draw(st.floats(0.0, 1.0)),
        fixed=draw(st.floats(0.0, 1.0)),
    )


@given(curves(), shares, shares, batches)
def test_more_sms_never_take_longer(curve: SpeedCurve, one: float, other: float, batch: int) -> None:
    fewer, more = sorted((one, other))
    assert curve.batch_us(more, batch) <= curve.batch_us(fewer, batch)


@given(curves(), shares, batches, batches)
def test_a_larger_batch_never_takes_less(curve: SpeedCurve, share: float, one: int, other: int) -> None:
    smaller, larger = sorted((one, other))
    assert curve.batch_us(share, larger) >= curve.batch_us(share, smaller)


@given(curves(), shares, batches)
def test_a_batch_never_takes_longer_than_its_items_one_by_one(curve: SpeedCurve, share: float, batch: int) -> None:
    assert curve.batch_us(share, batch) <= batch * (curve.batch_us(share, 1) + 1)  # each is rounded


@given(curves(), shares, batches, st.floats(0, 100), st.integers(0, 5_000))
def test_neighbours_never_speed_anything_up(
    curve: SpeedCurve, share: float, batch: int, others: float, stretch_permille: int
) -> None:
    contention = Contention(stretch_permille=stretch_permille)
    assert emulated_us(curve, contention, Portion(share, others), batch) >= curve.batch_us(share, batch)


@given(times, st.floats(0, 100), st.floats(0, 100))
def test_busier_neighbours_never_stretch_less(alone_us: int, one: float, other: float) -> None:
    calmer, busier = sorted((one, other))
    assert Contention().stretched_us(alone_us, calmer) <= Contention().stretched_us(alone_us, busier)


def test_without_neighbours_nothing_is_stretched() -> None:
    assert Contention(stretch_permille=900).stretched_us(12_345, 0.0) == 12_345


def test_a_whole_device_of_neighbours_stretches_by_the_stated_part() -> None:
    assert Contention(stretch_permille=250).stretched_us(10_000, 100.0) == 12_500


def test_at_sharpness_one_a_batch_takes_the_floor_and_the_work() -> None:
    curve = SpeedCurve(floor_us=10_000, work_us=1_000, sharpness=1.0, fixed=0.6)
    assert curve.batch_us(100, 1) == 11_000
    assert curve.batch_us(25, 1) == 14_000
    assert curve.batch_us(25, 3) == 10_000 * 6 // 10 + 10_000 * 4 // 10 * 3 + 3 * 4_000


def test_a_sharp_curve_stands_at_its_floor_beyond_the_knee() -> None:
    curve = SpeedCurve(floor_us=20_000, work_us=5_000, sharpness=16.0)
    assert curve.batch_us(100, 1) == 20_000
    assert curve.batch_us(5, 1) == pytest.approx(100_000, rel=0.001)


def test_a_larger_batch_needs_more_sms_to_reach_its_floor() -> None:
    curve = SpeedCurve(floor_us=20_000, work_us=5_000, sharpness=16.0, fixed=0.9)
    assert curve.batch_us(50, 1) / curve.batch_us(100, 1) < 1.01
    assert curve.batch_us(50, 16) / curve.batch_us(100, 16) > 1.9


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"floor_us": -1}, "floor_us is -1, expected 0 to"),
        ({"sharpness": 0.5}, "sharpness is 0.5, expected 1.0 to 16.0"),
        ({"scaling": 1.5}, "scaling is 1.5, expected 0.0 to 1.0"),
        ({"fixed": float("nan")}, "fixed is nan"),
        ({"floor_us": 0, "work_us": 0}, "both 0"),
    ],
)
def test_parameters_that_describe_no_device_are_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SpeedCurve(**{"floor_us": 1, "work_us": 1, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "batch"), [(0.0, 1), (100.1, 1), (50.0, 0)])
def test_a_share_or_a_batch_that_cannot_be_is_refused(share: float, batch: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        SpeedCurve(floor_us=1, work_us=1).batch_us(share, batch)


def test_a_batch_alone_has_its_chunks_and_no_neighbours() -> None:
    assert portion((0, 1), [], 16) == Portion(12.5, 0.0)


def test_neighbours_on_other_chunks_take_nothing_of_a_batchs_own() -> None:
    assert portion((0, 1), [(2, 3, 4, 5), (8,)], 16) == Portion(12.5, 31.25)


def test_a_chunk_that_several_run_on_is_shared_among_them() -> None:
    assert portion((0, 1), [(1, 2)], 4) == Portion(37.5, 25.0)
    assert portion((0,), [(0,), (0,), (0,)], 1) == Portion(25.0, 0.0)


@given(st.sets(st.integers(0, 15), min_size=1), st.lists(st.sets(st.integers(0, 15), min_size=1), max_size=5))
def test_nobody_has_more_of_the_device_than_there_is(mine: set[int], others: list[set[int]]) -> None:
    held = portion(tuple(sorted(mine)), [tuple(sorted(other)) for other in others], 16)
    assert 0 < held.own_percent <= 100 * len(mine) / 16
    assert held.own_percent + held.others_percent <= 100
