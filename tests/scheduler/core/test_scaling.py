"""How many replicas: following demand up, down, to zero and back, from profiles or from what was seen."""

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core.capacity import promised
from fastgshare.scheduler.core.commands import PlaceReplica
from fastgshare.scheduler.core.events import DemandRaised, LoadReported, ProfileGone, ProfileKnown
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared import subjects
from fastgshare.shared.ids import Digest, FunctionName, GatewayId
from fastgshare.shared.messages import Autoscale, FunctionLoad, Profile, ProfilePoint, ProfileState
from fastgshare.shared.tables import Table
from tests.scheduler.core.world import S, World, spec

F = FunctionName("f")
IDLE_S = 20


def point(batch: int, rps: float, p99_ms: float, sm: int = 25, quota: float = 0.2) -> ProfilePoint:
    p99_us = round(p99_ms * 1000)
    return ProfilePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        p50_us=p99_us // 4,
        p95_us=p99_us // 2,
        p99_us=p99_us,
        device_us=1,
        runs=5,
    )


def profile(*points: ProfilePoint, kind: str = "cpu") -> Profile:
    return Profile(model_digest=Digest("model-of-f"), device_kind=kind, state=ProfileState.COMPLETE, points=points)


def growing(*points: ProfilePoint) -> Profile:
    return replace(profile(*points), state=ProfileState.MEASURING)


def scaled(low: int, high: int) -> World:
    """A world that leads, with one function that scales; a replica takes a quarter of the chunks, 20%."""
    world = World(settings=Settings(idle_us=IDLE_S * S))
    world.add_node("a")
    world.lead()
    world.load("other")
    world.define(spec(sm=25, quota=0.2, memory_mib=50, autoscale=Autoscale(min=low, max=high)))
    world.load("f")
    world.tick()
    return world


def serve(world: World, seconds: float, rps: float, **now: int) -> None:
    """Requests arrive at this rate for so long."""
    for _ in range(int(seconds * 2)):
        world.load("f", arrived=int(rps / 2), **now)
        world.tick()


def test_a_new_function_is_brought_up_once_and_leaves_when_idle() -> None:
    world = scaled(0, 3)
    assert world.ready("f") == 1
    world.run_for(IDLE_S - 1)
    assert len(world.of("f")) == 1
    world.run_for(2)
    assert world.of("f") == []
    assert world.run_for(60) == []


def test_demand_brings_it_back() -> None:
    world = scaled(0, 3)
    world.run_for(IDLE_S + 1)
    assert world.of("f") == []
    world.tell(DemandRaised(F, GatewayId("gateway-0"), held=3))
    assert len(world.of("f")) == 1
    assert world.reports("scaled")


def test_the_minimum_stays_however_idle() -> None:
    world = scaled(2, 3)
    world.run_for(3 * IDLE_S)
    assert world.ready("f") == 2


def test_replicas_follow_the_rate_by_the_profile_with_head_room() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(1, 10, 50), point(4, 20, 80))))
    serve(world, 20, rps=60)
    assert len(world.of("f")) == 4, "60/s with a fifth of head-room over 20/s each"
    assert "20.0/s" in world.reports("scaled")[-1].text


def test_a_table_that_changes_is_acted_on_at_once() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 60, 80))))
    serve(world, 20, rps=40)
    assert len(world.of("f")) == 1
    slower = profile(point(4, 20, 80))
    placed = [c for c in world.tell(ProfileKnown(slower)) if isinstance(c, PlaceReplica)]
    assert len(placed) == 2, "40/s with a fifth of head-room over 20/s each"
    world.tick()
    assert world.tell(ProfileKnown(slower)) == []


def test_less_demand_takes_replicas_away_only_after_a_while() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 20, 80))))
    serve(world, 20, rps=60)
    serve(world, 25, rps=6)
    assert len(world.of("f")) == 4
    serve(world, 20, rps=6)
    assert len(world.of("f")) == 1


def test_a_rate_that_swings_does_not_make_the_number_swing() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 20, 80))))
    serve(world, 20, rps=60)
    before = len(world.commands)
    for _ in range(6):
        serve(world, 10, rps=20)
        serve(world, 5, rps=60)
    assert world.commands[before:] == []


def test_requests_that_wait_count_as_well_as_those_that_arrive() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 20, 80))))
    serve(world, 5, rps=10, held=60)
    assert len(world.of("f")) >= 2


def test_without_a_profile_what_replicas_were_seen_to_do_counts() -> None:
    world = scaled(1, 8)
    for step in range(1, 20):
        counts = FunctionLoad(arrived=20 * step, answered=20 * step, execute_us=200_000 * step)
        world.tell(LoadReported(GatewayId("gateway-0"), "g1", {F: counts}))
        world.tick()
    assert len(world.of("f")) == 3, "100/s of execution at 20% of the time is 20/s, for 40/s and head-room"


def test_a_table_that_still_grows_counts_where_its_error_is_small() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(growing(point(4, 20, 80))))
    serve(world, 20, rps=60)
    assert len(world.of("f")) == 4


