"""Slices on loan: where they are lent, what they must not disturb, and what ends them."""

from msgspec.structs import replace

from fastgshare.scheduler.core.commands import AnswerWish, PlaceReplica, RemoveReplica
from fastgshare.scheduler.core.events import (
    DemandRaised,
    Device,
    FunctionDefined,
    LeadershipLost,
    PlacementKnown,
    PlacementRefused,
    ReplicaGone,
    ReplicaReported,
    SliceWished,
)
from fastgshare.shared import subjects
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import Autoscale, LoanReply, LoanState, LoanWish, ModelRef, Placement, ReplicaState
from tests.scheduler.core.world import S, World, spec

CALM_S = 3


def calm(*names: str, memory_mib: int = 1000, **fields: int) -> World:
    """A world that leads, with a node for each name, and one function of one ready replica without traffic."""
    world = World()
    for name in names or ("a",):
        world.add_node(name, memory_mib=memory_mib)
    world.lead()
    world.define(spec(memory_mib=fields.get("memory", 100)))
    world.load("f")
    world.tick(2)
    return world


def lend(world: World, loan: str = "l1", asked: bool = False) -> Placement:
    """What stands after a wish that is met."""
    reply = world.wish(loan, asked=asked)
    assert reply.state is LoanState.LENT, reply
    return next(placement for placement in world.lent() if placement.replica == reply.replica)


def waits(reply: LoanReply) -> str:
    """Why a wish has to wait."""
    assert reply.state is LoanState.WAITING
    assert reply.replica == ""
    return reply.reason


def ends(world: World) -> list[str]:
    """The reasons for which loans ended so far."""
    return [command.reason for command in world.commands if isinstance(command, RemoveReplica) and command.loan]


def keep_asking(world: World, seconds: float, loan: str = "l1", asked: bool = False) -> list[LoanReply]:
    """A profiler's wish every half second for so long, and the answers."""
    answers = []
    for _ in range(int(seconds * 2)):
        answers.append(world.wish(loan, asked=asked))
        world.tick()
    return answers


# Lending


def test_a_slice_is_lent_with_spare_time_only_and_is_no_replica_of_its_function() -> None:
    world = calm()
    lent = lend(world)
    held = lent.function.slice
    assert (lent.loan, lent.epoch, lent.device) == ("l1", 10, "a-cpu0")
    assert lent.replica == "f-loan-10-1"
    assert lent.reason == "on loan to the profiler"
    assert (held.sm_partition, held.quota_limit, held.gpu_mem_mib) == (50, 1.0, 100)
    assert 0 < held.quota_request <= 0.001
    assert replace(lent.function, slice=spec().slice) == spec()
    world.tick()
    assert len(world.of("f")) == world.ready("f") == 1


def test_the_same_wish_gets_the_same_replica() -> None:
    world = calm()
    first = lend(world)
    replies = keep_asking(world, 10)
    assert {reply.replica for reply in replies} == {first.replica}
    assert len(world.lent()) == 1


def test_one_device_has_one_loan_at_a_time() -> None:
    world = calm("a", "b")
    devices = {lend(world, "l1").device, lend(world, "l2").device}
    assert devices == {"a-cpu0", "b-cpu0"}
    assert "has another loan" in waits(world.wish("l3"))
    world.wish("l1", over=True)
    assert lend(world, "l3").device == "a-cpu0"


def test_the_end_of_a_loan_names_its_device_and_other_removals_stay_as_journals_know_them() -> None:
    world = calm()
    lend(world)
    world.wish("l1", over=True)
    world.delete("f")
    removals = [command for command in world.commands if isinstance(command, RemoveReplica)]
    assert [(command.loan, command.device) for command in removals] == [("l1", "a-cpu0"), ("", "")]


def test_a_device_that_has_the_weights_comes_first_then_the_one_with_most_spare_time() -> None:
    world = calm("a", "b", "c")
    assert [placement.node for placement in world.of("f")] == ["a"]
    world.define(spec("g", replicas=1, sm=100, quota=0.9))
    world.tick()
    assert [placement.node for placement in world.of("g")] == ["b"]
    assert lend(world, "l1").node == "a"
    assert lend(world, "l2").node == "c"


def test_the_least_loaded_neighbouring_chunks_are_lent() -> None:
    world = calm()
    world.define(spec(replicas=1, sm=50, quota=0.5))
    world.tick()
    assert world.of("f")[0].chunks == (0, 1)
    assert lend(world).chunks == (2, 3)


