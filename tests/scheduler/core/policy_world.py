"""A function under an objective on V100s, as the tests of policies script it."""

from fastgshare.scheduler.core.commands import PlaceReplica, RemoveReplica, ResizeReplica
from fastgshare.scheduler.core.events import ProfileKnown
from fastgshare.scheduler.core.menu import menu_of
from fastgshare.scheduler.core.policies.pool import pooled_rps
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.messages import Autoscale, FunctionSpec
from fastgshare.shared.tables import Table
from tests.scheduler.core.tables import CHUNKS, V100, curve, table
from tests.scheduler.core.world import S, World, spec

IDLE_S = 20


def wanted(
    policy: str = "objective", low: int = 1, high: int = 20, slo_ms: float = 69, name: str = "f"
) -> FunctionSpec:
    """ResNet-50 under an objective; its own slice is the paper's."""
    return spec(
        name, autoscale=Autoscale(min=low, max=high, policy=policy), sm=12, quota=0.4, memory_mib=500, slo_ms=slo_ms
    )


def cluster(function: FunctionSpec, nodes: int = 3, model: str = "resnet50") -> World:
    """V100s, a table, and the function with its first replicas."""
    world = World(settings=Settings(idle_us=IDLE_S * S))
    for number in range(nodes):
        world.add_node(f"n{number}", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.lead()
    world.load("other")
    world.tell(ProfileKnown(table(curve(model), function.model.digest)))
    world.define(function)
    world.load(function.name)
    world.tick()
    return world


def capacity_rps(world: World, name: str = "f") -> float:
    """What the function's replicas take within its objective."""
    (placement, *_) = world.of(name)
    read = Table.of(table(curve("resnet50"), "m"))
    assert read is not None
    menu = menu_of(read, placement.function, CHUNKS, world.settings)
    held = [(p.function.slice, len(p.chunks) / CHUNKS) for p in world.of(name)]
    return pooled_rps([menu.held(one.sm_partition, share, one.quota_request) for one, share in held])


def decisions(world: World, first: int = 0) -> list[object]:
    """The commands that change something."""
    return [c for c in world.commands[first:] if isinstance(c, PlaceReplica | ResizeReplica | RemoveReplica)]
