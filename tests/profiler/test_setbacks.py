"""Workers that refuse, fail or drift: what is tried again, how often, and what is believed."""

import pytest

from fastgshare.profiler.core import facts
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import MeasureReply, ProfileState
from tests.profiler.samples import replica_status, times
from tests.profiler.world import World

BUSY = MeasureReply(error=ErrorBody(ErrorCode.UNAVAILABLE, "the replica is draining"))
BROKEN = MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "Reshape: dimension mismatch"))


def test_a_worker_that_cannot_now_is_asked_again_later(paused: World) -> None:
    paused.answer(BUSY)
    assert not paused.shared.claims, "meanwhile others may use the device"
    paused.run(3)
    paused.answer(times(1))
    assert [point.batch for point in paused.table().points] == [1]


def test_a_model_that_fails_thrice_is_believed_and_not_tried_again(paused: World) -> None:
    paused.answer(times(1))
    for _ in range(3):
        paused.answer(BROKEN)
        paused.run(3)
    paused.run(60)
    table = paused.table()
    assert table.state is ProfileState.FAILED
    assert table.reason == ("batch 2 could not be measured in 3 attempts: model_failed: Reshape: dimension mismatch")
    assert [point.batch for point in table.points] == [1], "what was measured stays"
    assert not paused.pending
    assert [tell.kind for tell in paused.told] == ["profile_started", "profile_failed"]


@pytest.mark.parametrize(
    "reply", [BUSY, BROKEN, MeasureReply(), MeasureReply(error=ErrorBody(ErrorCode.INTERNAL, "?"))]
)
def test_a_worker_that_never_measures_fails_the_table_in_bounded_time(reply: MeasureReply) -> None:
    world = World(worker=lambda measure: reply)
    world.deploy()
    world.report()
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


def test_a_point_that_succeeds_wipes_out_earlier_trouble(paused: World) -> None:
    for batch in (1, 2, 4, 8):
        paused.answer(BROKEN)
        paused.run(3)
        paused.answer(times(batch))
    assert paused.table().state is ProfileState.COMPLETE


def drifting(first_us: int, then_us: int) -> MeasureReply:
    return MeasureReply(execute_us=(first_us,) * 10 + (then_us,) * 10, chunks=1, total_chunks=2)


def test_a_point_that_did_not_settle_is_measured_once_more_and_the_settled_one_kept(paused: World) -> None:
    paused.answer(drifting(500, 1_000))
    assert paused.batches() == [1, 1]
    assert paused.table().points == ()
    paused.answer(times(1))
    assert paused.batches() == [1, 1, 2]
    assert [(point.p50_us, point.settled) for point in paused.table().points] == [(1_000, True)]


def test_of_two_points_that_did_not_settle_the_less_disturbed_is_kept(paused: World) -> None:
    paused.answer(drifting(1_000, 1_200))
    paused.answer(drifting(1_000, 9_000))
    assert paused.batches() == [1, 1, 2]
    assert [(point.p99_us, point.settled) for point in paused.table().points] == [(1_200, False)]


def test_a_point_interrupted_in_its_second_try_has_two_tries_again(paused: World) -> None:
    paused.answer(drifting(1_000, 1_200))
    paused.lose("echo-g1-000001")
    paused.report(replica_status("echo-g1-000002"))
    paused.run(3)
    paused.answer(drifting(1_000, 1_300))
    assert paused.batches() == [1, 1, 1, 1]
