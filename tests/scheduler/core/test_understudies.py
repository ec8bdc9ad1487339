"""An understudy takes over, or is given up: it never stands for ever, whoever leads and whatever is heard late."""

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core import packing
from fastgshare.scheduler.core.commands import Command, MoveReplica, PlaceReplica, RemoveReplica
from fastgshare.scheduler.core.events import (
    FunctionDefined,
    LeadershipLost,
    LeadershipWon,
    PlacementGone,
    PlacementKnown,
    ReplicaGone,
    ReplicaReported,
    Ticked,
)
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.records import Placed
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.shared.ids import DeviceId, FunctionName, NodeId
from fastgshare.shared.messages import Autoscale, Placement, ReplicaState
from tests.scheduler.core.test_repacking import QUICK, spread, told, understudy_of
from tests.scheduler.core.world import S, World, spec


@pytest.fixture
def world() -> World:
    """A leader without nodes, quick to set devices free."""
    world = World(QUICK)
    world.lead()
    return world


def spread_scaled(world: World) -> None:
    """Two devices in use where one would do, by functions that are only planned when something asks for it."""
    bounds = Autoscale(min=1, max=1)
    world.add_node("a")
    world.define(spec("x", sm=100, quota=0.8))
    world.define(spec("f", sm=50, quota=0.2, autoscale=bounds))
    world.define(spec("g", sm=50, quota=0.5, autoscale=bounds))
    world.add_node("b")
    world.run_for(1)
    world.delete("x")


def never_reported(world: World, understudy: Placement) -> None:
    """Its node says nothing of it."""
    world.nodes[understudy.node].held.pop(understudy.replica)
    world.tell(ReplicaGone(understudy.node, understudy.replica))


@pytest.mark.parametrize("is_scaled", [False, True])
def test_an_understudy_that_is_never_reported_is_given_up(world: World, is_scaled: bool) -> None:
    (spread_scaled if is_scaled else spread)(world)
    understudy = understudy_of(world)
    never_reported(world, understudy)
    world.run_for(35)
    assert understudy not in world.of(understudy.function.name)
    assert world.ready(understudy.function.name) == 1


def test_an_understudy_of_a_scaled_function_that_fails_in_passing_is_given_up(world: World) -> None:
    spread_scaled(world)
    understudy = understudy_of(world)
    world.broken[understudy.function.name, 1] = True
    world.run_for(10)
    assert understudy not in world.of(understudy.function.name)


