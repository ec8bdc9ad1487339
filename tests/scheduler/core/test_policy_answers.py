"""What policies answer when they are asked: which slices, and which of them go first."""

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core.events import FunctionDefined
from fastgshare.scheduler.core.menu import menu_of, percent_of, slice_of
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.policies import POLICIES
from fastgshare.scheduler.core.policies.pool import Equals, Pool, pooled_rps
from fastgshare.scheduler.core.policies.port import Member, Numbers, Question
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.tables import Table
from tests.scheduler.core.policy_world import wanted
from tests.scheduler.core.tables import CHUNKS, V100, curve, table
from tests.scheduler.core.world import World, spec


def question(policy: str, *held: tuple[int, float], need_rps: float, lasting_rps: float | None = None) -> Question:
    """About ready replicas of these widths and quotas, numbered from 0."""
    read = Table.of(table(curve("resnet50"), "m"))
    assert read is not None
    menu = menu_of(read, wanted(policy), CHUNKS, Settings())
    options = [menu.held(percent, width / CHUNKS, quota) for percent, width, quota in map(widened, held)]
    members = tuple(
        Member(str(number), slice_of(option, menu.spec), option, True, (3, -number), True)
        for number, option in enumerate(options)
    )
    lasting = need_rps if lasting_rps is None else lasting_rps
    return Question(policy, members, menu, menu.spec.slice, 0.2, Numbers(1, 20, need_rps, lasting))


def widened(held: tuple[int, float]) -> tuple[int, int, float]:
    width, quota = held
    return percent_of(width, CHUNKS), width, quota


def test_the_papers_way_up_is_efficient_slices_and_the_smallest_for_the_rest() -> None:
    """One chunk at 0.4 does 19.8/s by the table: two of them in 50/s, and the rest of 10.5/s fits the same shape."""
    answer = POLICIES["paper"].answer(question("paper", need_rps=50))
    assert [(held.sm_partition, held.quota_request) for held in answer.add] == [(6, 0.4)] * 3
    assert answer.hold == {}
    assert answer.drop == []


def test_the_papers_way_down_is_by_ascending_throughput_per_resource() -> None:
    """The widest does least for its size, and goes first; what stays must be no less than the demand."""
    asked = question("paper", (1, 0.4), (16, 0.4), (2, 0.4), need_rps=40)
    assert POLICIES["paper"].answer(asked).drop == ["1"]
    few = question("paper", (1, 0.4), (16, 0.4), (2, 0.4), need_rps=15)
    assert POLICIES["paper"].answer(few).drop == ["1", "2"]


@pytest.mark.parametrize(("need_rps", "expected"), [(50, [0.8]), (80, [1.0]), (160, [1.0, 0.8])])
def test_time_sharing_takes_whole_devices_and_the_smallest_quota_for_the_rest(
    need_rps: float, expected: list[float]
) -> None:
    """A whole device does 112/s in batches of two; one that may be shared does 75/s in batches of one."""
    answer = POLICIES["time_sharing"].answer(question("time_sharing", need_rps=need_rps))
    assert [(held.sm_partition, held.quota_request) for held in answer.add] == [(100, quota) for quota in expected]


def test_exclusive_takes_whole_devices() -> None:
    answer = POLICIES["exclusive"].answer(question("exclusive", need_rps=120))
    assert [(held.sm_partition, held.quota_request) for held in answer.add] == [(100, 1.0)] * 2


def test_where_a_shape_does_not_fit_another_that_does_as_much_takes_its_place() -> None:
    world = World()
    world.add_node("n0", chunks=CHUNKS, memory_mib=16_384, kind=V100)
    world.lead()
    world.define(spec("g", sm=100, quota=0.5, memory_mib=100))
    world.tick()
    narrow, wide = (
        replace(wanted().slice, sm_partition=sm, quota_request=quota) for sm, quota in ((25, 1.0), (50, 0.5))
    )
    world.tell(FunctionDefined(spec(replicas=0)))
    function = world.scheduler.state.functions[FunctionName("f")]
    plan = Plan(world.scheduler.state, world.settings, world.now_us, 10)
    assert plan.place(function, replace(spec(), slice=narrow), "because", (narrow, wide))
    (placed,) = function.placed.values()
    assert placed.placement.function.slice == wide


def test_a_thousand_members_are_counted_as_groups_of_equal_ones() -> None:
    read = Table.of(table(curve("resnet50"), "m"))
    assert read is not None
    menu = menu_of(read, wanted(), CHUNKS, Settings())
    held = [menu.options[number % 60 + 20] if number % 3 == 0 else menu.tiers[0].best for number in range(1_000)]
    slow = sum(option.rates[-1] for option in held)  # so many serve together at the highest level
    assert pooled_rps(held) == pytest.approx(slow)
    pool = Pool(held)
    for option in held[:500]:
        pool.add(option, -1)
    assert pool.rps == pytest.approx(pooled_rps(held[500:]))
    assert pool.with_all([Equals(held[0], 3)]).rps == pytest.approx(pooled_rps([*held[500:], *[held[0]] * 3]))
