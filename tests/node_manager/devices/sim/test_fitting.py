"""Curves from tables: what a table tells is kept, what it does not tell is assumed as stated, nonsense is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.node_manager.devices.sim.fitting import TableUnusable, TimedPoint, curve_from_profile, fit_curve
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState

SHARES = (6.25, 12.5, 25.0, 50.0, 100.0)


def points_of(curve: SpeedCurve, shares: tuple[float, ...], batches: tuple[int, ...] = (1,)) -> list[TimedPoint]:
    return [TimedPoint(share, batch, curve.batch_us(share, batch)) for share in shares for batch in batches]


def profile(*rows: tuple[int, int, int], settled: bool = True) -> Profile:
    points = [
        ProfilePoint(
            sm_partition=share,
            quota=1.0,
            batch=batch,
            throughput_rps=1.0,
            p50_us=device_us,
            p95_us=device_us,
            p99_us=device_us,
            device_us=device_us,
            runs=10,
            settled=settled,
        )
        for share, batch, device_us in rows
    ]
    return Profile(model_digest=Digest("d" * 64), device_kind="gpu", state=ProfileState.COMPLETE, points=tuple(points))


@settings(max_examples=25, deadline=None)
@given(
    floor_us=st.integers(2_000, 100_000),
    ratio=st.floats(0.05, 0.6),
    sharpness=st.floats(1.0, 8.0),
    scaling=st.floats(0.5, 1.0),
    fixed=st.floats(0.1, 0.9),
)
def test_a_curves_own_points_give_it_back(
    floor_us: int, ratio: float, sharpness: float, scaling: float, fixed: float
) -> None:
    work_us = round(floor_us * ratio)
    curve = SpeedCurve(floor_us=floor_us, work_us=work_us, sharpness=sharpness, scaling=scaling, fixed=fixed)
    assert fit_curve(points_of(curve, SHARES, (1, 4, 16))).max_error < 0.03


def test_one_batch_keeps_the_fixed_part_it_is_given() -> None:
    curve = SpeedCurve(floor_us=20_000, work_us=5_000, sharpness=4.0)
    fit = fit_curve(points_of(curve, SHARES), fixed=0.8)
    assert fit.curve.fixed == 0.8
    assert fit.max_error < 0.01


def test_one_share_tells_what_grows_with_the_batch() -> None:
    found = curve_from_profile(profile((25, 1, 3_000), (25, 2, 4_000), (25, 4, 6_000), (25, 8, 10_000)))
    assert found.batch_us(25, 16) == pytest.approx(18_000, rel=0.01)
    assert found.batch_us(50, 4) == pytest.approx(2_000 + 2_000, rel=0.01)  # what grew is taken for work


def test_one_point_is_met_and_taken_for_half_floor_half_work() -> None:
    found = curve_from_profile(profile((50, 4, 8_000)))
    assert found.batch_us(50, 4) == pytest.approx(8_000, rel=0.001)
    assert found.batch_us(100, 4) == pytest.approx(6_000, rel=0.001)


def test_two_shares_of_one_batch_are_met() -> None:
    found = curve_from_profile(profile((25, 1, 5_000), (100, 1, 3_500)))
    assert found.batch_us(25, 1) == pytest.approx(5_000, rel=0.01)
    assert found.batch_us(100, 1) == pytest.approx(3_500, rel=0.01)


def test_times_that_fall_with_the_batch_still_make_a_curve() -> None:
    found = curve_from_profile(profile((100, 1, 5_000), (100, 2, 4_900), (100, 4, 4_800)))
    assert found.batch_us(100, 4) == found.batch_us(100, 1) == pytest.approx(4_900, rel=0.02)


def test_a_model_that_takes_a_microsecond_has_a_curve() -> None:
    assert curve_from_profile(profile((50, 1, 1))).batch_us(50, 1) >= 1


def test_a_rounded_share_is_taken_as_the_chunks_it_stands_for() -> None:
    table = profile((6, 1, 16_000), (12, 1, 8_000), (25, 1, 4_000), (50, 1, 2_000))
    assert curve_from_profile(table, chunks=16).batch_us(6.25, 1) == pytest.approx(16_000, rel=0.005)


def test_shares_of_another_devices_chunks_stand_as_they_are() -> None:
    table = profile((20, 1, 5_000), (40, 1, 2_500), (60, 1, 1_667))
    assert curve_from_profile(table, chunks=16).batch_us(20, 1) == pytest.approx(5_000, rel=0.005)


def test_points_that_did_not_settle_count_only_where_none_did() -> None:
    settled, wild = profile((50, 1, 1_000)), profile((50, 1, 9_000), settled=False)
    both = Profile(
        model_digest=settled.model_digest,
        device_kind="gpu",
        state=ProfileState.COMPLETE,
        points=(*settled.points, *wild.points),
    )
    assert curve_from_profile(both).batch_us(50, 1) == 1_000
    assert curve_from_profile(wild).batch_us(50, 1) == 9_000


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (profile(), "no points"),
        (profile((0, 1, 1_000)), "0 % of the SMs"),
        (profile((101, 1, 1_000)), "101 % of the SMs"),
        (profile((50, 0, 1_000)), "batch 0"),
        (profile((50, 1, 0)), "took 0 microseconds"),
    ],
)
def test_a_table_that_makes_no_curve_is_refused_with_the_reason(table: Profile, words: str) -> None:
    with pytest.raises(TableUnusable) as fault:
        curve_from_profile(table)
    assert words in fault.value.reason
    assert "profile of dddddddddddd on gpu" in fault.value.reason