def test_an_understudy_that_loads_for_ever_is_given_up(world: World) -> None:
    spread(world)
    understudy = understudy_of(world)
    world.tick(QUICK.patience_us // S * 2 + 1, up_to_date=False)
    assert understudy not in world.of(understudy.function.name)
    assert world.ready(understudy.function.name) == 1


def test_who_finds_no_room_is_told_although_an_understudy_got_stuck(world: World) -> None:
    spread_scaled(world)
    understudy = understudy_of(world)
    world.broken[understudy.function.name, 1] = True
    world.define(spec("big", sm=100, quota=0.9))
    world.run_for(60)
    assert world.of("big") or world.reports("no_room")


def test_a_replica_that_moved_twice_stays_on_its_way_out_when_its_first_move_is_heard_of(world: World) -> None:
    world.add_node("a")
    world.define(spec("f", sm=25, quota=0.5))
    world.tick()
    state = world.scheduler.state
    (placed,) = state.function(FunctionName("f")).placed.values()
    world.add_node("b")
    understudy = place_understudy(world, placed)
    plan = Plan(state, QUICK, world.now_us, 10)
    plan.move(placed, (1,), "parked")
    parked = placed.placement
    plan.move(placed, (2,), "where it belongs")
    report = world._report(world.nodes[NodeId("b")], understudy, ReplicaState.READY)
    commands: list[Command] = []
    for event in (report, PlacementKnown(parked), Ticked()):
        commands += world.scheduler.step(world.now_us, event).commands
    assert [c.replica for c in commands if isinstance(c, RemoveReplica)] == [parked.replica]


def place_understudy(world: World, placed: Placed) -> Placement:
    """One comes up on b."""
    plan = Plan(world.scheduler.state, QUICK, world.now_us, 10)
    plan.place_understudy(placed, packing.Slot(NodeId("b"), DeviceId("b-cpu0"), (0,)), "test")
    (command,) = plan.commands
    assert isinstance(command, PlaceReplica)
    world.placements[f"b.{command.placement.replica}"] = command.placement
    world.tell(PlacementKnown(command.placement))
    world.tell(world._report(world.nodes[NodeId("b")], command.placement, ReplicaState.LOADING))
    return command.placement


def test_a_move_by_way_of_a_parking_place_is_not_taken_back_by_its_first_echo(world: World) -> None:
    world.add_node("a", chunks=8)
    where = {"k0": (37, 0.4, 4), "k1": (50, 0.5, 0), "k2": (37, 0.3, 3), "k3": (25, 0.4, 0)}
    for name, (percent, quota, _) in where.items():
        world.define(spec(name, sm=percent, quota=quota))
        world.tick()
    for placement in list(world.placements.values()):
        first = where[placement.function.name][2]
        moved = replace(placement, chunks=tuple(range(first, first + len(placement.chunks))))
        world.placements[f"a.{moved.replica}"] = moved
        world.tell(PlacementKnown(moved))
    world.late = True
    before = len(world.commands)
    world.define(spec("wide", sm=25, quota=1.0))
    moves = [c.placement.replica for c in world.commands[before:] if isinstance(c, MoveReplica)]
    assert len(moves) > len(set(moves)), "nobody was parked"
    world.hear(1)
    world.define(spec("late", sm=12, quota=0.3))
    world.hear()
    world.tick()
    (room,) = packing.books(world.scheduler.state).rooms.values()
    assert max(room.loads()) <= 1000
    assert {key: p.placement for key, p in world.scheduler.state.placed.items()} == world.placements


def taken_over_by(world: World, epoch: int = 20) -> Scheduler:
    """Another scheduler, which reads what stands and leads."""
    other = Scheduler(QUICK)
    for node in world.nodes.values():
        other.step(world.now_us, node.seen())
        for status in node.held.values():
            other.step(world.now_us, ReplicaReported(status))
    for placement in world.placements.values():
        other.step(world.now_us, PlacementKnown(placement))
        other.step(world.now_us, FunctionDefined(placement.function))
    world.scheduler = other
    world.tell(LeadershipWon(epoch))
    return other


def test_a_new_leader_goes_on_with_a_take_over(world: World) -> None:
    spread(world)
    understudy = understudy_of(world)
    name = understudy.function.name
    (old,) = [p for p in world.of(name) if p.replica != understudy.replica]
    before = len(world.commands)
    taken_over_by(world)
    world.tick()
    assert world.of(name) == [understudy]
    assert told(world.commands[before:])[:1] == [f"remove {old.replica} {old.node}: {understudy.replica} took over"]


def test_what_a_dead_leader_still_removes_leaves_the_understudy(world: World) -> None:
    spread(world)
    understudy = understudy_of(world)
    name = understudy.function.name
    (old,) = [p for p in world.of(name) if p.replica != understudy.replica]
    taken_over_by(world)
    del world.placements[f"{old.node}.{old.replica}"]
    world.nodes[old.node].held.pop(old.replica)
    world.tell(PlacementGone(old.node, old.replica))
    world.tell(ReplicaGone(old.node, old.replica))
    world.tick(2)
    assert world.of(name) == [understudy]
    assert world.ready(name) == 1


def test_a_term_that_ends_before_a_take_over_is_written_is_followed_by_the_same_take_over(world: World) -> None:
    spread(world)
    understudy = understudy_of(world)
    name = understudy.function.name
    (old,) = [p for p in world.of(name) if p.replica != understudy.replica]
    state = world.scheduler.state
    report = world._report(world.nodes[understudy.node], understudy, ReplicaState.READY)
    decided = world.scheduler.step(world.now_us, report).commands
    assert [c.replica for c in decided if isinstance(c, RemoveReplica)] == [old.replica]
    world.scheduler.step(world.now_us, LeadershipLost())  # and nothing of that was written
    assert list(state.understudies) == [f"{understudy.node}.{understudy.replica}"]
    world.lead(11)
    world.tick()
    assert world.of(name) == [understudy]
