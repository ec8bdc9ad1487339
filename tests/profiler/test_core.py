"""When a table is measured, on what, what interrupts it, and how it ends: scenarios over the pure core."""

import itertools

import pytest
from msgspec.structs import replace

from fastgshare.profiler.core import facts
from fastgshare.profiler.core.keys import TableKey, key_for, key_of
from fastgshare.profiler.core.plan import Plan, axes_for
from fastgshare.profiler.core.points import point_from
from fastgshare.shared.messages import (
    LoanReply,
    LoanState,
    LoanWish,
    Profile,
    ProfileAxes,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
)
from tests.profiler.samples import (
    DIGEST,
    OTHER_DIGEST,
    WHOLE,
    device_status,
    function_spec,
    replica_status,
    times,
)
from tests.profiler.world import Shared, World, lends, silent, waits


def states(shared: Shared) -> list[ProfileState]:
    return [table.state for table in shared.history]


# By itself


def test_a_new_model_is_measured_as_soon_as_there_is_a_slice_for_it(world: World) -> None:
    world.deploy()
    world.run(3)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert table.axes == axes_for(2, 2)
    assert table.axes is not None
    assert len(table.surface) == len(
        list(itertools.product(table.axes.sm_partitions, table.axes.quotas, table.axes.batches))
    )
    assert not Plan(table.axes, 1_000_000).survey(table.points).due
    assert len(set(world.settings())) == len(world.settings()) == len(table.points)
    assert table.reason == ""


def test_the_whole_device_comes_first(paused: World) -> None:
    (measure,) = paused.pending
    request = measure.request
    assert (request.batch, request.chunks, request.quota) == (1, 2, 1.0)
    assert (request.budget_ms, request.open_ms, request.slowest_ms, request.precision) == (600, 800, 10_000, 0.03)
    assert measure.timeout_ms > request.budget_ms + request.open_ms + request.slowest_ms
    paused.answer_well()
    assert paused.pending[0].timeout_ms < measure.timeout_ms, "as it is known how long a batch takes"


def test_each_setting_is_asked_for_with_a_seed_of_its_own(world: World) -> None:
    world.deploy()
    world.run(3)
    seeds = [measure.request.seed for measure in world.measured]
    assert len(set(seeds)) == len(seeds)
    again = World()
    again.run(0.4)
    again.deploy()
    again.run(3)
    assert [measure.request.seed for measure in again.measured] == seeds


def test_the_table_grows_version_by_version_and_is_complete_with_its_last_point(world: World) -> None:
    world.deploy()
    world.run(3)
    counts = [len(table.points) for table in world.shared.history]
    assert counts == list(range(len(world.table().points) + 1))
    assert states(world.shared) == [ProfileState.MEASURING] * (len(counts) - 1) + [ProfileState.COMPLETE]
    versions = [table.table_version for table in world.shared.history]
    assert versions == sorted(set(versions))
    assert world.table().wall_ms == pytest.approx(sum(point.wall_ms for point in world.table().points))
    assert all(table.surface for table in world.shared.history if table.points)


def test_start_and_end_are_told(world: World) -> None:
    world.deploy()
    world.run(3)
    assert [tell.kind for tell in world.told] == ["profile_started", "profile_complete"]
    assert {tell.function for tell in world.told} == {"echo"}
    assert world.told[-1].fields["points"] == len(world.table().points)


def test_a_complete_table_is_left_alone_and_identical_models_share_it(world: World) -> None:
    world.deploy()
    world.run(3)
    count = len(world.measured)
    world.deploy(function_spec("twin"))
    world.run(10)
    assert len(world.measured) == count


def test_a_twin_that_takes_larger_batches_adds_points_to_the_table(world: World) -> None:
    world.deploy()
    world.run(3)
    before = world.points()
    world.measured.clear()
    world.deploy(function_spec("twin", max_batch=4))
    world.run(3)
    assert world.wishes[-1].function == "twin"
    table = world.table()
    assert table.axes == axes_for(2, 4)
    assert table.state is ProfileState.COMPLETE
    assert world.settings()
    assert not set(world.settings()) & set(before)
    assert world.points().items() >= before.items()


