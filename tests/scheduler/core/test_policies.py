"""Policies on scripted loads: enough, soon, without flapping, to zero and back, and compared on experiment e's."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.scheduler.core import scheduler
from fastgshare.scheduler.core.commands import PlaceReplica, RemoveReplica, Report, ResizeReplica
from fastgshare.scheduler.core.events import DemandRaised, FunctionDefined, LeadershipWon, ProfileKnown, Ticked
from fastgshare.scheduler.core.policies import POLICIES
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared import functions
from fastgshare.shared.ids import FunctionName, GatewayId, NodeId
from fastgshare.shared.messages import Autoscale, FunctionSpec
from tests.scheduler.core.policy_world import IDLE_S, capacity_rps, cluster, decisions, wanted
from tests.scheduler.core.tables import CHUNKS, V100, curve, table
from tests.scheduler.core.world import World, spec

EXPERIMENT_E = (
    (5, 30), (15, 40), (25, 50), (35, 60), (50, 70), (65, 80), (80, 90), (95, 100), (110, 110), (125, 100), (135, 90),
    (145, 70), (165, 50), (185, 20), (200, 0),
)  # fmt: skip


def test_the_names_are_those_that_definitions_may_use() -> None:
    assert sorted(POLICIES) == sorted(functions.POLICIES)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("rps", [3, 45, 160])
def test_nothing_moves_under_a_constant_load(policy: str, rps: float) -> None:
    world = cluster(wanted(policy))
    world.serve("f", 100, rps)
    first = len(world.commands)
    world.serve("f", 200, rps)
    assert world.commands[first:] == []


@pytest.mark.parametrize("rps", [3, 45, 160, 400])
def test_capacity_within_the_objective_covers_demand(rps: float) -> None:
    world = cluster(wanted())
    world.serve("f", 10, rps)
    assert capacity_rps(world) >= rps


def test_a_step_is_answered_within_a_tick() -> None:
    world = cluster(wanted())
    world.serve("f", 60, 20)
    first = len(world.commands)
    world.serve("f", 0.5, 100)
    assert decisions(world, first)
    assert capacity_rps(world) >= 100


def test_quotas_grow_in_place_before_replicas_are_added_and_shrink_again() -> None:
    world = cluster(wanted(slo_ms=200))
    world.serve("f", 60, 5)
    (small,) = world.of("f")
    first = len(world.commands)
    world.serve("f", 5, 20)
    (large,) = world.of("f")
    assert {type(command) for command in decisions(world, first)} == {ResizeReplica}
    assert large.replica == small.replica
    assert large.function.slice.quota_request > small.function.slice.quota_request
    world.serve("f", 60, 5)
    (again,) = world.of("f")
    assert (again.replica, again.function.slice) == (small.replica, small.function.slice)


def test_a_quota_that_has_no_room_to_grow_is_answered_with_another_replica() -> None:
    world = cluster(wanted(slo_ms=200), nodes=1)
    (first,) = world.of("f")
    rest = 1 - first.function.slice.quota_request
    world.define(spec("g", sm=100, quota=rest, memory_mib=100))
    world.tick()
    assert world.ready("g") == 1
    world.add_node("n1", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.serve("f", 10, 25)
    assert {p.node for p in world.of("f")} >= {"n1"}
    assert capacity_rps(world) >= 25
    world.serve("f", 60, 25)
    commands = len(world.commands)
    world.serve("f", 60, 25)
    assert decisions(world, commands) == []


def test_less_demand_is_followed_only_after_a_while_and_by_no_more_than_it_was_lately() -> None:
    world = cluster(wanted())
    world.serve("f", 60, 100)
    before = world.devices_for("f")
    world.serve("f", 25, 10)
    assert world.devices_for("f") == before
    world.serve("f", 60, 10)
    assert world.devices_for("f") < before / 2
    assert capacity_rps(world) >= 10


def test_a_load_that_swings_is_held_at_its_height() -> None:
    world = cluster(wanted())
    world.serve("f", 60, 60)
    before = world.devices_for("f")
    first = len(world.commands)
    for _ in range(10):
        world.serve("f", 10, 20)
        world.serve("f", 10, 60)
        assert world.devices_for("f") >= before
    assert len(decisions(world, first)) <= 4, "room for bursts, that is what such swings look like"


def test_to_zero_when_idle_and_back_at_the_first_request() -> None:
    world = cluster(wanted(low=0))
    world.serve("f", 10, 30)
    world.run_for(IDLE_S + 10)
    assert world.of("f") == []
    assert world.run_for(60) == []
    world.tell(DemandRaised(FunctionName("f"), GatewayId("gateway-0"), held=2))
    assert len(world.of("f")) == 1
    world.serve("f", 5, 30)
    assert capacity_rps(world) >= 30


def test_what_waits_is_worked_off() -> None:
    calm, behind = cluster(wanted()), cluster(wanted())
    calm.serve("f", 5, 20)
    behind.serve("f", 5, 20, held=100)
    assert capacity_rps(behind) >= capacity_rps(calm) + 40, "100 that wait, within two seconds"


@pytest.mark.parametrize(("low", "high"), [(2, 5), (0, 1), (3, 3)])
def test_the_bounds_hold(low: int, high: int) -> None:
    world = cluster(wanted(low=low, high=high))
    for rps in (0, 5, 100, 500, 20):
        world.serve("f", 60, rps)
        assert max(low, 1 if rps else 0) <= len(world.of("f")) <= high


def test_at_the_bound_larger_replicas_take_over() -> None:
    world = cluster(wanted(high=1))
    world.serve("f", 20, 5)
    (small,) = world.of("f")
    world.serve("f", 20, 40)
    (large,) = world.of("f")
    assert len(large.chunks) > len(small.chunks)
    assert capacity_rps(world) >= 40
    world.serve("f", 200, 40)
    assert world.of("f") == [large]


def test_an_objective_that_cannot_be_met_is_told_once_and_not_chased() -> None:
    world = cluster(wanted(slo_ms=10))
    world.define(wanted(name="g"))
    world.tell(ProfileKnown(table(curve("resnet50"), "model-of-g")))
    world.serve("f", 60, 50)
    (told,) = world.reports("objective_infeasible")
    assert told.function == "f"
    assert "p99 within 10 ms is not to be had" in told.text
    assert "13." in told.text, "the latency to be had, in ms"
    assert len(world.of("f")) == 1
    assert world.ready("g") >= 1, "others are served as ever"
    world.define(replace(wanted(slo_ms=69), generation=2))
    world.serve("f", 5, 50)
    assert capacity_rps(world) >= 50
    assert len(world.reports("objective_infeasible")) == len(world.reports("objective_feasible")) == 1


def test_an_objective_that_cannot_be_met_is_served_by_what_fits_where_the_quickest_slice_does_not() -> None:
    world = World()
    world.add_node("a", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.lead()
    world.define(spec("g", sm=50, quota=0.5))
    function = wanted(slo_ms=10)
    world.tell(ProfileKnown(table(curve("resnet50"), function.model.digest)))
    world.define(function)
    world.serve("f", 15, 5)
    (placement,) = world.of("f")
    assert "it is all that fits" in placement.reason
    assert world.ready("f") == 1
    assert len(world.of("g")) == 1
    first = len(decisions(world))
    world.serve("f", 120, 5)
    assert len(decisions(world)) - first <= 2
    assert len(world.reports("objective_infeasible")) == 1


def test_a_function_larger_than_any_device_is_told_once_and_the_rest_is_served() -> None:
    world = cluster(wanted())
    huge = spec("huge", autoscale=Autoscale(min=1, max=3, policy="objective"), memory_mib=20_000, slo_ms=69)
    world.tell(ProfileKnown(table(curve("resnet50"), "model-of-huge")))
    world.define(huge)
    world.serve("f", 60, 50)
    (told,) = world.reports("no_room")
    assert told.function == "huge"
    assert "20000 MiB" in told.text
    assert capacity_rps(world) >= 50


def test_without_a_table_the_slice_of_the_definition_it_is_until_there_is_one() -> None:
    world = World()
    world.add_node("n0", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.lead()
    world.load("other")
    world.define(wanted())
    world.load("f")
    world.serve("f", 5, 20)
    assert {p.function.slice.sm_partition for p in world.of("f")} == {12}
    world.tell(ProfileKnown(table(curve("resnet50"), "model-of-f")))
    world.serve("f", 5, 20)
    assert capacity_rps(world) >= 20


def test_a_lost_replica_comes_back_with_the_slice_it_had() -> None:
    world = cluster(wanted())
    world.serve("f", 30, 80)
    before = sorted(repr(p.function.slice) for p in world.of("f"))
    world.nodes[NodeId(world.of("f")[0].node)].up = False
    world.serve("f", 10, 80)
    assert world.ready("f") == len(before)
    assert sorted(repr(p.function.slice) for p in world.of("f")) == before


def test_a_new_generation_is_brought_up_for_the_load_before_the_old_one_leaves() -> None:
    world = cluster(wanted())
    world.serve("f", 30, 60)
    before = len(world.of("f", 1))
    world.define(replace(wanted(), generation=2))
    assert len(world.of("f", 1)) == before
    assert world.of("f", 2)
    world.serve("f", 5, 60)
    assert world.of("f", 1) == []
    assert capacity_rps(world) >= 60


def test_much_cheaper_slices_take_over_once_they_are_ready() -> None:
    world = cluster(wanted("exclusive"))
    world.serve("f", 30, 20)
    assert world.devices_for("f") == 1
    world.define(wanted("objective"))
    lowest = 1
    for _ in range(120):
        world.serve("f", 0.5, 20)
        lowest = min(lowest, world.ready("f"))
    assert lowest == 1
    assert world.devices_for("f") < 0.3
    assert capacity_rps(world) >= 20


def test_policies_compared_on_the_rates_of_experiment_e() -> None:
    """Device-seconds promised; the paper's policy has no head-room for queueing, and late requests for it."""
    cost = {}
    for policy in ("objective", "time_sharing", "exclusive", "paper"):
        world = cluster(wanted(policy))
        cost[policy] = 0.0
        for (begin_s, rps), (end_s, _) in pairwise(EXPERIMENT_E):
            for _ in range(end_s - begin_s):
                world.serve("f", 1, rps)
                cost[policy] += world.devices_for("f")
    assert cost["objective"] < 0.3 * cost["time_sharing"]
    assert cost["objective"] < 0.3 * cost["exclusive"]
    assert cost["paper"] < cost["objective"]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([0, 2, 15, 40, 90, 200]), min_size=1, max_size=6))
