"""Replicas move for a reason: room on their own device, a place for one that fits nowhere, a device set free."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.scheduler.core import repacking
from fastgshare.scheduler.core.commands import Command, MoveReplica, PlaceReplica, RemoveReplica, Report, ResizeReplica
from fastgshare.scheduler.core.events import FunctionDefined, LeadershipLost, PlacementRefused
from fastgshare.scheduler.core.packing import books
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.rearranging import Effort
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import DeviceId, FunctionName
from fastgshare.shared.messages import Placement, Slice
from tests.scheduler.core.test_properties import assert_books_hold, replay
from tests.scheduler.core.world import S, World, spec

EIGHT = [(12, 0.4)] * 4 + [(24, 0.4)] * 2 + [(50, 0.6)] * 2
QUICK = Settings(consolidate_us=2 * S, rest_us=30 * S, transient_us=2 * S, patience_us=20 * S)


@pytest.fixture
def world() -> World:
    """A leader without nodes, quick to set devices free."""
    world = World(QUICK)
    world.lead()
    return world


def told(commands: list[Command]) -> list[str]:
    """A transcript: what was decided, where, and why."""
    lines = []
    for command in commands:
        match command:
            case PlaceReplica(placement, reason) | MoveReplica(placement, reason) | ResizeReplica(placement, reason):
                chunks = f"{placement.chunks[0]}-{placement.chunks[-1]}"
                verb = type(command).__name__.removesuffix("Replica").lower()
                lines.append(f"{verb} {placement.replica} {placement.node} {chunks}: {reason}")
            case RemoveReplica():
                lines.append(f"remove {command.replica} {command.node}: {command.reason}")
            case Report(kind, function, text):
                lines.append(f"tell {kind} {function}: {text}")
    return lines


def check_every_step(commands: list[Command], chunks: int = 16) -> None:
    """After every single command no chunk is over its time, as far as placements tell."""
    standing: dict[str, Placement] = {}
    for command in commands:
        if isinstance(command, RemoveReplica):
            standing.pop(command.replica)
        elif isinstance(command, PlaceReplica | MoveReplica | ResizeReplica):
            standing[command.placement.replica] = command.placement
        loads: dict[tuple[str, int], float] = defaultdict(float)
        for placement in standing.values():
            assert placement.chunks == tuple(range(placement.chunks[0], placement.chunks[-1] + 1))
            assert placement.chunks[-1] < chunks
            for chunk in placement.chunks:
                loads[placement.device, chunk] += placement.function.slice.quota_request
        assert all(load <= 1 + 1e-6 for load in loads.values()), command


@given(order=st.permutations(EIGHT))
@hypothesis_settings(deadline=None, max_examples=30)
def test_the_eight_replica_mix_fits_one_device_in_every_order(order: list[tuple[int, float]]) -> None:
    world = World()
    world.add_node("a", chunks=16)
    world.lead()
    for number, (percent, quota) in enumerate(order):
        world.define(spec(f"f{number}", sm=percent, quota=quota))
        world.tick()
    assert len(world.placements) == 8
    assert all(world.ready(f"f{number}") == 1 for number in range(8))
    assert world.reports("no_room") == []
    assert not any(isinstance(command, RemoveReplica) for command in world.commands)
    check_every_step(world.commands)
    assert_books_hold(world.scheduler.state)
    replay(world)


def test_windows_move_only_where_nothing_else_fits(world: World) -> None:
    world.add_node("a")
    for name in ("f", "g", "h"):
        world.define(spec(name, sm=25, quota=1.0))
    world.tick()
    world.delete("g")
    world.tick()
    assert [placement.chunks for placement in world.placements.values()] == [(0,), (2,)]
    before = len(world.commands)
    world.define(spec("wide", sm=50, quota=1.0))
    assert told(world.commands[before:]) == [
        "move f-g1-10-1 a 3-3: makes room for a replica of 'wide' on a-cpu0",
        "place wide-g1-10-4 a 0-1: replica 1 of 1: its definition asks for 1",
    ]
    world.add_node("b")
    world.define(spec("other", sm=100, quota=0.5))
    assert not any(line.startswith("move") for line in told(world.commands)[before + 2 :])
    check_every_step(world.commands, chunks=4)


def test_another_shape_is_taken_where_the_first_does_not_fit(world: World) -> None:
    world.add_node("a")
    world.define(spec("f", sm=100, quota=0.6))
    world.tick()
    state = world.scheduler.state
    plan = Plan(state, QUICK, world.now_us, 10)
    wanted = spec("g", sm=50, quota=0.8)
    assert not plan.place(state.function(FunctionName("g")), wanted, "test")
    assert isinstance(plan.commands.pop(), Report)
    others = [Slice(sm_partition=75, quota_request=0.5), replace(wanted.slice, sm_partition=100, quota_request=0.4)]
    assert plan.place(state.function(FunctionName("g")), wanted, "test", others)
    (command,) = plan.commands
    assert isinstance(command, PlaceReplica)
    assert command.placement.function.slice == others[1]
    assert command.placement.chunks == (0, 1, 2, 3)


def test_a_replica_takes_on_another_width_on_its_device(world: World) -> None:
    world.add_node("a")
    world.define(spec("f", sm=25, quota=0.5))
    world.define(spec("g", sm=25, quota=1.0))
    world.tick()
    state = world.scheduler.state
    (placed,) = state.function(FunctionName("f")).placed.values()
    (other,) = world.of("g")
    plan = Plan(state, QUICK, world.now_us, 10)
    assert plan.resize(placed, spec("f", sm=50, quota=1.0), "test")
    assert len(placed.placement.chunks) == 2
    assert not {*placed.placement.chunks} & {*other.chunks}
    assert not plan.resize(placed, spec("f", sm=100, quota=0.1), "test")
    assert placed.placement.function.slice.sm_partition == 50
    assert not plan.resize(placed, spec("f", sm=25, quota=0.1, memory_mib=2000), "test")
    assert len(plan.commands) == 1
    assert_books_hold(state)


def test_a_replica_goes_to_another_device_so_that_one_that_fits_nowhere_has_room(world: World) -> None:
    world.add_node("a", memory_mib=1000)
    world.define(spec("g", sm=100, quota=0.6, memory_mib=400))
    world.tick()
    world.add_node("b", memory_mib=500)
    before = len(world.commands)
    world.define(spec("h", sm=100, quota=0.3, memory_mib=800))
    for _ in range(6):
        assert world.ready("g") == 1
        world.tick()
    assert told(world.commands[before:]) == [
        "place g-g1-10-2 b 0-3: takes over from g-g1-10-1: 'h' needs its room on a-cpu0",
        "remove g-g1-10-1 a: g-g1-10-2 took over",
        "place h-g1-10-3 a 0-3: replica 1 of 1: its definition asks for 1",
    ]
    assert world.ready("h") == 1
    assert world.run_for(20) == []
    replay(world)


def spread(world: World) -> None:
    """Two devices in use where one would do."""
    world.add_node("a")
    world.define(spec("x", sm=100, quota=0.8))
    world.define(spec("f", sm=50, quota=0.2))
    world.define(spec("g", sm=50, quota=0.5))
    world.add_node("b")
    world.run_for(1)
    world.delete("x")


def test_a_device_is_set_free_without_a_gap_and_stays_so(world: World) -> None:
    spread(world)
    assert {p.node for p in world.of("f")} | {p.node for p in world.of("g")} == {"a", "b"}
    for _ in range(20):
        world.tick()
        assert world.ready("f") == world.ready("g") == 1
    assert len({p.device for p in world.placements.values()}) == 1
    lines = told(world.commands)
    assert any("takes over from" in line and "so that a device is free" in line for line in lines)
    assert world.run_for(90) == []
    check_every_step(world.commands, chunks=4)
    replay(world)


def understudy_of(world: World) -> Placement:
    """Wait for one to come up beside the old one."""
    for _ in range(20):
        world.tick(up_to_date=False)
        if world.scheduler.state.understudies:
            (placed,) = world.scheduler.state.understudies.values()
            return placed.placement
    raise AssertionError("no understudy came")


def test_an_understudy_that_fails_leaves_and_the_old_one_stays(world: World) -> None:
    spread(world)
    world.tick()
    understudy = understudy_of(world)
    name = understudy.function.name
    (old,) = [p for p in world.of(name) if p.replica != understudy.replica]
    world.broken[name, 1] = True
    world.run_for(10)
    assert world.of(name) == [old]
    assert world.ready(name) == 1
    assert any("it does not come up" in line for line in told(world.commands))
    replay(world)


def test_an_understudy_that_is_refused_is_forgotten(world: World) -> None:
    spread(world)
    world.tick()
    understudy = understudy_of(world)
    world.placements = {key: p for key, p in world.placements.items() if p != understudy}
    world.nodes[understudy.node].held.pop(understudy.replica, None)
    world.tell(PlacementRefused(understudy.node, understudy.replica, "another one stands there"))
    world.run_for(2)
    assert world.ready(understudy.function.name) == 1
    assert_books_hold(world.scheduler.state)


def test_an_understudy_takes_over_at_once_when_the_old_one_is_lost(world: World) -> None:
    spread(world)
    world.tick()
    understudy = understudy_of(world)
    name = understudy.function.name
    (old,) = [p for p in world.of(name) if p.replica != understudy.replica]
    world.nodes[old.node].up = False
    world.run_for(4)
    assert world.of(name) == [understudy]
    assert world.ready(name) == 1


def test_an_understudy_goes_with_its_function_and_before_a_new_generation(world: World) -> None:
    spread(world)
    world.tick()
    understudy = understudy_of(world)
    name = understudy.function.name
    world.tell(FunctionDefined(replace(understudy.function, generation=2)))
    assert understudy not in world.of(name)
    world.run_for(2)
    assert [p.function.generation for p in world.of(name)] == [2]
    world.run_for(40)
    world.delete(name)
    world.run_for(2)
    assert world.of(name) == []


def test_a_term_that_ends_leaves_no_understudy_behind(world: World) -> None:
    spread(world)
    world.tick()
    name = understudy_of(world).function.name
    world.tell(LeadershipLost())
    world.lead(11)
    world.run_for(60)
    assert len(world.of(name)) == 1
    assert world.ready(name) == 1
    assert len({p.device for p in world.placements.values()}) == 1
    replay(world)


def test_what_can_never_fit_is_told_so_and_moves_nobody(world: World) -> None:
    spread(world)
    world.run_for(60)
    before = len(world.commands)
    world.define(spec("giant", memory_mib=5000))
    world.run_for(60)
    (line,) = told(world.commands[before:])
    assert line.startswith("tell no_room giant: it can never fit: a replica needs 50% of a device, 50% of its time")
    assert "5000 MiB, and the largest device has 1000 MiB" in line
    world.define(spec("small", sm=25, quota=0.1))
    assert len(world.of("small")) == 1


def test_a_search_that_was_cut_short_decides_nothing(world: World) -> None:
    world.add_node("a")
    for name in ("f", "g", "h"):
        world.define(spec(name, sm=25, quota=1.0))
    world.tick()
    world.delete("g")
    world.tick()
    state, wide = world.scheduler.state, spec("wide", sm=50, quota=1.0)
    rooms = list(books(state).fullest_first())
    assert repacking.rearrange(state, rooms, wide, (), Effort(1)) == repacking.Search(None, (DeviceId("a-cpu0"),))
    assert repacking.rearrange(state, rooms, wide, (), Effort(4000)).found is not None


def test_where_a_search_was_cut_short_another_looks_longer_but_not_at_every_tick(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_node("a")
    for name in ("f", "g", "h"):
        world.define(spec(name, sm=25, quota=1.0))
    world.tick()
    world.delete("g")
    world.tick()
    monkeypatch.setattr(repacking, "EFFORT", 1)
    monkeypatch.setattr(repacking, "LONG_EFFORT", 2)
    world.define(spec("wide", sm=50, quota=1.0))
    assert not world.of("wide")
    monkeypatch.setattr(repacking, "LONG_EFFORT", 4000)
    world.run_for(QUICK.make_room_us / S - 1)
    assert not world.of("wide"), "one look takes a while: others have to be decided on meanwhile"
    world.run_for(2)
    assert [placement.chunks for placement in world.of("wide")] == [(0, 1)]
    check_every_step(world.commands, chunks=4)