def test_batches_that_outlast_the_objective_are_left_out_until_somebody_has_more_time(world: World) -> None:
    world.worker = lambda measure: times(measure, fixed_us=0, per_input_us=10_000)
    world.deploy(function_spec(slo_ms=25, max_batch=8))
    world.run(10)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert table.axes is not None
    assert table.axes.batches == (1, 2)
    assert (table.max_batch, table.objective_us) == (8, 25_000)
    wishes = len(world.wishes)
    world.run(10)
    assert len(world.wishes) == wishes
    world.deploy(function_spec("patient", slo_ms=1_000, max_batch=8))
    world.run(10)
    assert world.table().axes == axes_for(2, 8)
    assert len(world.wishes) > wishes


def test_a_model_that_takes_one_input_at_a_time_has_axes_of_one_batch_for_good(world: World) -> None:
    world.lent_max_batch = 1
    world.deploy()
    world.run(3)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert table.axes == axes_for(2, 1)
    assert table.max_batch == 2, "what it was completed for"
    assert table.reason == "the model takes one input at a time"
    wishes = len(world.wishes)
    successor = World(world.shared)
    successor.run(10)
    assert not successor.measured
    world.run(10)
    assert len(world.wishes) == wishes, "and nobody looks again"


def test_a_replica_of_an_older_generation_says_nothing_of_the_models_batches(world: World) -> None:
    world.lent_state = ReplicaState.LOADING
    world.deploy(function_spec(max_batch=4, generation=2))
    world.run(0.4)
    world.lent_state = ReplicaState.READY
    world.change_lent(state=ReplicaState.READY, generation=1, max_batch=2)
    assert world.table().reason == ""
    world.run(3)
    assert world.table().axes == axes_for(2, 4), "measured on the next"


def test_each_kind_of_device_has_a_table_of_its_own_and_all_are_measured_side_by_side() -> None:
    world = World(worker=silent)
    world.devices = (
        device_status(),
        device_status("node-0-sim0", "sim", chunks=4),
        device_status("x", "x", healthy=False),
    )
    world.deploy()
    world.run(0.4)
    assert {wish.device_kind for wish in world.wishes} == {"cpu", "sim"}
    assert len(world.pending) == 2


def test_no_more_is_wished_for_at_a_time_than_there_are_devices(world: World) -> None:
    world.worker = silent
    for name, digest in (("one", DIGEST), ("two", OTHER_DIGEST)):
        world.deploy(function_spec(name, digest))
    world.run(3)
    assert len({wish.loan for wish in world.wishes}) == 1
    world.devices = (device_status(), device_status("node-0-cpu1"))
    world.run(1)
    assert len({wish.loan for wish in world.wishes}) == 2


def test_nothing_is_measured_where_no_device_is_or_for_nobody(world: World) -> None:
    world.run(5)
    assert not world.wishes, "no function"
    silent_node = World()
    silent_node.deploy()
    silent_node.tell(facts.Ticked())
    assert not silent_node.wishes, "no device"
    silent_node.beat()
    silent_node.now_us += 60_000_000
    silent_node.tell(facts.Ticked())
    assert not silent_node.wishes, "no heartbeats"


def test_a_device_that_calls_itself_something_fancy_still_has_a_key() -> None:
    kind = "NVIDIA H200 (MIG 1g.18gb)"
    world = World()
    world.devices = (device_status(kind=kind),)
    world.deploy()
    world.run(3)
    (table,) = world.shared.tables.values()
    assert table.device_kind == kind
    (key,) = world.shared.tables
    assert key.partition(".")[2] == "NVIDIA_H200__MIG_1g_18gb_"


# Loans


def test_the_wish_is_repeated_for_as_long_as_the_slice_is_needed(paused: World) -> None:
    paused.run(3)
    assert 5 <= len(paused.wishes) <= 7
    assert len({wish.loan for wish in paused.wishes}) == 1
    assert not any(wish.over or wish.asked for wish in paused.wishes)


def test_each_claim_has_a_loan_of_its_own(paused: World) -> None:
    paused.lose_claim()
    paused.run(3)
    assert len({wish.loan for wish in paused.wishes}) == 2


def test_a_slice_counts_from_when_its_replica_is_ready(world: World) -> None:
    world.lent_state = ReplicaState.LOADING
    world.deploy()
    world.run(30)
    assert not world.measured
    world.change_lent(state=ReplicaState.READY)
    assert world.measured


