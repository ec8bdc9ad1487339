"""A function's replicas from what they are to what they should be, through everything that can happen to them."""

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core.commands import PlaceReplica, RemoveReplica, Report
from fastgshare.scheduler.core.events import (
    BusResumed,
    Device,
    FunctionDefined,
    LeadershipLost,
    LeadershipWon,
    PlacementGone,
    PlacementKnown,
    PlacementRefused,
    ReplicaReported,
)
from fastgshare.shared.ids import DeviceId, NodeId, ReplicaId
from tests.scheduler.core.world import TICK_US, World, spec


@pytest.fixture
def world() -> World:
    """A leader and one node of four chunks and 1000 MiB."""
    world = World()
    world.add_node("a")
    world.lead()
    return world


def test_a_function_gets_its_replicas_with_reasons(world: World) -> None:
    world.define(spec(replicas=2))
    world.tick()
    assert world.ready("f") == 2
    for placement in world.of("f"):
        assert placement.epoch == 10
        assert placement.node == "a"
        assert len(placement.chunks) == 2
        assert placement.reason
    assert world.run_for(10) == []


def test_who_does_not_lead_decides_nothing() -> None:
    world = World()
    world.add_node("a")
    world.define(spec())
    assert world.run_for(5) == []
    world.lead()
    assert len(world.of("f")) == 1


def test_a_deleted_function_goes_wholly(world: World) -> None:
    world.define(spec(replicas=2))
    world.tick()
    world.delete("f")
    assert world.placements == {}
    world.tick()
    assert world.scheduler.state.functions == {}


def test_a_smaller_number_takes_the_newest_and_rather_one_that_is_not_ready(world: World) -> None:
    world.define(spec(replicas=2))
    world.tick()
    first, second = (placement.replica for placement in world.of("f"))
    world.define(spec(replicas=3))
    third = world.of("f")[-1].replica
    world.define(spec(replicas=2))
    assert [placement.replica for placement in world.of("f")] == [first, second]
    world.define(spec(replicas=1))
    assert [placement.replica for placement in world.of("f")] == [first]
    assert third not in (first, second)


def test_no_replica_is_a_number_too(world: World) -> None:
    world.define(spec(replicas=0))
    world.tick()
    assert world.of("f") == []


