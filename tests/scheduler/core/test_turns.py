"""Who is planned when: nobody waits for ever, steps stay short, and a device of no use disturbs nobody."""

from msgspec.structs import replace

from fastgshare.scheduler.core.commands import Command, PlaceReplica, Report
from fastgshare.scheduler.core.events import DemandRaised, Event, ReplicaReported
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import FunctionName, GatewayId, NodeId
from fastgshare.shared.messages import Autoscale, ReplicaState
from tests.scheduler.core.world import S, World, spec


def test_a_function_that_comes_from_zero_is_not_starved_by_those_that_wait_for_room() -> None:
    world = World(Settings())
    world.lead()
    world.add_node("a", chunks=16, memory_mib=16384)
    world.define(spec("free", sm=25, quota=0.2))
    world.define(spec("z", autoscale=Autoscale(min=0, max=1), sm=6, quota=0.1))
    world.run_for(100)
    assert not world.of("z")
    for number in range(70):
        world.define(spec(f"b{number}", sm=100, quota=0.95))
    (placement,) = world.of("free")
    status = world.nodes[NodeId("a")].held[placement.replica]
    decided: list[Command] = []

    def tell(event: Event) -> None:
        decided.extend(world.scheduler.step(world.now_us, event).commands)

    tell(ReplicaReported(replace(status, state=ReplicaState.LOADING)))
    tell(DemandRaised(FunctionName("z"), GatewayId("gateway-0"), 3))
    for number in range(20):
        world.now_us += S // 100
        state = ReplicaState.LOADING if number % 2 else ReplicaState.READY
        tell(ReplicaReported(replace(status, state=state)))
    assert [c.placement.function.name for c in decided if isinstance(c, PlaceReplica)] == ["z"]


def test_a_device_without_chunks_is_of_no_use_and_told_once() -> None:
    world = World()
    world.lead()
    world.define(spec("f"))
    world.add_node("a", chunks=0)
    world.run_for(5)
    assert not world.of("f")
    (report,) = world.reports("device_unusable")
    assert report == Report("device_unusable", FunctionName(""), "a-cpu0 of a has 0 chunks")
    world.add_node("b", chunks=4)
    world.run_for(2)
    assert [placement.node for placement in world.of("f")] == ["b"]


def test_a_device_that_comes_to_have_no_chunks_is_one_that_is_gone() -> None:
    world = World()
    world.lead()
    node = world.add_node("a")
    world.define(spec("f"))
    world.tick()
    world.add_node("b")
    node.devices = [replace(node.devices[0], chunks=0)]
    world.run_for(15)
    assert [placement.node for placement in world.of("f")] == ["b"]


def test_grudges_are_forgotten_when_their_time_is_over() -> None:
    world = World(Settings(transient_us=S, patience_us=5 * S))
    world.lead()
    world.add_node("a")
    world.broken["f", 1] = True
    world.define(spec("f"))
    world.run_for(4)
    function = world.scheduler.state.function(FunctionName("f"))
    assert list(function.avoid_until_us) == ["a-cpu0"]
    del world.broken["f", 1]
    world.run_for(20)
    assert function.avoid_until_us == {}
