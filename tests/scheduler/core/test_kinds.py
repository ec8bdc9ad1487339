"""Devices of several kinds: slices go where they were chosen for, and what is not known counts for nothing."""

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.scheduler.core import capacity
from fastgshare.scheduler.core.events import ProfileKnown
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import FunctionName, NodeId
from fastgshare.shared.messages import FunctionSpec
from tests.scheduler.core.policy_world import wanted
from tests.scheduler.core.tables import CHUNKS, V100, curve, table
from tests.scheduler.core.world import World, spec

SLOW = SpeedCurve(floor_us=200_000, work_us=200_000)
"""Under no objective of these tests."""
FAST = SpeedCurve(floor_us=1_000, work_us=1_000)
HALF = SpeedCurve(floor_us=2 * curve("resnet50").floor_us, work_us=2 * curve("resnet50").work_us)


def mixed(function: FunctionSpec, v100s: int = 3, speed: SpeedCurve | None = None, others: int = 1) -> World:
    """V100s with a table, devices of another kind, with this table or none, first in the alphabet, and a function."""
    world = World(settings=Settings())
    for number in range(others):
        world.add_node(f"a{number}", chunks=CHUNKS, memory_mib=16_384, kind="other")
    for number in range(v100s):
        world.add_node(f"n{number}", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.lead()
    world.tell(ProfileKnown(table(curve("resnet50"), function.model.digest)))
    if speed is not None:
        world.tell(ProfileKnown(table(speed, function.model.digest, kind="other")))
    world.load("other")
    world.define(function)
    world.load(function.name)
    world.tick()
    return world


def kinds(world: World) -> list[str]:
    return sorted("other" if "other" in p.device else V100 for p in world.of("f"))


def test_replicas_go_to_the_kind_that_their_slices_were_chosen_for() -> None:
    world = mixed(wanted(high=12), speed=SLOW)
    world.serve("f", 60, 40)
    assert set(kinds(world)) == {V100}
    assert len(world.of("f")) < 6


def test_a_kind_without_a_table_is_left_alone_while_others_have_room() -> None:
    world = mixed(wanted(high=12))
    world.serve("f", 60, 40)
    assert set(kinds(world)) == {V100}


def test_the_kind_on_which_the_load_costs_least_is_preferred_though_it_is_rarer() -> None:
    world = mixed(wanted(), speed=FAST)
    world.serve("f", 60, 40)
    assert set(kinds(world)) == {"other"}


def test_where_the_preferred_kind_is_full_the_next_takes_the_rest() -> None:
    world = mixed(wanted(slo_ms=150), v100s=1, speed=HALF, others=2)
    world.serve("f", 60, 900)
    assert set(kinds(world)) == {V100, "other"}


def test_what_counts_for_nothing_is_not_piled_up_but_told() -> None:
    world = mixed(wanted(high=12), v100s=1, others=4)
    world.serve("f", 60, 2_000)
    assert set(kinds(world)) == {V100}
    assert "not known to keep the objective" in world.reports("no_room")[0].text


def test_a_device_of_which_nothing_is_known_is_better_than_none() -> None:
    world = mixed(wanted(), v100s=1)
    world.nodes[NodeId("n0")].up = False
    world.run_for(30)
    assert kinds(world) == ["other"]


def test_nobody_makes_room_by_going_to_a_kind_that_its_slice_was_not_chosen_for() -> None:
    world = mixed(wanted(), v100s=1)
    world.serve("f", 60, 5)
    world.define(spec("wide", sm=100, quota=1.0, memory_mib=12_000, replicas=2))
    world.run_for(60)
    assert set(kinds(world)) == {V100}


def test_menus_are_of_devices_that_can_take_replicas() -> None:
    world = mixed(wanted(high=12), speed=FAST)
    state, function = world.scheduler.state, world.scheduler.state.functions[FunctionName("f")]
    assert function.spec is not None
    for number in range(3):
        world.nodes[NodeId(f"n{number}")].up = False
    world.serve("f", 120, 40)
    assert [menu.kind for menu in capacity.menus_for(state, function.spec, world.settings)] == ["other"]
    assert kinds(world) == ["other"]


def test_while_no_device_can_take_replicas_nothing_changes() -> None:
    world = mixed(wanted(), others=0)
    world.serve("f", 60, 40)
    for node in world.nodes.values():
        node.up = False
    first = len(world.commands)
    world.serve("f", 30, 40)
    assert {type(command).__name__ for command in world.commands[first:]} <= {"Report"}
