"""Models that fail, leak or crawl, and workers that die of them: what is tried again, and what is believed."""

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.measuring import Limits
from fastgshare.profiler.core.plan import Setting, axes_for
from fastgshare.profiler.core.points import is_too_slow
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import LoanReply, LoanState, MeasureReply, ProfileState, ReplicaState
from tests.profiler.samples import WHOLE, function_spec, setting_asked, times
from tests.profiler.world import World, lends

BUSY = MeasureReply(error=ErrorBody(ErrorCode.UNAVAILABLE, "the replica is draining"))
BROKEN = MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "Reshape: dimension mismatch"))


def test_a_worker_that_cannot_now_is_asked_again_later(paused: World) -> None:
    paused.answer(BUSY)
    assert not paused.shared.claims, "meanwhile others may use the device"
    paused.run(3)
    paused.answer_well()
    assert list(paused.points()) == [WHOLE]


def test_a_model_that_fails_on_its_samples_is_tried_thrice_and_then_left_alone(paused: World) -> None:
    for _ in range(3):
        paused.answer(BROKEN)
    paused.run(60)
    table = paused.table()
    assert table.state is ProfileState.FAILED
    assert table.reason == "the model fails on its samples: model_failed: Reshape: dimension mismatch"
    assert len(paused.measured) == 3
    assert [tell.kind for tell in paused.told] == ["profile_started", "profile_failed"]


def test_a_model_that_fails_at_larger_batches_has_a_table_of_the_smaller_ones(world: World) -> None:
    world.worker = lambda measure: BROKEN if measure.request.batch >= 4 else times(measure)
    world.deploy(function_spec(max_batch=8))
    world.run(3)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert table.axes is not None
    assert table.axes.batches[-1] < 8
    assert max(point.batch for point in table.points) < 4
    assert "failed: model_failed: Reshape: dimension mismatch" in table.reason
    asked = len(world.wishes)
    World(world.shared).run(10)
    world.run(10)
    assert len(world.wishes) == asked, "and the larger ones are not tried for ever"


def test_a_slice_on_which_it_fails_bounds_what_is_measured(world: World) -> None:
    world.worker = lambda measure: BROKEN if measure.request.chunks == 1 else times(measure)
    world.deploy()
    world.run(3)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert {point.sm_partition for point in table.points} == {100}
    assert "on 50 % of the SMs" in table.reason


def test_a_model_that_kills_its_worker_is_not_killing_it_for_ever(paused: World) -> None:
    for life in range(10):
        if paused.pending:
            paused.change_lent(incarnation=f"life {life}", state=ReplicaState.LOADING)
        paused.run(30)
    assert len(paused.measured) == 3
    table = paused.table()
    assert table.state is ProfileState.FAILED
    assert table.reason.startswith("it kills its worker: batch 1 on 100 % of the SMs for 100% of the time could not")
    assert "echo-loan-1-3 was lost" in table.reason


def play(world: World, seconds: int, kills: Callable[[Setting], bool]) -> None:
    """Workers measure, and die of the settings that kill them."""
    for _ in range(10 * seconds):
        while world.pending and not kills(setting_asked(world.pending[0].request)):
            world.answer_well()
        if world.pending:
            world.change_lent(incarnation=f"until {world.now_us}", state=ReplicaState.LOADING)
        world.run(0.2)


def test_a_batch_that_kills_its_worker_bounds_the_batches(paused: World) -> None:
    paused.deploy(function_spec(max_batch=8, generation=2))
    play(paused, 120, lambda at: at.batch >= 4)
    table = paused.table()
    assert table.state is ProfileState.COMPLETE
    assert table.axes == axes_for(2, 2)
    assert "no batches of 4 and more: batch 4 on 100 % of the SMs for 100% of the time kills its worker" in table.reason
    tried = Counter(at for at in paused.settings() if at.batch >= 4)
    assert set(tried.values()) == {3}, "each thrice, and never again, however many claims that takes"
    asked = len(paused.wishes)
    paused.run(30)
    assert len(paused.wishes) == asked


def test_a_slice_that_kills_its_worker_bounds_the_slices(paused: World) -> None:
    play(paused, 60, lambda at: at.sm_partition == 50)
    table = paused.table()
    assert table.state is ProfileState.COMPLETE
    assert {point.sm_partition for point in table.points} == {100}
    assert "on 50 % of the SMs for 100% of the time kills its worker: " in table.reason


def test_a_model_that_does_not_load_is_tried_thrice(world: World) -> None:
    world.lent_state = ReplicaState.FAILED
    world.deploy()
    world.run(60)
    assert world.shared.lent == 3
    table = world.table()
    assert (table.state, table.reason) == (ProfileState.FAILED, "it does not load: ")
    assert not world.measured


def test_a_failure_that_passes_is_waited_out(world: World) -> None:
    world.lent_state = ReplicaState.LOADING
    world.deploy()
    world.run(1)
    for _ in range(5):
        world.change_lent(state=ReplicaState.FAILED, transient=True, reason="no bus")
        world.run(10)
    assert not world.shared.tables
    world.change_lent(state=ReplicaState.READY)
    world.run(3)
    assert world.table().state is ProfileState.COMPLETE