def test_only_devices_of_the_kind_are_lent() -> None:
    world = calm()
    world.add_node("g", kind="gpu")
    reply = world.wish("l1", kind="gpu")
    assert reply.state is LoanState.LENT
    assert world.lent()[0].device == "g-gpu0"


def test_what_can_never_be_lent_is_refused_with_the_reason() -> None:
    world = calm()
    wishes = {
        "not deployed": world.wish("l1", "nobody"),
        "the devices are cpu": world.wish("l1", kind="tpu"),
        "expected 1 to 100": world.wish("l1", sm=0),
        "loan is empty": world.wish(""),
    }
    for text, reply in wishes.items():
        assert reply.state is LoanState.REFUSED
        assert text in reply.reason
    assert world.lent() == []


def test_only_the_leader_answers() -> None:
    world = calm()
    world.tell(LeadershipLost())
    wish = LoanWish(loan="l1", function="f", device_kind="cpu")
    assert world.tell(SliceWished(wish, "inbox")) == []


def test_a_device_without_the_memory_lends_nothing_and_says_the_numbers() -> None:
    world = calm(memory=600)
    assert waits(world.wish("l1")) == "it needs 600 MiB, and a-cpu0 has 400 of 1000 MiB"


def test_no_serving_device_lends_nothing() -> None:
    world = calm()
    world.nodes[NodeId("a")].up = False
    world.run_for(3)
    assert waits(world.wish("l1")) == "no cpu serves"


# Traffic


def test_nothing_is_lent_where_requests_came_a_moment_ago() -> None:
    world = calm()
    world.load("f", arrived=1)
    assert waits(world.wish("l1")) == "requests for 'f' arrived"
    world.run_for(CALM_S)
    lend(world)


def test_the_traffic_of_a_neighbour_is_minded_too() -> None:
    world = calm("a")
    world.define(spec("g", sm=25, quota=0.2))
    world.tick()
    world.load("g", outstanding=1)
    assert waits(world.wish("l1")) == "requests for 'g' arrived on a-cpu0"
    world.add_node("b")
    assert lend(world).node == "b"


def test_traffic_ends_a_loan_at_once_and_the_next_wish_is_told_why() -> None:
    world = calm()
    lend(world)
    world.load("f", arrived=1)
    assert world.lent() == []
    assert ends(world) == ["requests for 'f' arrived"]
    assert waits(world.wish("l1")) == "requests for 'f' arrived"
    world.run_for(CALM_S)
    assert lend(world).replica == "f-loan-10-2"


def test_why_a_loan_ended_is_told_even_if_another_would_be_lent() -> None:
    world = calm("a", "b")
    first = lend(world)
    world.define(spec("g", sm=25, quota=0.2))
    world.tick()
    world.load("g", held=1)
    assert ends(world) == [f"requests for 'g' arrived on {first.device}"]
    assert waits(world.wish("l1")) == ends(world)[0]
    assert lend(world).node == "b"


def test_demand_for_a_function_at_zero_counts_as_traffic() -> None:
    world = calm()
    world.define(spec("g", autoscale=Autoscale(min=0, max=1), sm=25, quota=0.2))
    world.tick(2)
    lend(world)
    world.tell(DemandRaised(FunctionName("g"), GatewayId("gateway-0"), 1))
    assert ends(world) == ["requests for 'g' arrived on a-cpu0"]


def test_a_replica_that_comes_up_is_no_traffic() -> None:
    world = calm()
    lend(world)
    world.define(spec("g", sm=25, quota=0.2))
    keep_asking(world, 2)
    assert world.ready("g") == 1
    assert ends(world) == []


def test_traffic_of_other_devices_disturbs_nobody() -> None:
    world = calm("a", "b")
    world.define(spec("g", sm=100, quota=0.9))
    world.tick()
    assert [placement.node for placement in world.of("g")] == ["b"]
    lend(world)
    world.load("g", arrived=100)
    assert ends(world) == []


def test_a_person_who_asks_gets_it_beside_traffic() -> None:
    world = calm()
    world.load("f", arrived=1, outstanding=1)
    lend(world, asked=True)
    world.load("f", arrived=5)
    assert len(world.lent()) == 1
    world.wish("l1", asked=False)
    assert ends(world) == ["requests for 'f' arrived"]


