"""Reading a table: exact where it has a point, between and beyond its points as the module says."""

import itertools
import math
import random

import pytest
from msgspec.structs import replace

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState, SurfacePoint
from fastgshare.shared.tables import MAX_CELLS, UNKNOWN_ERROR, Table


def answer(sm: int, quota: float, batch: int, rps: float, device_us: int) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        throughput_error=0.02,
        device_us=device_us,
        device_p95_us=device_us + 100,
        measured=True,
        latency_p50_us=2 * device_us,
        latency_p95_us=3 * device_us,
        latency_p99_us=4 * device_us,
    )


SURFACE = tuple(
    answer(sm, quota, batch, sm * quota * 2, 100_000 * batch // sm)
    for sm in (25, 100)
    for quota in (0.25, 1.0)
    for batch in (1, 4)
)


def profile(surface: tuple[SurfacePoint, ...] = (), points: tuple[ProfilePoint, ...] = ()) -> Profile:
    return Profile(
        model_digest=Digest("d"), device_kind="k", state=ProfileState.COMPLETE, surface=surface, points=points
    )


def point(sm: int, quota: float, batch: int, rps: float = 100.0, device_us: int = 10_000) -> ProfilePoint:
    return ProfilePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        p50_us=device_us,
        p95_us=device_us + 500,
        p99_us=device_us + 900,
        device_us=device_us,
        runs=20,
    )


def read(found: Profile) -> Table:
    table = Table.of(found)
    assert table is not None
    return table


def test_a_table_without_points_is_none() -> None:
    assert Table.of(profile()) is None


def test_its_own_points_are_read_as_they_are() -> None:
    found = read(profile(SURFACE)).at(25, 1.0, 4)

    assert found.measured
    assert found.throughput_rps == pytest.approx(50)
    assert (found.device_us, found.device_p95_us, found.latency_p99_us) == (16_000, 16_100, 64_000)


def test_between_points_it_is_straight_in_logarithms() -> None:
    found = read(profile(SURFACE)).at(50, 0.5, 2)

    assert not found.measured
    assert found.throughput_rps == pytest.approx(50 * 0.5 * 2)


def test_device_times_are_linear_in_the_batch_and_know_no_quota() -> None:
    table = read(profile(SURFACE))

    assert table.at(100, 1.0, 2).device_us == 2_000
    assert table.at(100, 0.3, 2).device_us == 2_000
    assert table.at(100, 1.0, 8).device_us == 8_000


def test_beyond_its_ends_it_shrinks_in_proportion_and_never_grows() -> None:
    table = read(profile(SURFACE))
    least = table.at(25, 0.25, 1)

    assert table.at(25, 0.05, 1).throughput_rps == pytest.approx(least.throughput_rps / 5)
    assert table.at(5, 0.25, 1).throughput_rps == pytest.approx(least.throughput_rps / 5)
    assert table.at(5, 0.25, 1).device_us == 5 * least.device_us
    assert table.at(25, 0.05, 1).latency_p99_us == 5 * least.latency_p99_us
    assert table.at(100, 1.0, 64).throughput_rps == table.at(100, 1.0, 4).throughput_rps


def test_a_table_of_one_slice_answers_for_others_in_proportion_but_never_up() -> None:
    """Tables from before there were surfaces have points at one slice only."""
    table = read(profile(points=(point(50, 0.5, 1), point(50, 0.5, 4, rps=200.0, device_us=20_000))))

    assert table.at(50, 0.5, 1).measured
    assert table.at(25, 0.5, 1).throughput_rps == pytest.approx(50)
    assert table.at(50, 0.25, 1).throughput_rps == pytest.approx(50)
    assert table.at(100, 1.0, 1).throughput_rps == pytest.approx(100)
    assert table.at(50, 0.5, 4).latency_p99_us == 0


def test_points_that_are_missing_among_points_are_told_as_uncertain() -> None:
    table = read(profile(points=(point(50, 1.0, 1), point(100, 1.0, 4, rps=300.0))))
    scaled = table.at(50, 1.0, 4)

    assert not scaled.measured
    assert scaled.throughput_error == UNKNOWN_ERROR
    assert scaled.throughput_rps == pytest.approx(150)


def test_a_surface_with_holes_is_read_from_the_points() -> None:
    table = read(profile(surface=SURFACE[:-1], points=(point(50, 1.0, 1),)))

    assert table.batches == (1,)


