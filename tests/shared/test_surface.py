"""A surface has every point of its axes, keeps what was measured, is monotone, and its error bars mean something."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, ProfileState, SurfacePoint
from fastgshare.shared.surface import fit
from fastgshare.shared.tables import Table

AXES = ProfileAxes(sm_partitions=(6, 12, 25, 50, 100), quotas=(0.2, 0.6, 1.0), batches=(1, 4, 8))
CELLS = list(itertools.product(AXES.sm_partitions, AXES.quotas, AXES.batches))


def device_us(sm_percent: float, batch: int) -> float:
    """A model that stops gaining beyond a third of the device; larger batches later."""
    floor_us = 2_000 + 1_000 * batch
    work_us = 900 * batch * 100 / sm_percent
    return float((floor_us**4 + work_us**4) ** 0.25)


def measured(sm_percent: int, quota: float, batch: int, noise: float = 1.0, error: float = 0.01) -> ProfilePoint:
    time_us = device_us(sm_percent, batch)
    wait_us = round(3 * time_us / quota)
    return ProfilePoint(
        sm_partition=sm_percent,
        quota=quota,
        batch=batch,
        throughput_rps=noise * quota * batch * 1e6 / time_us,
        throughput_error=error,
        p50_us=round(time_us),
        p95_us=round(1.1 * time_us),
        p99_us=round(1.2 * time_us),
        device_us=round(time_us),
        runs=50,
        latency_p50_us=wait_us,
        latency_p95_us=2 * wait_us,
        latency_p99_us=3 * wait_us,
        requests=100,
    )


def at(surface: tuple[SurfacePoint, ...], sm: int, quota: float, batch: int) -> SurfacePoint:
    return next(p for p in surface if (p.sm_partition, p.quota, p.batch) == (sm, quota, batch))


def table(surface: tuple[SurfacePoint, ...]) -> Table:
    profile = Profile(model_digest=Digest("d"), device_kind="k", state=ProfileState.COMPLETE, surface=surface)
    read = Table.of(profile)
    assert read is not None
    return read


CORNERS = [measured(sm, quota, batch) for sm in (6, 100) for quota in (0.2, 1.0) for batch in (1, 8)]


def test_nothing_measured_says_nothing() -> None:
    assert fit([], AXES) == ()


def test_one_point_already_answers_everywhere_and_admits_how_little_it_knows() -> None:
    surface = fit([measured(100, 1.0, 1)], AXES)

    assert [(p.sm_partition, p.quota, p.batch) for p in surface] == CELLS
    assert at(surface, 100, 1.0, 1).measured
    assert at(surface, 100, 1.0, 1).throughput_error < 0.06
    assert at(surface, 6, 0.2, 8).throughput_error > 0.5


def test_what_was_measured_is_the_answer() -> None:
    surface = fit(CORNERS, AXES)

    for point in CORNERS:
        answer = at(surface, point.sm_partition, point.quota, point.batch)
        assert answer.measured
        assert answer.throughput_rps == pytest.approx(point.throughput_rps, rel=0.01)
        assert answer.device_us == pytest.approx(point.device_us, rel=0.01)
        assert answer.latency_p99_us == pytest.approx(point.latency_p99_us, rel=0.01)
    assert sum(answer.measured for answer in surface) == len(CORNERS)


def test_a_point_between_two_equal_ends_needs_no_measuring() -> None:
    """More SMs never slow a model down, so a flat curve is settled by its ends."""
    whole, half = measured(100, 1.0, 1), measured(50, 1.0, 1)
    flat = [whole, replace(half, throughput_rps=whole.throughput_rps)]
    axes = ProfileAxes(sm_partitions=(50, 60, 80, 100), quotas=(1.0,), batches=(1,))

    assert all(point.throughput_error < 0.06 for point in fit(flat, axes))


def test_points_that_did_not_settle_do_not_drag_their_neighbours() -> None:
    odd = measured(50, 1.0, 4, noise=0.4)
    unsettled = replace(odd, settled=False)
    quiet = at(fit(CORNERS, AXES), 25, 1.0, 4).throughput_rps
    disturbed = at(fit([*CORNERS, unsettled], AXES), 25, 1.0, 4)

    assert not at(fit([*CORNERS, unsettled], AXES), 50, 1.0, 4).measured
    assert abs(math.log(disturbed.throughput_rps / quiet)) < abs(math.log(0.4)) / 2


def test_a_percentile_that_was_not_measured_is_not_made_up() -> None:
    """Tables from elsewhere may have one of the three."""
    some = [replace(point, latency_p95_us=0, latency_p99_us=0) for point in CORNERS]

    for answer in fit(some, AXES):
        assert answer.latency_p50_us > 1
        assert (answer.latency_p95_us, answer.latency_p99_us) == (0, 0)


def test_latencies_of_few_requests_are_known_less_well_and_count_for_less() -> None:
    """A slow model answers a handful of requests in the time a point is given."""
    odd = measured(50, 0.6, 4)
    odd = replace(odd, latency_p99_us=3 * odd.latency_p99_us)
    believed, doubted = (fit([*CORNERS, replace(odd, requests=count)], AXES) for count in (100, 3))

    assert at(doubted, 50, 0.6, 4).latency_p99_us < 0.8 * at(believed, 50, 0.6, 4).latency_p99_us
    few = fit([replace(point, requests=3) for point in CORNERS], AXES)
    assert at(few, 50, 0.6, 4).latency_error > 1.5 * at(fit(CORNERS, AXES), 50, 0.6, 4).latency_error


def test_no_percentile_is_below_the_one_before_it() -> None:
    odd = [
        replace(point, latency_p95_us=point.latency_p50_us, latency_p99_us=point.latency_p50_us) for point in CORNERS
    ]
    odd[0] = replace(odd[0], latency_p95_us=9 * odd[0].latency_p50_us, latency_p99_us=9 * odd[0].latency_p50_us)

    for answer in fit(odd, AXES):
        assert answer.latency_p50_us <= answer.latency_p95_us <= answer.latency_p99_us


@pytest.mark.parametrize(
    "changes",
    [
        {"throughput_rps": math.nan},
        {"throughput_rps": math.inf},
        {"throughput_rps": -1.0},
        {"device_us": 0},
        {"sm_partition": 0},
        {"quota": 0.0},
        {"quota": math.nan},
        {"batch": -1},
    ],
)
def test_what_cannot_be_a_point_counts_for_nothing(changes: dict[str, float]) -> None:
    """Tables are stored by others; no single point of one may keep the rest from being read."""
    broken = replace(measured(50, 0.6, 4), **changes)

    assert fit([*CORNERS, broken], AXES) == fit(CORNERS, AXES)
    assert fit([broken], AXES) == ()


@pytest.mark.parametrize("error", [math.nan, math.inf, 1e200])
def test_a_point_whose_error_is_no_number_is_hardly_believed(error: float) -> None:
    quiet = at(fit(CORNERS, AXES), 25, 0.6, 4).throughput_rps
    beside = at(fit([*CORNERS, measured(50, 0.6, 4, noise=0.2, error=error)], AXES), 25, 0.6, 4)

    assert beside.throughput_rps == pytest.approx(quiet, rel=0.2)
    assert beside.throughput_error < 1


noises = st.floats(0.5, 2.0)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(CELLS), noises, min_size=1, max_size=20))
def test_whatever_is_measured_more_sms_and_more_quota_never_make_it_slower(
    seen: dict[tuple[int, float, int], float],
) -> None:
    surface = fit([measured(*cell, noise=noise) for cell, noise in seen.items()], AXES)
    read = table(surface)

    for batch in (1, 3, 8, 16):
        for low, high in itertools.pairwise([(4, 0.1), (6, 0.2), (9, 0.3), (25, 0.6), (70, 0.8), (100, 1.0)]):
            less, more = read.at(*low, batch), read.at(*high, batch)
            assert less.throughput_rps <= more.throughput_rps * (1 + 1e-9)
            assert less.device_us >= more.device_us - 1
            assert less.latency_p99_us >= more.latency_p99_us - 1
    assert all(math.isfinite(point.throughput_rps) and point.throughput_error >= 0 for point in surface)


def test_error_bars_hold_nine_times_out_of_ten() -> None:
    """Measured with 2 % noise, the truth lies within the bar of what was interpolated."""
    chance = random.Random(3)
    held = total = 0
    for _ in range(12):
        chosen = chance.sample(CELLS, 14)
        points = [measured(*cell, noise=math.exp(chance.gauss(0, 0.02)), error=0.04) for cell in chosen]
        for answer in fit(points, AXES):
            if not answer.measured:
                truth = measured(answer.sm_partition, answer.quota, answer.batch).throughput_rps
                total += 1
                held += abs(math.log(answer.throughput_rps / truth)) <= math.log1p(answer.throughput_error)
    assert held / total >= 0.9