# Other ends


def test_a_loan_that_is_over_leaves_at_once() -> None:
    world = calm()
    lend(world)
    assert waits(world.wish("l1", over=True)) == "it is over"
    assert world.lent() == []
    assert waits(world.wish("l1", over=True)) == "it is over"


def test_a_wish_for_what_is_on_its_way_back_waits() -> None:
    world = calm()
    lend(world)
    world.scheduler.step(world.now_us, SliceWished(LoanWish(loan="l1", function="f", device_kind="cpu", over=True), ""))
    assert "on its way back" in waits(world.wish("l1"))


def test_a_loan_that_nobody_asks_for_leaves_after_three_seconds() -> None:
    world = calm()
    lend(world)
    world.run_for(3)
    assert len(world.lent()) == 1
    world.run_for(0.5)
    assert ends(world) == ["nobody asked for it for 3 s"]


def test_a_loan_leaves_with_its_function_or_its_model() -> None:
    world = calm()
    lend(world)
    world.define(replace(spec(generation=2), slo_ms=7.0))
    assert ends(world) == []
    world.define(replace(spec(generation=3), model=ModelRef(digest=Digest("another"), size_bytes=1)))
    assert ends(world) == ["the function has another model now"]
    world.wish("l1")
    lend(world)
    world.delete("f")
    assert ends(world)[1:] == ["the function was deleted"]
    assert world.placements == {}
    assert world.wish("l2").state is LoanState.REFUSED


def test_a_loan_leaves_with_its_node() -> None:
    world = calm()
    lend(world)
    world.nodes[NodeId("a")].up = False
    answers = keep_asking(world, 4)
    assert ends(world) == ["lost with a-cpu0"]
    assert waits(answers[-1]) == "no cpu serves"


def test_a_loan_stands_while_its_device_is_away_for_a_moment_only() -> None:
    world = calm()
    lend(world)
    node = world.nodes[NodeId("a")]
    node.devices = [Device(DeviceId("a-cpu0"), "cpu", 4, 1000, healthy=False)]
    keep_asking(world, 9)
    assert ends(world) == []
    keep_asking(world, 3)
    assert ends(world) == ["lost with a-cpu0"]


def test_a_loan_that_failed_stays_to_say_why_and_another_wish_gets_another() -> None:
    world = calm()
    world.broken["f", 1] = False
    first = lend(world)
    world.tick()
    assert world.wish("l1").replica == first.replica
    world.load("f", arrived=1)
    assert ends(world) == []
    world.run_for(CALM_S - 0.5)
    assert world.wish("l1").replica == first.replica
    second = lend(world, "l2")
    assert {placement.replica for placement in world.lent()} == {first.replica, second.replica}
    assert not world.reports("generation_failed")


# Memory


def test_a_loan_leaves_before_a_replica_goes_without_memory() -> None:
    world = calm(memory=300)
    lend(world)
    first = len(world.commands)
    world.define(spec("g", sm=25, quota=0.2, memory_mib=500))
    told = world.commands[first:]
    assert ends(world) == ["'g' needs its memory"]
    assert [type(command) for command in told] == [RemoveReplica, PlaceReplica]
    assert len(world.of("g")) == 1
    assert not world.reports("no_room")
    assert waits(world.wish("l1")) == "'g' needs its memory"
    assert "MiB" in waits(world.wish("l1"))


def test_a_replica_is_placed_only_when_the_node_has_let_go_of_the_loan() -> None:
    world = calm(memory=300)
    lent = lend(world)
    world.tick()
    node = world.nodes[NodeId("a")]
    node.up = False  # it lets go of nothing for a while
    world.define(spec("g", sm=25, quota=0.2, memory_mib=500))
    assert world.lent() == []
    assert world.of("g") == []
    assert waits(world.wish("l2")) == "'g' waits for room"
    assert not world.reports("no_room")
    node.up = True
    del node.held[lent.replica]
    world.tell(ReplicaGone(lent.node, lent.replica))
    assert len(world.of("g")) == 1