def test_a_replica_that_never_is_ready_is_given_back(world: World) -> None:
    world.lent_state = ReplicaState.LOADING
    world.deploy()
    world.run(310)
    assert len({wish.loan for wish in world.wishes}) == 2


def test_what_cannot_be_lent_now_is_wished_for_later_and_later(world: World) -> None:
    world.scheduler = waits
    world.deploy()
    world.run(4)
    assert len({wish.loan for wish in world.wishes}) == 1
    world.run(60)
    assert 3 <= len({wish.loan for wish in world.wishes}) <= 5
    assert not world.shared.claims, "and between that nobody is kept from it"
    world.scheduler = lends
    world.run(90)
    assert world.table().state is ProfileState.COMPLETE


def test_a_scheduler_that_does_not_answer_is_asked_again(world: World) -> None:
    world.scheduler = lambda wish: None
    world.deploy()
    world.run(2)
    world.scheduler = lends
    world.run(3)
    assert world.table().state is ProfileState.COMPLETE


def test_one_that_does_not_answer_while_it_is_measured_stops_nothing(paused: World) -> None:
    paused.scheduler = lambda wish: None
    paused.run(10)
    assert paused.pending


@pytest.mark.parametrize("state", [LoanState.WAITING, LoanState.REFUSED])
def test_a_slice_wanted_back_is_given_back_and_measuring_goes_on_later(paused: World, state: LoanState) -> None:
    paused.answer_well()
    paused.scheduler = lambda wish: LoanReply(loan=wish.loan, state=state, reason="its memory is needed")
    paused.run(1)
    assert not paused.pending
    assert not paused.shared.claims
    assert paused.table().state is ProfileState.MEASURING
    paused.scheduler = lends
    paused.run(4)
    assert not paused.pending, "not at once"
    paused.run(4)
    assert paused.pending
    assert WHOLE not in paused.settings()[1:]
    assert [tell.kind for tell in paused.told] == ["profile_started"], "told once, not at every pause"


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_lent_replica_that_leaves_is_given_up_without_blame(paused: World, is_gone: bool) -> None:
    for _ in range(10):
        lent = paused.lent()
        if is_gone:
            paused.lose(lent.replica)
        else:
            paused.report(replace(lent, state=ReplicaState.DRAINING))
        assert not paused.pending
        paused.run(100)
    assert paused.pending
    assert paused.table().state is ProfileState.MEASURING


def test_answers_to_other_wishes_count_for_nothing(world: World) -> None:
    world.scheduler = waits
    world.deploy()
    world.run(0.4)
    (key,) = world.shared.claims
    world.tell(facts.LoanAnswered(key, LoanReply(loan="another", state=LoanState.REFUSED)))
    world.report(replica_status(loan="another"))
    assert not world.measured


def test_a_function_deleted_meanwhile_is_measured_no_more(paused: World) -> None:
    del paused.shared.functions["echo"]
    paused.tell(facts.FunctionChanged(function_spec().name, None))
    paused.run(0.4)
    assert not paused.shared.claims
    assert not paused.pending


def test_a_slice_with_another_model_than_wished_for_is_given_back(world: World) -> None:
    world.lent_state = ReplicaState.LOADING
    world.deploy()
    world.run(0.4)
    world.change_lent(state=ReplicaState.READY, model_digest=OTHER_DIGEST)
    assert not world.measured
    assert not world.shared.claims


# Interruptions


def test_a_table_found_half_done_is_continued_from_its_points(paused: World) -> None:
    done = {paused.answer_well() for _ in range(3)}
    paused.kill()
    successor = World(paused.shared)
    successor.run(3)
    assert successor.table().state is ProfileState.COMPLETE
    assert not done & set(successor.settings())
    assert done <= set(successor.points())


def test_a_table_that_lacks_nothing_but_its_closing_is_closed_without_a_slice(world: World) -> None:
    world.deploy()
    world.run(3)
    key, table = next(iter(world.shared.tables.items()))
    world.kill()
    world.shared.tables[key] = replace(table, state=ProfileState.MEASURING)
    successor = World(world.shared)
    successor.run(3)
    assert successor.table().state is ProfileState.COMPLETE
    assert not successor.wishes