def test_whatever_the_load_was_it_is_covered_soon_and_then_nothing_moves(rates: list[int]) -> None:
    world = cluster(wanted())
    for rps in rates:
        world.serve("f", 15, rps)
        assert capacity_rps(world) >= rps
    world.serve("f", 130, rates[-1])
    first = len(world.commands)
    world.serve("f", 60, rates[-1])
    assert world.commands[first:] == []


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([2, 15, 40]), st.sampled_from([50, 90, 200]))
def test_a_higher_load_never_gets_less(low: int, high: int) -> None:
    some, more = cluster(wanted()), cluster(wanted())
    some.serve("f", 20, low)
    more.serve("f", 20, high)
    assert capacity_rps(more) >= capacity_rps(some)


def test_every_decision_has_its_numbers() -> None:
    world = cluster(wanted())
    world.serve("f", 20, 50)
    for command in decisions(world):
        assert isinstance(command, PlaceReplica | ResizeReplica | RemoveReplica)
        assert "requests/s arrive" in command.reason
    assert any(isinstance(command, Report) and command.kind == "scaled" for command in world.commands)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_functions_that_are_left_alone_would_have_stayed_as_they_are(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands are those of a scheduler that plans every function at every tick."""

    def life() -> list[object]:
        world = cluster(wanted(policy, low=0))
        for rps in (30, 31, 80, 20, 0, 5, 150):
            world.serve("f", 40, rps)
        world.run_for(IDLE_S + 10)
        world.serve("f", 10, 5, held=2)
        return list(world.commands)

    spared = life()
    monkeypatch.setattr(scheduler, "is_still", lambda *_: False)
    assert life() == spared
    assert len(spared) > 5


def test_requests_and_limits_of_quotas_stay_within_the_definition_s_limit() -> None:
    limited = replace(wanted(), slice=replace(wanted().slice, quota_request=0.2, quota_limit=0.35))
    for policy in sorted(POLICIES):
        world = cluster(replace(limited, autoscale=Autoscale(min=1, max=20, policy=policy)))
        world.serve("f", 10, 40)
        held = [p.function.slice for p in world.of("f")]
        assert held
        assert all(one.quota_request <= 0.35 and one.quota_limit == 0.35 for one in held)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_demand_that_autoscale_max_does_not_allow_for_is_told_once_while_it_lasts(policy: str) -> None:
    world = cluster(wanted(policy, high=1))
    world.serve("f", 90, 2_000)
    (told,) = world.reports("max_reached")
    assert "autoscale.max is 1: so many take at most" in told.text
    assert not any("to 2 replicas" in report.text for report in world.reports("scaled"))
    world.serve("f", 120, 1)
    assert len(world.reports("max_reached")) == 1
    world.serve("f", 30, 2_000)
    assert len(world.reports("max_reached")) == 2


def on_two_devices(exclusive: FunctionSpec, memory_mib: int) -> World:
    """A function with a device to itself, which `objective` would give less."""
    world = World(Settings())
    for name in "ab":
        world.add_node(name, chunks=CHUNKS, memory_mib=memory_mib, kind=V100)
    world.lead()
    world.load("other")
    world.tell(ProfileKnown(table(curve("resnet50"), exclusive.model.digest)))
    world.define(exclusive)
    world.load("f")
    world.serve("f", 60, 20)
    return world


def test_a_move_for_which_there_is_not_room_for_all_is_not_begun_and_tried_ever_later() -> None:
    world = on_two_devices(wanted("exclusive", slo_ms=45), memory_mib=16_384)
    world.define(spec("fill", sm=84, quota=1.0, memory_mib=10))  # leaves room for one of the two that would come
    world.tick()
    first = len(world.commands)
    world.define(wanted("objective", slo_ms=45))
    world.serve("f", 900, 20)
    assert len(decisions(world, first)) <= 6
    state = world.scheduler.state.functions[FunctionName("f")]
    assert state.scale.misfits in range(5)


def test_a_move_to_better_slices_ends_no_loan() -> None:
    small = replace(wanted("exclusive", slo_ms=45), slice=replace(wanted().slice, gpu_mem_mib=500))
    world = on_two_devices(small, memory_mib=1_000)
    world.define(spec("lent", sm=10, quota=0.1, memory_mib=700, replicas=0))
    world.wish("loan-1", name="lent", kind=V100, sm=10, asked=True)
    world.define(replace(small, autoscale=Autoscale(min=1, max=20, policy="objective")))
    for _ in range(40):
        world.wish("loan-1", name="lent", kind=V100, sm=10, asked=True)
        world.serve("f", 1, 20)
        assert len(world.lent()) == 1


def test_a_step_makes_few_menus_and_all_functions_are_planned_soon() -> None:
    world = cluster(wanted(name="first"))
    others = [wanted(name=f"f{number}") for number in range(12)]
    for other in others:
        world.tell(ProfileKnown(table(curve("resnet50"), other.model.digest)))
    core, now_us = world.scheduler, world.now_us
    core.state.epoch = None
    for other in others:
        core.step(now_us, FunctionDefined(other))
    steps = [core.step(now_us, LeadershipWon(11))]
    while core.state.dirty:
        steps.append(core.step(now_us, Ticked()))
    placed = [sum(isinstance(command, PlaceReplica) for command in step.commands) for step in steps]
    assert sum(placed) == len(others)
    assert max(placed) <= world.settings.menus
