"""A fixed story of a small fleet, for whoever needs a core that has seen something: and what comes after it."""

from fastgshare.scheduler.core.commands import Decision
from fastgshare.scheduler.core.events import Event, ProfileKnown
from fastgshare.scheduler.core.replay import Entry
from fastgshare.shared.ids import Digest, NodeId
from fastgshare.shared.messages import Autoscale, Profile, ProfilePoint, ProfileState
from tests.scheduler.core.world import World, spec


def early() -> World:
    """Two nodes, an update under way, a scaled function with a table, a loan."""
    world = World()
    world.add_node("a")
    world.add_node("b", chunks=8)
    world.lead()
    world.tell(ProfileKnown(table("model-of-g")))
    world.define(spec(replicas=2, quota=0.25))
    world.define(spec("g", autoscale=Autoscale(min=0, max=4), sm=25, quota=0.2))
    world.run_for(2)
    world.wish("loan-1", sm=25)
    world.load("g", 40)
    world.define(spec(replicas=2, quota=0.25, generation=2))
    world.tick()
    return world


def late(world: World) -> None:
    """What follows: load, a lost node, its return, a deletion."""
    for _ in range(6):
        world.load("g", 60, outstanding=5)
        world.tick()
    world.nodes[NodeId("a")].up = False
    world.run_for(8)
    world.restart_node("a")
    world.run_for(3)
    world.delete("f")
    world.run_for(40)


def entries(journal: list[tuple[int, Event, Decision]]) -> list[Entry]:
    """A world's journal as it is stored."""
    return [Entry(now_us, event, decision) for now_us, event, decision in journal]


def table(model: str, device_kind: str = "cpu", rps: float = 20.0) -> Profile:
    """A table of one point."""
    point = ProfilePoint(
        sm_partition=25,
        quota=0.2,
        batch=1,
        throughput_rps=rps,
        p50_us=5_000,
        p95_us=5_000,
        p99_us=5_000,
        device_us=5_000,
        runs=10,
    )
    return Profile(model_digest=Digest(model), device_kind=device_kind, state=ProfileState.COMPLETE, points=(point,))
