"""Devices are set free where it is calm: not by a new leader at once, not after failures, not stopped by others."""

import pytest

from fastgshare.scheduler.core.events import FunctionDefined, LeadershipWon, PlacementKnown, ReplicaReported, Ticked
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from tests.scheduler.core.test_repacking import QUICK, spread, told
from tests.scheduler.core.world import TICK_US, World, spec


@pytest.fixture
def world() -> World:
    """A leader without nodes, quick to set devices free."""
    world = World(QUICK)
    world.lead()
    return world


def devices_in_use(world: World) -> int:
    return len({placement.device for placement in world.placements.values()})


def test_what_can_never_fit_does_not_keep_devices_from_being_set_free(world: World) -> None:
    world.define(spec("giant", memory_mib=5000))
    spread(world)
    world.run_for(60)
    assert devices_in_use(world) == 1


def test_a_new_leader_waits_for_calm_before_it_moves_anybody(world: World) -> None:
    spread(world)
    world.tick()
    other = Scheduler(Settings())
    for node in world.nodes.values():
        other.step(world.now_us, node.seen())
        for status in node.held.values():
            other.step(world.now_us, ReplicaReported(status))
    for placement in world.placements.values():
        other.step(world.now_us, PlacementKnown(placement))
        other.step(world.now_us, FunctionDefined(placement.function))
    decided = list(other.step(world.now_us, LeadershipWon(20)).commands)
    for number in range(1, 2 * 59):
        now_us = world.now_us + number * TICK_US
        for node in world.nodes.values():
            decided += other.step(now_us, node.seen()).commands
        decided += other.step(now_us, Ticked()).commands
    assert told(decided) == []


def test_smaller_quotas_are_a_reason_to_try_again(world: World) -> None:
    world.add_node("a")
    world.define(spec("f", sm=100, quota=0.7))
    world.add_node("b")
    world.define(spec("g", sm=100, quota=0.7))
    world.run_for(60)
    assert devices_in_use(world) == 2
    world.define(spec("f", sm=100, quota=0.2))
    world.define(spec("g", sm=100, quota=0.2))
    world.run_for(60)
    assert devices_in_use(world) == 1


def test_a_device_that_is_calm_is_set_free_while_others_are_not() -> None:
    world = World()
    world.lead()
    spread(world)
    for number in range(12):
        world.define(spec("come", generation=number + 1, sm=25, quota=0.1, memory_mib=50))
        world.run_for(25)
        world.delete("come")
        world.run_for(25)
    assert devices_in_use(world) == 1


def test_an_exodus_ends_with_its_first_failure_and_comes_back_more_and_more_seldom(world: World) -> None:
    world.add_node("a")
    world.define(spec("h", sm=100, quota=0.4))
    world.define(spec("x", sm=100, quota=0.6))
    world.add_node("b")
    for name, quota in (("f", 0.3), ("g", 0.2), ("i", 0.1)):
        world.define(spec(name, sm=50, quota=quota))
    world.run_for(1)
    world.delete("x")
    world.broken["f", 1] = True
    world.run_for(300)
    assert {p.node for p in world.placements.values() if p.function.name != "h"} == {"b"}
    tries = [line for line in told(world.commands) if "takes over from" in line]
    assert 1 <= len(tries) <= 4
    del world.broken["f", 1]
    world.run_for(600)
    assert devices_in_use(world) == 1
