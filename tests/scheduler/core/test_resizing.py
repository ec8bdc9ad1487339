"""Quotas change while replicas serve: in place where there is time left, elsewhere where there is not."""

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core.commands import ResizeReplica
from fastgshare.scheduler.core.events import FunctionDefined, LeadershipLost
from fastgshare.scheduler.core.plan import Plan
from fastgshare.shared.messages import Autoscale
from tests.scheduler.core.world import World, spec


@pytest.fixture
def world() -> World:
    """A leader and one node of four chunks and 1000 MiB."""
    world = World()
    world.add_node("a")
    world.lead()
    return world


def test_a_quota_changes_in_place(world: World) -> None:
    world.define(spec(replicas=2, quota=0.3))
    world.tick()
    before = {placement.replica: placement.chunks for placement in world.of("f")}
    commands = world.tell(FunctionDefined(spec(replicas=2, quota=0.5)))
    assert [type(command) for command in commands] == [ResizeReplica, ResizeReplica]
    assert all(isinstance(command, ResizeReplica) and "0.3 to 0.5" in command.reason for command in commands)
    assert {placement.replica: placement.chunks for placement in world.of("f")} == before
    assert all(placement.function.slice.quota_request == 0.5 for placement in world.of("f"))
    assert world.run_for(10) == []


def test_a_limit_changes_in_place_while_no_table_says_what_a_replica_should_hold(world: World) -> None:
    function = spec(autoscale=Autoscale(min=1, max=2, policy="objective"), quota=0.3)
    world.define(function)
    world.tick()
    (before,) = world.of("f")
    limited = replace(function, slice=replace(function.slice, quota_limit=0.6))
    commands = world.tell(FunctionDefined(limited))
    assert [type(command) for command in commands] == [ResizeReplica]
    (after,) = world.of("f")
    assert after.replica == before.replica
    assert after.function.slice == replace(before.function.slice, quota_limit=0.6)
    assert world.run_for(10) == []


def test_a_limit_that_cannot_change_where_a_replica_is_replaces_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = spec(quota=0.3)
    world.define(function)
    world.tick()
    monkeypatch.setattr(
        Plan, "resize", lambda *_: False
    )  # as beside one that works again after its room was given away
    world.tell(FunctionDefined(replace(function, slice=replace(function.slice, quota_limit=0.6))))
    assert world.run_for(10) == []
    assert len(world.of("f")) == 1


def test_a_quota_that_does_not_fit_where_the_replica_is_moves_it_and_keeps_serving(world: World) -> None:
    world.define(spec("g", sm=100, quota=0.5))
    world.define(spec(sm=100, quota=0.3))
    world.tick()
    world.add_node("b")
    world.define(spec(sm=100, quota=0.8))
    assert [placement.node for placement in world.of("f")] == ["a", "b"]
    assert world.ready("f") == 1  # the first goes when the second is ready
    world.tick()
    (moved,) = world.of("f")
    assert world.ready("f") == 1
    assert moved.node == "b"
    assert moved.function.slice.quota_request == 0.8


def test_a_quota_that_fits_nowhere_is_told_and_the_replica_keeps_what_it_has(world: World) -> None:
    world.define(spec("g", sm=100, quota=0.5))
    world.define(spec(sm=100, quota=0.3))
    world.tick()
    world.define(spec(sm=100, quota=0.8))
    world.run_for(5)
    (stays,) = world.of("f")
    assert stays.function.slice.quota_request == 0.3
    assert world.ready("f") == 1
    assert len(world.reports("no_room")) == 1
    world.delete("g")
    world.run_for(5)
    (grown,) = world.of("f")
    assert grown.replica == stays.replica
    assert grown.function.slice.quota_request == 0.8


def test_a_change_that_was_not_written_before_the_term_ended_is_made_by_the_next(world: World) -> None:
    world.define(spec(quota=0.3))
    world.tick()
    (placement,) = world.of("f")
    decision = world.scheduler.step(world.now_us, FunctionDefined(spec(quota=0.5)))
    assert [type(command) for command in decision.commands] == [ResizeReplica]
    world.tell(LeadershipLost())
    assert world.of("f") == [placement]
    world.lead(11)
    world.tick()
    (changed,) = world.of("f")
    assert changed.function.slice.quota_request == 0.5
    assert changed.replica == placement.replica