class TestUpdate:
    def test_the_old_generation_leaves_when_the_new_one_is_ready(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.tick()
        world.define(spec(replicas=2, generation=2))
        assert world.ready("f", 1) == 2
        assert len(world.of("f", 2)) == 2
        world.tick()
        assert world.ready("f", 2) == 2
        assert world.of("f", 1) == []

    def test_both_fit_in_time_but_memory_is_never_exceeded(self, world: World) -> None:
        world.define(spec(sm=100, quota=1.0, memory_mib=600))
        world.tick()
        world.define(spec(sm=100, quota=1.0, memory_mib=300, generation=2))
        world.tick()
        assert world.of("f", 1) == []
        world.define(spec(sm=100, quota=1.0, memory_mib=800, generation=3))
        world.run_for(10)
        assert world.ready("f", 2) == 1
        assert [report.function for report in world.reports("no_room")] == ["f"]
        assert "700 of 1000 MiB" in world.reports("no_room")[0].text

    def test_one_that_fits_only_step_by_step_goes_step_by_step(self, world: World) -> None:
        world.define(spec(sm=25, replicas=2, memory_mib=300))
        world.tick()
        world.define(spec(sm=25, replicas=2, memory_mib=300, generation=2))
        lowest = 2
        for _ in range(6):
            world.tick()
            lowest = min(lowest, world.ready("f"))
        assert lowest == 2
        assert world.ready("f", 2) == 2
        assert world.of("f", 1) == []
        assert len(world.reports("no_room")) <= 1

    def test_a_broken_generation_is_told_and_not_tried_again_and_the_last_good_one_stays(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.tick()
        world.broken["f", 2] = False
        world.define(spec(replicas=2, generation=2))
        world.tick()
        assert world.run_for(120) == []
        assert world.ready("f", 1) == 2
        assert len(world.of("f", 2)) == 2, "the failed replicas stay as the record of why"
        assert [report.text for report in world.reports("generation_failed")] == ["generation 2: it is broken"]

    def test_a_broken_first_generation_stays_visible_and_is_left_alone(self, world: World) -> None:
        world.broken["f", 1] = False
        world.define(spec())
        world.tick()
        assert world.run_for(120) == []
        assert len(world.of("f")) == 1

    def test_the_next_generation_clears_the_record_of_a_broken_one(self, world: World) -> None:
        world.define(spec())
        world.tick()
        world.broken["f", 2] = False
        world.define(spec(generation=2))
        world.tick()
        world.define(spec(generation=3))
        assert world.of("f", 2) == []
        assert world.ready("f", 1) == 1
        world.tick()
        assert world.ready("f", 3) == 1
        assert world.of("f", 1) == []

    def test_the_last_good_generation_is_kept_at_its_number(self, world: World) -> None:
        world.add_node("b")
        world.define(spec(replicas=2))
        world.tick()
        world.broken["f", 2] = False
        world.define(spec(replicas=2, generation=2))
        world.tick()
        home = world.of("f", 1)[0].node
        world.nodes[home].up = False
        world.run_for(4)
        assert world.ready("f", 1) == 2
        world.define(spec(replicas=1, generation=2))
        world.tick()
        assert world.ready("f", 1) == 1

    def test_scaling_to_zero_does_not_lose_the_last_good_definition(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.tick()
        world.broken["f", 2] = False
        world.define(spec(replicas=2, generation=2))
        world.tick()
        world.define(spec(replicas=0, generation=2))
        world.run_for(30)
        assert world.ready("f", 1) == 1
        world.define(spec(replicas=2, generation=2))
        world.run_for(10)
        assert world.ready("f", 1) == 2

    def test_two_broken_generations_one_cut_off_before_it_could_fail_come_to_rest(self, world: World) -> None:
        world.add_node("b")
        world.broken["f", 1] = world.broken["f", 2] = False
        world.define(spec())
        world.nodes[world.of("f")[0].node].up = False
        world.define(spec(generation=2))
        world.run_for(30)
        assert world.run_for(30) == []
        assert [p.function.generation for p in world.of("f")] == [2]

    def test_a_generation_that_was_never_ready_makes_way_for_the_next(self, world: World) -> None:
        world.define(spec())
        world.tick()
        world.define(spec(generation=2))
        world.define(spec(generation=3))
        assert world.of("f", 2) == []
        assert world.ready("f", 1) == 1


class TestNodes:
    def test_replicas_of_a_silent_node_move_to_one_with_room(self, world: World) -> None:
        world.add_node("b")
        world.define(spec(replicas=2))
        world.tick()
        (home,) = {placement.node for placement in world.of("f")}
        world.nodes[home].up = False
        world.run_for(2)
        assert world.reports("node_silent") == []
        assert world.ready("f") == 0
        world.run_for(1.5)
        assert world.ready("f") == 2
        assert {placement.node for placement in world.of("f")} == {"a", "b"} - {home}
        assert [report.text.split()[0] for report in world.reports("node_silent")] == [home]
        assert world.run_for(30) == []

    def test_on_the_only_node_they_wait_for_it_to_come_back(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.tick()
        before = world.of("f")
        world.nodes[NodeId("a")].up = False
        told = world.run_for(60)
        assert [command.kind for command in told if isinstance(command, Report)] == ["node_silent", "no_room"]
        assert world.of("f") == before
        world.restart_node("a")
        world.tick()
        assert world.ready("f") == 2
        assert world.of("f") == before
        assert len(world.reports("node_returned")) == 1

    def test_they_move_when_room_appears_later(self, world: World) -> None:
        world.define(spec())
        world.tick()
        world.nodes[NodeId("a")].up = False
        world.run_for(5)
        world.add_node("b")
        world.tick()
        assert [placement.node for placement in world.of("f")] == ["b"]
        assert world.ready("f") == 1

    def test_a_device_may_be_away_while_its_worker_restarts(self, world: World) -> None:
        world.add_node("b")
        world.define(spec())
        world.tick()
        node = world.nodes[world.of("f")[0].node]
        well = node.devices[0]
        node.devices = [Device(well.device, well.kind, well.chunks, well.memory_mib, healthy=False)]
        assert world.run_for(2) == []
        node.devices = [well]
        assert world.run_for(10) == []
        node.devices = []
        world.run_for(4)
        assert [placement.node for placement in world.of("f")] != [node.node]
        assert world.ready("f") == 1

    def test_a_device_that_is_away_is_waited_for_where_there_is_no_room_elsewhere(self, world: World) -> None:
        world.define(spec())
        world.tick()
        node = world.nodes[world.of("f")[0].node]
        well = node.devices[0]
        node.devices = []
        assert world.run_for(9) == []
        node.devices = [well]
        assert world.run_for(10) == []

    @pytest.mark.parametrize("ready_first", ["the old one", "the stand-in"])
    def test_of_a_replica_whose_device_is_away_and_its_stand_in_the_first_that_is_ready_stays(
        self, world: World, ready_first: str
    ) -> None:
        world.add_node("b")
        world.define(spec())
        world.tick()
        (old,) = world.of("f")
        node = world.nodes[old.node]
        well, node.devices = node.devices[0], []
        for _ in range(5):
            world.tick(up_to_date=False)
        (stand_in,) = [placement for placement in world.of("f") if placement != old]
        assert "stands in for" in stand_in.reason
        if ready_first == "the stand-in":
            world.tick()
        node.devices = [well]
        world.tick(up_to_date=False)
        assert world.of("f") == [old if ready_first == "the old one" else stand_in]
        assert world.run_for(30) == []

    def test_a_replica_on_chunks_that_the_device_has_no_longer_is_placed_anew(self, world: World) -> None:
        world.define(spec(sm=100, memory_mib=800))
        world.tick()
        node = world.nodes[NodeId("a")]
        well = node.devices[0]
        node.devices = [Device(well.device, well.kind, 2, well.memory_mib)]
        world.run_for(2)
        assert [placement.chunks for placement in world.of("f")] == [(0, 1)]

    def test_when_the_scheduler_itself_was_late_nobody_is_silent(self, world: World) -> None:
        world.add_node("b")
        world.define(spec(replicas=2))
        world.tick()
        world.now_us += 60 * TICK_US
        world.nodes[NodeId("a")].up = world.nodes[NodeId("b")].up = False
        assert world.tick() == []
        for node in world.nodes.values():
            node.up = True
        assert world.run_for(10) == []

    def test_when_the_bus_was_away_nobody_is_silent(self, world: World) -> None:
        world.add_node("b")
        world.define(spec(replicas=2))
        world.tick()
        for node in world.nodes.values():
            node.up = False
        world.run_for(1.5)
        world.tell(BusResumed())
        world.run_for(1.5)
        assert world.reports("node_silent") == []

    def test_a_node_never_heard_of_gets_time_to_start(self) -> None:
        before = World()
        before.add_node("a")
        before.lead()
        before.define(spec())
        after = World()
        after.add_node("b")
        for placement in before.of("f"):
            after.placements[f"{placement.node}.{placement.replica}"] = placement
            after.tell(PlacementKnown(placement))
        after.define(spec())
        after.lead(epoch=11)
        assert after.run_for(8) == []
        after.nodes[NodeId("a")] = before.nodes[NodeId("a")]
        after.restart_node("a")
        after.tick()
        assert after.ready("f") == 1
        assert [placement.node for placement in after.of("f")] == ["a"]


class TestTrouble:
    def test_a_replica_that_fails_in_passing_is_placed_anew_with_growing_patience(self, world: World) -> None:
        world.broken["f", 1] = True
        world.define(spec())
        world.run_for(300)
        removals = [c for c in world.commands if isinstance(c, RemoveReplica)]
        assert 3 <= len(removals) <= 6
        assert all("it is broken" in removal.reason for removal in removals)
        del world.broken["f", 1]
        world.run_for(330)
        assert world.ready("f") == 1
        assert len(world.of("f")) == 1

    def test_it_is_placed_elsewhere_if_there_is_an_elsewhere(self, world: World) -> None:
        world.add_node("b")
        world.broken["f", 1] = True
        world.define(spec())
        world.tick()
        first = world.of("f")[0].node
        world.run_for(12)
        assert world.of("f")[0].node != first

    def test_a_replica_that_breaks_for_good_after_its_generation_was_ready_is_replaced(self, world: World) -> None:
        world.define(spec())
        world.tick()
        placement = world.of("f")[0]
        world.broken["f", 1] = False
        world.tell(world._outcome(world.nodes[NodeId("a")], placement))
        del world.broken["f", 1]
        world.run_for(15)
        assert world.ready("f") == 1
        assert world.of("f")[0].replica != placement.replica
        assert world.reports("generation_failed") == []

    def test_a_replica_that_its_node_never_reports_is_placed_anew(self, world: World) -> None:
        world.nodes[NodeId("a")].up = False
        world.define(spec())
        world.nodes[NodeId("a")].up = True
        first = world.of("f")[0].replica
        world.run_for(40)
        assert world.ready("f") == 1
        assert world.of("f")[0].replica != first

    def test_no_room_is_told_once_and_tried_again_when_some_appears(self, world: World) -> None:
        world.define(spec("big", memory_mib=900))
        world.define(spec("f", memory_mib=200))
        world.run_for(30)
        assert world.of("f") == []
        assert len(world.reports("no_room")) == 1
        world.delete("big")
        world.tick()
        assert world.ready("f") == 1

    def test_a_placement_that_the_bucket_refuses_is_decided_again(self, world: World) -> None:
        decision = world.scheduler.step(world.now_us, FunctionDefined(spec()))
        (place,) = [command for command in decision.commands if isinstance(command, PlaceReplica)]
        refused = PlacementRefused(place.placement.node, place.placement.replica, "it exists")
        again = world.tell(refused)
        assert [type(command) for command in again] == [PlaceReplica]

    def test_a_placement_that_somebody_deletes_is_decided_again(self, world: World) -> None:
        world.define(spec())
        world.tick()
        key, placement = world.placements.popitem()
        world.tell(PlacementGone(placement.node, placement.replica))
        world.tick()
        assert key not in world.placements
        assert len(world.of("f")) == 1

    def test_one_that_works_after_all_finds_another_place_when_its_own_was_given_away(self, world: World) -> None:
        world.broken["f", 1] = False
        world.define(spec(memory_mib=600))
        world.tick()
        world.define(spec("g", memory_mib=600))
        world.tick()
        assert world.ready("g") == 1, "what failed holds nothing"
        del world.broken["f", 1]
        world.nodes[NodeId("a")].up = False
        world.restart_node("a")
        world.tick(3)
        assert world.ready("g") == 1
        assert world.of("f") == []
        world.add_node("b")
        world.tick(2)
        assert world.ready("f") == 1


class TestTerms:
    def test_a_successor_goes_on_where_its_predecessor_was(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.define(spec("g"))
        world.tick()
        follower = World(nodes=world.nodes, placements=dict(world.placements))
        for placement in world.placements.values():
            follower.tell(PlacementKnown(placement))
        for node in world.nodes.values():
            follower.tell(node.seen())
            for status in node.held.values():
                follower.tell(ReplicaReported(status))
        for wanted in (spec(replicas=2), spec("g")):
            follower.define(wanted)
        follower.lead(epoch=11)
        assert follower.run_for(10) == []
        follower.define(spec(replicas=3))
        ids = [placement.replica for placement in follower.of("f")]
        assert len(set(ids)) == 3
        assert follower.of("f")[-1].epoch == 11

    def test_ids_are_unique_even_if_terms_start_over(self, world: World) -> None:
        world.define(spec(replicas=2))
        world.tell(LeadershipLost())
        world.lead(epoch=10)
        world.define(spec(replicas=4))
        assert len({placement.replica for placement in world.of("f")}) == 4

    def test_what_a_leader_decided_and_never_saw_written_is_forgotten_with_its_term(self) -> None:
        world = World()
        world.add_node("a")
        world.lead()
        world.scheduler.step(world.now_us, FunctionDefined(spec()))
        assert len(world.scheduler.state.placed) == 1
        world.tell(LeadershipLost())
        assert world.scheduler.state.placed == {}
        world.lead(epoch=11)
        assert len(world.of("f")) == 1

    def test_a_late_write_of_an_earlier_leader_is_undone(self, world: World) -> None:
        world.define(spec())
        world.tick()
        (kept,) = world.of("f")
        late = replace(kept, replica=ReplicaId("f-g1-9-1"), epoch=9, device=DeviceId("a-cpu0"))
        world.placements[f"a.{late.replica}"] = late
        world.tell(PlacementKnown(late))
        assert world.of("f") == [kept]

    def test_after_losing_a_term_nothing_is_decided(self, world: World) -> None:
        world.tell(LeadershipLost("test"))
        world.define(spec())
        assert world.run_for(5) == []
        assert world.tell(LeadershipWon(12))