def test_a_scheduler_that_refuses_is_believed_after_a_while(world: World) -> None:
    refusal = "device_kind is 'cpu', and the devices are none"
    world.scheduler = lambda wish: LoanReply(loan=wish.loan, state=LoanState.REFUSED, reason=refusal)
    world.deploy()
    world.run(5)
    assert not world.shared.tables, "it may not have heard of it yet"
    world.run(60)
    assert world.table().state is ProfileState.FAILED
    assert world.table().reason == f"there is no slice for it: {refusal}"
    world.scheduler = lends
    world.run(60)
    assert world.table().state is ProfileState.FAILED


@pytest.mark.parametrize(
    "reply", [BUSY, BROKEN, MeasureReply(), MeasureReply(error=ErrorBody(ErrorCode.INTERNAL, "?"))]
)
def test_a_worker_that_never_measures_fails_the_table_in_bounded_time(world: World, reply: MeasureReply) -> None:
    world.worker = lambda measure: reply
    world.deploy()
    world.run(60)
    assert world.table().state is ProfileState.FAILED
    assert world.table().reason
    assert len(world.measured) <= 10


@pytest.mark.parametrize("hung", [True, False])
def test_a_worker_that_never_answers_fails_the_table_in_bounded_time(paused: World, hung: bool) -> None:
    for _ in range(100):
        if paused.pending:
            measure = paused.pending.pop()
            paused.tell(facts.MeasureUnanswered(measure.key, measure.ticket, "no_responders", hung))
        paused.run(1)
    assert paused.table().state is ProfileState.FAILED
    assert "no_responders" in paused.table().reason
    assert paused.table().reason.startswith("slower than any budget, or it hangs: ") is hung


def test_a_point_that_succeeds_wipes_out_earlier_trouble(paused: World) -> None:
    while paused.pending:
        paused.answer(BROKEN)
        paused.answer(BROKEN)
        paused.answer_well()
    assert paused.table().state is ProfileState.COMPLETE


# Slow


def slow(limit_ms: int, world: World, fixed_us: int) -> None:
    world.core = World(limits=Limits(slowest_ms=limit_ms)).core
    world.worker = lambda measure: times(measure, fixed_us=fixed_us, per_input_us=1, runs=2)
    world.deploy()
    world.run(3)


def test_a_model_slower_than_any_budget_is_told_so(world: World) -> None:
    slow(100, world, 200_000)
    table = world.table()
    assert table.state is ProfileState.FAILED
    assert table.reason == ("slower than any budget: too slow: a batch takes 200 ms, at most 100 ms are waited for")
    assert len(world.measured) == 1


def test_slices_smaller_than_one_that_is_too_slow_are_not_tried(world: World) -> None:
    slow(100, world, 80_000)
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    too_slow = [point for point in table.points if is_too_slow(point)]
    assert too_slow
    assert not any(point.settled for point in too_slow)
    tried = [at for at in world.settings() if at.sm_partition == 50]
    for index, at in enumerate(tried):
        assert not any(at.quota <= before.quota and at.batch >= before.batch for before in tried[:index]), (
            "of a larger slice at this batch it is known already"
        )


# Memory


def test_a_model_that_leaks_is_told_so_with_numbers(world: World) -> None:
    held_mib = [100.0]

    def leaking(measure: do.Measure) -> MeasureReply:
        held_mib[0] += 40
        return times(measure, memory_mib=held_mib[0], grown_mib=40)

    world.worker = leaking
    world.deploy()
    world.run(3)
    table = world.table()
    assert table.state is ProfileState.FAILED
    assert table.reason.startswith("it leaks memory: 160 MiB more in 4 of 4 points, from 100 to ")
    assert table.points
    assert table.surface


# What did not settle


def test_a_point_that_did_not_settle_is_measured_once_more_and_the_settled_one_kept(paused: World) -> None:
    paused.answer(times(settled=False))
    assert paused.settings() == [WHOLE, WHOLE]
    assert not paused.points()[WHOLE].settled, "it is there meanwhile"
    paused.answer(times())
    assert paused.points()[WHOLE].settled
    assert paused.settings()[-1] != WHOLE


def test_of_two_points_that_did_not_settle_the_better_is_kept_and_marked(paused: World) -> None:
    paused.answer(times(settled=False))
    paused.answer(replace(times(settled=False), throughput_rps=1.0))
    point = paused.points()[WHOLE]
    assert point.throughput_rps == times().throughput_rps
    assert (point.settled, point.note) == (False, "measured twice: its times wander")
    paused.worker = times
    paused.answer_well()
    paused.run(1)
    assert paused.settings().count(WHOLE) == 2
    assert paused.table().state is ProfileState.COMPLETE


def test_a_disturbed_point_is_measured_once_more_when_the_others_are_done(paused: World) -> None:
    paused.answer(times(settled=False, disturbed=0.4))
    while paused.pending and setting_asked(paused.pending[0].request) != WHOLE:
        paused.answer_well()
    assert paused.settings()[-1] == WHOLE
    paused.answer(times(settled=False, disturbed=0.5))
    assert paused.table().state is ProfileState.COMPLETE
    assert paused.points()[WHOLE].note.startswith("measured twice: disturbed: others ran for")


def test_who_goes_on_with_a_table_gives_what_did_not_settle_its_second_try(paused: World) -> None:
    paused.answer(times(settled=False))
    paused.kill()
    successor = World(paused.shared)
    successor.run(3)
    assert successor.settings()[0] == WHOLE
    assert successor.points()[WHOLE].settled