def test_a_function_that_failed_while_it_waited_for_memory_keeps_nobody_from_lending() -> None:
    world = calm()
    lent = lend(world)
    world.tick()
    node = world.nodes[NodeId("a")]
    node.up = False  # it lets go of nothing for a while
    world.define(spec("g", replicas=2, sm=25, quota=0.2, memory_mib=450))
    assert ends(world) == ["'g' needs its memory"]
    node.up = True
    failed = replace(node.held[lent.replica], replica=world.of("g")[0].replica, function=FunctionName("g"), loan="")
    world.tell(ReplicaReported(replace(failed, state=ReplicaState.FAILED, reason="it is broken")))
    assert world.reports("generation_failed")
    del node.held[lent.replica]
    world.tell(ReplicaGone(lent.node, lent.replica))
    world.run_for(2)
    assert lend(world, "l2").loan == "l2"


def test_a_replica_rather_goes_where_no_loan_has_to_leave() -> None:
    world = calm("a", "b", memory=300)
    lend(world)
    world.define(spec("g", sm=25, quota=0.2, memory_mib=500))
    assert [placement.node for placement in world.of("g")] == ["b"]
    assert ends(world) == []


def test_no_loan_leaves_for_what_would_not_fit_without_it_either() -> None:
    world = calm(memory=300)
    lend(world)
    world.define(spec("g", sm=25, quota=0.2, memory_mib=800))
    assert ends(world) == []
    assert len(world.reports("no_room")) == 1


def test_a_loan_takes_no_time_from_replicas() -> None:
    world = calm()
    lend(world)
    world.define(spec("g", sm=100, quota=0.5))
    assert len(world.of("g")) == 1
    assert ends(world) == []


# Terms


def test_a_new_leader_keeps_what_its_profiler_still_asks_for() -> None:
    world = calm()
    first = lend(world)
    world.tell(LeadershipLost())
    world.lead(11)
    world.tick()
    assert world.wish("l1").replica == first.replica
    keep_asking(world, 5)
    assert ends(world) == []


def test_a_new_leader_takes_back_what_nobody_asks_for_and_not_for_traffic_before_it_knows_who_waits() -> None:
    world = calm()
    lend(world)
    world.tell(LeadershipLost())
    world.lead(11)
    world.load("f", arrived=1)
    world.run_for(3)
    assert len(world.lent()) == 1
    world.run_for(0.5)
    assert ends(world) == ["nobody asked for it for 3 s"]


def test_a_fresh_leader_waits_for_the_first_heartbeat_of_the_node_of_a_loan() -> None:
    before = calm()
    stood = lend(before)
    world = World()
    world.placements[subjects.fleet_key(stood.node, stood.replica)] = stood
    world.tell(FunctionDefined(stood.function))
    world.tell(PlacementKnown(stood))
    world.lead(11)
    world.tick()
    assert ends(world) == []


def test_what_an_earlier_leader_brings_in_late_is_taken_back() -> None:
    world = calm()
    late = replace(lend(world), replica=ReplicaId("f-loan-9-1"), loan="l9", epoch=9)
    world.placements[subjects.fleet_key(late.node, late.replica)] = late
    world.tell(PlacementKnown(late))
    world.tick()
    assert ends(world) == ["an earlier leader wrote it after its term"]


def test_what_an_earlier_leader_brings_in_late_for_the_same_wish_leaves_the_loan_that_stands_alone() -> None:
    world = calm()
    first = lend(world)
    late = replace(first, replica=ReplicaId("f-loan-9-1"), epoch=9)
    world.placements[subjects.fleet_key(late.node, late.replica)] = late
    world.tell(PlacementKnown(late))
    world.tick()
    assert ends(world) == ["an earlier leader wrote it after its term"]
    assert {reply.replica for reply in keep_asking(world, 5)} == {first.replica}


def test_a_loan_that_the_bucket_refuses_is_lent_anew() -> None:
    world = calm()
    first = lend(world)
    world.placements.clear()
    world.tell(ReplicaGone(first.node, first.replica))
    world.tell(PlacementRefused(first.node, first.replica, "another one stands there"))
    assert lend(world).replica != first.replica


def test_a_wish_is_answered_after_what_was_decided_on_it() -> None:
    world = calm()
    told = world.tell(SliceWished(LoanWish(loan="l1", function="f", device_kind="cpu"), "inbox"))
    assert [type(command) for command in told] == [PlaceReplica, AnswerWish]


def test_a_scheduler_goes_on_ticking_while_a_loan_stands() -> None:
    world = calm()
    lend(world)
    world.now_us += S
    assert world.scheduler.state.wake_at_us is not None