def test_an_answer_that_comes_after_its_replica_was_lost_counts_for_nothing(paused: World) -> None:
    late = paused.pending[0]
    paused.lose(paused.lent().replica)
    paused.tell(facts.Measured(late.key, late.ticket, times()))
    assert paused.table().points == ()


def test_a_claim_lost_in_the_middle_is_taken_up_again_from_what_is_stored(paused: World) -> None:
    first = paused.answer_well()
    second = paused.settings()[-1]
    paused.lose_claim()
    paused.run(3)
    assert paused.settings() == [first, second, second]


# What others write


def test_a_late_older_version_changes_nothing_and_a_deleted_table_is_measured_anew(world: World) -> None:
    world.deploy()
    world.run(3)
    count = len(world.measured)
    key = TableKey(next(iter(world.shared.tables)))
    world.tell(facts.TableSeen(key, world.shared.history[1]))
    world.run(3)
    assert len(world.measured) == count
    del world.shared.tables[key]
    world.tell(facts.TableSeen(key, None))
    world.run(3)
    assert len(world.measured) == 2 * count


def test_a_table_from_before_there_were_axes_is_measured_anew_unless_it_was_imported() -> None:
    old = Profile(
        model_digest=DIGEST,
        device_kind="cpu",
        state=ProfileState.COMPLETE,
        points=(point_from(WHOLE, times()),),
        table_version=7,
    )
    for table, is_measured in ((old, True), (replace(old, source="measured elsewhere"), False)):
        world = World(Shared(tables={key_of(table): table}))
        world.deploy()
        world.run(3)
        assert bool(world.measured) is is_measured
        assert world.table().state is ProfileState.COMPLETE
        assert (WHOLE in world.settings()) is is_measured


@pytest.mark.parametrize(
    "axes",
    [
        ProfileAxes(sm_partitions=(), quotas=(), batches=()),
        ProfileAxes(sm_partitions=(100, 50), quotas=(1.0,), batches=(1, 2)),
        ProfileAxes(sm_partitions=(0, 100), quotas=(1.0,), batches=(1, 2)),
    ],
)
def test_a_table_whose_axes_cannot_be_measured_along_is_measured_anew(axes: ProfileAxes) -> None:
    odd = Profile(
        model_digest=DIGEST, device_kind="cpu", state=ProfileState.COMPLETE, axes=axes, table_version=7, max_batch=2
    )
    world = World(Shared(tables={key_of(odd): odd}))
    world.deploy()
    world.run(3)
    assert world.table().state is ProfileState.COMPLETE
    assert world.table().axes == axes_for(2, 2)


def test_a_renewed_table_is_not_from_elsewhere_any_more() -> None:
    done = World()
    done.deploy()
    done.run(3)
    world = World(Shared(tables={key_of(table): replace(table, source="h200.csv") for table in [done.table()]}))
    world.deploy()
    world.run(1)
    assert (world.table().source, world.measured) == ("h200.csv", [])
    world.ask(again=True)
    world.run(3)
    assert (world.table().state, world.table().source) == (ProfileState.COMPLETE, "")


def test_an_imported_table_is_taken_as_it_is_unless_somebody_asks_for_more() -> None:
    done = World()
    done.deploy()
    done.run(3)
    world = World(Shared(tables={key_of(table): replace(table, source="h200.csv") for table in [done.table()]}))
    world.deploy(function_spec(max_batch=8))
    world.run(3)
    assert world.ask().state is ProfileState.COMPLETE
    world.run(3)
    assert world.measured == []
    world.ask(grid=True)
    world.run(3)
    assert world.table().axes == axes_for(2, 8)
    assert len(world.points()) == 2 * 5 * 4


def test_what_the_other_stored_just_before_the_claim_is_not_measured_again(world: World) -> None:
    done = World()
    done.deploy()
    done.run(3)
    world.shared.tables |= done.shared.tables
    world.deploy()
    world.run(5)
    assert not world.measured
    assert not world.shared.claims


def test_a_table_is_known_by_its_model_and_its_kind() -> None:
    status: ReplicaStatus = replica_status()
    assert key_of(status) == key_for(DIGEST, "cpu")
    wish = LoanWish(loan="x", function="echo", device_kind="cpu")
    assert wish.sm_partition == 100, "the whole device: smaller slices are parts of it"