def test_below_the_smallest_batch_a_batch_takes_as_long_for_fewer_inputs() -> None:
    table = read(profile(points=(point(50, 1.0, 8, rps=400.0, device_us=20_000),)))

    assert table.at(50, 1.0, 2).throughput_rps == pytest.approx(100)
    assert table.at(50, 1.0, 2).device_us == 20_000


def test_beyond_all_points_nothing_was_measured_and_little_is_known() -> None:
    table = read(profile(points=(point(50, 0.8, 1), point(50, 0.8, 4, rps=300.0))))

    for beyond in ((100, 0.8, 1), (50, 1.0, 1), (50, 0.8, 8), (25, 0.8, 1), (50, 0.4, 1)):
        answer = table.at(*beyond)
        assert not answer.measured
        assert answer.throughput_error == UNKNOWN_ERROR


@pytest.mark.parametrize(
    "changes",
    [{"sm_partition": 0}, {"quota": 0.0}, {"batch": 0}, {"throughput_rps": math.nan}, {"throughput_rps": math.inf}],
)
def test_what_cannot_be_a_point_is_read_as_if_it_were_not_there(changes: dict[str, float]) -> None:
    """A table that somebody else stored breaks nobody who reads it."""
    broken = replace(point(25, 1.0, 1), **changes)
    holed = (*SURFACE[:-1], replace(SURFACE[-1], **changes))

    assert Table.of(profile(points=(broken,))) is None
    assert read(profile(points=(broken, point(50, 1.0, 1)))).at(50, 1.0, 1).measured
    assert read(profile(holed, points=(point(50, 1.0, 1),))).batches == (1,)


def test_times_and_rates_of_nothing_are_no_answers() -> None:
    table = read(profile(SURFACE))

    for wrong in ((0, 1.0, 1), (50, 0.0, 1), (50, 1.0, 0), (math.nan, 1.0, 1)):
        with pytest.raises(ValueError, match="above 0"):
            table.at(*wrong)


def test_a_latency_that_was_never_measured_is_none() -> None:
    table = read(profile(tuple(replace(p, latency_p50_us=0) if p.batch == 4 else p for p in SURFACE)))

    assert table.at(50, 1.0, 1).latency_p50_us > 0
    assert table.at(50, 1.0, 2).latency_p50_us == 0


def test_the_same_question_is_answered_once() -> None:
    """A gateway asks it for each replica of a function with each version of a table."""
    table = read(profile(SURFACE))

    assert table.at(33, 0.4, 3) is table.at(33, 0.4, 3)
    assert table.at(33, 0.4, 3) == read(profile(SURFACE)).at(33, 0.4, 3)


def test_what_is_missing_among_points_is_scaled_from_the_nearest_of_its_batch_and_of_two_the_smaller() -> None:
    rng = random.Random(1)
    places = sorted({(rng.choice(SHARES), rng.choice(QUOTAS), rng.choice((1, 4))) for _ in range(30)})
    table = read(profile(points=tuple(point(*place, device_us=1000 + at) for at, place in enumerate(places))))
    for sm, quota, batch in itertools.product(SHARES, QUOTAS, (1, 4)):
        of_batch = [place for place in places if place[2] == batch]
        nearest = {_apart(place, sm, quota) for place in of_batch}
        likely = [place for place in of_batch if _apart(place, sm, quota) == min(nearest)]
        expected = {round((1000 + places.index(place)) / min(1.0, sm / place[0])) for place in likely}
        cell = table._grid[SHARES.index(sm), QUOTAS.index(quota), int(batch > 1)]
        assert cell.device_us in expected


SHARES, QUOTAS = [6, 12, 25, 50, 100], [0.125, 0.25, 0.5, 1.0]


def _apart(place: tuple[int, float, int], sm: int, quota: float) -> tuple[float, int]:
    return round(abs(math.log(place[0] / sm)) + abs(math.log(place[1] / quota)), 6), place[0]


def test_a_table_of_very_many_points_is_read_from_some_of_them() -> None:
    """They are read on the event loops of gateways; on a diagonal each adds a row, a column and a layer."""
    table = read(profile(points=tuple(point(sm, sm / 100, 10 * sm, rps=sm) for sm in range(1, 101))))

    assert len(table._grid) <= MAX_CELLS
    assert table.at(100, 1.0, 1000).measured