def test_what_was_seen_counts_before_a_table_that_only_guesses_and_that_before_nothing() -> None:
    guess = growing(replace(point(4, 10, 80), throughput_error=0.4))
    world = scaled(1, 8)
    world.tell(ProfileKnown(guess))
    serve(world, 20, rps=20)
    assert len(world.of("f")) == 3, "20/s and head-room over 10/s each"
    seen = scaled(1, 8)
    seen.tell(ProfileKnown(guess))
    for step in range(1, 20):
        counts = FunctionLoad(arrived=20 * step, answered=20 * step, execute_us=200_000 * step)
        seen.tell(LoadReported(GatewayId("gateway-0"), "g1", {F: counts}))
        seen.tick()
    assert len(seen.of("f")) == 3, "40/s and head-room over the 20/s that were seen"


def test_a_table_that_is_taken_away_or_has_no_point_says_nothing() -> None:
    table = profile(point(4, 20, 80))
    for after in (
        ProfileKnown(replace(table, points=())),
        ProfileGone(subjects.profile_key(table.model_digest, table.device_kind)),
    ):
        world = scaled(1, 8)
        world.tell(ProfileKnown(table))
        world.tell(after)
        serve(world, 5, rps=60)
        assert len(world.of("f")) == 1


def test_with_nothing_known_it_grows_one_by_one_while_requests_wait() -> None:
    world = scaled(1, 8)
    serve(world, 4, rps=10, held=5)
    assert len(world.of("f")) == 1
    serve(world, 3, rps=10, held=5)
    assert len(world.of("f")) == 2
    serve(world, 30, rps=10, held=5)
    assert 4 <= len(world.of("f")) <= 8


def test_a_gateway_that_starts_over_or_falls_silent_is_no_flood_and_no_ghost() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 20, 80))))
    serve(world, 10, rps=10)
    for step in range(20):
        counts = FunctionLoad(arrived=5 * step)
        world.tell(LoadReported(GatewayId("gateway-0"), "g2", {F: counts}))
        world.tick()
    strange = FunctionLoad(arrived=1_000_000, held=0)
    world.tell(LoadReported(GatewayId("gateway-1"), "x", {F: strange}))
    world.run_for(5)
    assert len(world.of("f")) == 1


def test_the_bounds_can_be_changed_and_made_fixed() -> None:
    world = scaled(1, 8)
    world.tell(ProfileKnown(profile(point(4, 20, 80))))
    serve(world, 20, rps=60)
    world.define(spec(sm=25, quota=0.2, memory_mib=50, autoscale=Autoscale(min=1, max=2)))
    assert len(world.of("f")) == 2
    world.define(spec(sm=25, quota=0.2, memory_mib=50, replicas=3))
    assert len(world.of("f")) == 3


def test_an_idle_function_whose_update_failed_keeps_a_good_replica() -> None:
    world = scaled(0, 3)
    world.broken["f", 2] = False
    world.define(spec(sm=25, quota=0.2, memory_mib=50, generation=2, autoscale=Autoscale(min=0, max=3)))
    world.run_for(3 * IDLE_S)
    assert world.ready("f", 1) == 1


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((point(1, 10, 50), point(4, 20, 80)), 20),
        ((point(1, 10, 50), point(4, 20, 2002)), 10),
        ((point(1, 10, 50), replace(point(4, 20, 80), latency_p99_us=1_000_001)), 10),
        ((point(1, 10, 50), replace(point(4, 20, 2002), latency_p99_us=999_999)), 20),
        ((point(1, 10, 5000), point(4, 20, 9000)), 10),
        ((point(4, 20, 80), point(16, 50, 90)), 20),
        ((point(4, 20, 80, sm=50, quota=0.4),), 5),
        ((point(4, 20, 80, sm=10, quota=0.1),), 20),
        ((point(4, 20, 80, sm=50), point(4, 13, 80, sm=25)), 13),
        ((), None),
    ],
)
def test_the_best_point_that_keeps_the_objective_is_scaled_to_the_slice(
    points: tuple[ProfilePoint, ...], expected: float | None
) -> None:
    table = Table.of(profile(*points))
    promise = promised(table, spec(sm=25, quota=0.2)) if table else None
    assert (promise.rps if promise else None) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("percentile", "slo_ms", "expected"), [(50, 20, 20), (50, 19, 10), (95, 30, 20), (95, 29, 10), (99, 40, 20)]
)
def test_the_latency_is_taken_at_the_percentile_of_the_objective(
    percentile: float, slo_ms: float, expected: float
) -> None:
    latencies = {"latency_p50_us": 20_000, "latency_p95_us": 30_000, "latency_p99_us": 40_000}
    quick = {"latency_p50_us": 1_000, "latency_p95_us": 1_000, "latency_p99_us": 1_000}
    table = Table.of(profile(replace(point(1, 10, 80), **quick), replace(point(4, 20, 80), **latencies)))
    assert table is not None
    wanted = replace(spec(sm=25, quota=0.2), slo_percentile=percentile, slo_ms=slo_ms)
    promise = promised(table, wanted)
    assert promise is not None
    assert promise.rps == pytest.approx(expected)
