"""A request for a table is answered at once, reported on while it stands, and ends with the table or a reason."""

import pytest

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.keys import key_of
from fastgshare.profiler.core.profiler import Limits
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import MeasureReply, ProfileProgress, ProfileState, ReplicaState
from fastgshare.shared.units import US_PER_S
from tests.profiler.samples import OTHER_DIGEST, function_spec, replica_status, times
from tests.profiler.world import Shared, World, silent

WAIT_S = 20


def slower(measure: do.Measure) -> MeasureReply:
    return times(measure.request.batch, fixed_us=5_000)


@pytest.fixture
def world() -> World:
    """A deployed function with a ready replica, not yet quiet."""
    world = World(limits=Limits(ready_wait_us=WAIT_S * US_PER_S))
    world.deploy()
    world.report()
    world.run(0.2)
    assert not world.measured
    return world


def complete(world: World) -> None:
    world.run(3)
    assert world.table().state is ProfileState.COMPLETE
    world.measured.clear()
    world.shared.history.clear()


def steps(reports: list[ProfileProgress]) -> list[tuple[int, int, str]]:
    return [(report.done, report.planned, report.state.value) for report in reports]


def test_a_request_is_measured_at_once_even_beside_traffic_and_reported_point_by_point(world: World) -> None:
    world.worker = silent
    world.traffic(0)
    world.traffic(1)
    answer = world.ask()
    assert (answer.state, answer.done, answer.planned) == (ProfileState.MEASURING, 0, 4)
    assert answer.left_ms == 4_000
    for batch in (1, 2, 4, 8):
        world.answer(times(batch))
    assert steps(world.reports) == [(1, 4, "measuring"), (2, 4, "measuring"), (3, 4, "measuring"), (4, 4, "complete")]
    left_ms = [report.left_ms for report in world.reports]
    assert left_ms == sorted(left_ms, reverse=True)
    assert left_ms[-1] == 0


def test_a_complete_table_answers_a_request_at_once(world: World) -> None:
    complete(world)
    answer = world.ask()
    assert (answer.state, answer.done, answer.planned) == (ProfileState.COMPLETE, 4, 4)
    world.run(5)
    assert not world.measured
    assert not world.reports


def test_asking_again_measures_everything_anew_and_points_stay_until_they_are_renewed(world: World) -> None:
    complete(world)
    world.worker = slower
    answer = world.ask(again=True)
    assert (answer.state, answer.done, answer.planned) == (ProfileState.MEASURING, 0, 4)
    assert world.batches() == [1, 2, 4, 8]
    assert [len(table.points) for table in world.shared.history] == [4] * 5
    assert [point.p50_us for point in world.table().points] == [5_100, 5_200, 5_400, 5_800]
    assert steps(world.reports)[-1] == (4, 4, "complete")
    assert world.table().wall_ms == pytest.approx(20 * (5.1 + 5.2 + 5.4 + 5.8))


def test_sizes_no_longer_worth_it_leave_a_renewed_table_when_it_is_complete(world: World) -> None:
    complete(world)
    world.deploy(function_spec(slo_ms=5.3))
    world.worker = slower
    world.ask(again=True)
    assert [point.batch for point in world.table().points] == [1, 2, 4]
    assert steps(world.reports)[-1] == (3, 3, "complete")


def test_renewing_that_was_interrupted_goes_on_where_it_was(world: World) -> None:
    complete(world)
    world.worker = silent
    world.ask(again=True)
    world.answer(times(1))
    world.lose("echo-g1-000001")
    world.report(replica_status("echo-g1-000002"))
    world.run(1)
    assert world.batches() == [1, 2, 2]
    world.worker = slower
    world.answer(times(2))
    assert world.batches() == [1, 2, 2, 4, 8]
    assert steps(world.reports)[-1] == (4, 4, "complete")


def test_a_failed_table_is_tried_again_when_somebody_asks(world: World) -> None:
    broken = MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "no"))
    world.worker = lambda measure: times(1) if measure.request.batch == 1 else broken
    assert world.ask().state is ProfileState.MEASURING
    world.run(3)
    assert steps(world.reports)[-1] == (1, 1, "failed")
    assert "batch 2" in world.reports[-1].reason
    world.measured.clear()
    world.worker = lambda measure: times(measure.request.batch)
    assert world.ask().state is ProfileState.MEASURING
    world.run(3)
    assert world.batches() == [2, 4, 8], "from the points it has"
    assert steps(world.reports)[-1] == (4, 4, "complete")


def test_an_unknown_function_is_refused_at_once(world: World) -> None:
    answer = world.ask("nobody")
    assert answer.state is ProfileState.FAILED
    assert "no function 'nobody'" in answer.reason
    world.run(5)
    assert all(report.function != "nobody" for report in world.reports)


def test_a_request_waits_for_a_ready_replica(world: World) -> None:
    world.lose("echo-g1-000001")
    answer = world.ask()
    assert (answer.state, answer.planned, answer.reason) == (
        ProfileState.MEASURING,
        4,
        "waiting for a ready replica",
    )
    world.run(WAIT_S / 2)
    world.report()
    world.run(1)
    assert world.reports[-1].state is ProfileState.COMPLETE


def test_a_request_whose_function_never_is_ready_fails_with_the_reason(world: World) -> None:
    failed = replica_status(state=ReplicaState.FAILED, reason="the model needs 9 GiB")
    world.report(failed)
    world.ask()
    world.run(WAIT_S + 1)
    assert world.reports[-1].state is ProfileState.FAILED
    assert world.reports[-1].reason == "no replica of 'echo' was ready within 20 s: the model needs 9 GiB"
    count = len(world.reports)
    world.run(5)
    assert len(world.reports) == count, "and that is the last of it"


def test_a_replica_that_vanishes_for_good_ends_the_request_but_not_the_table(world: World) -> None:
    world.worker = silent
    world.ask()
    world.answer(times(1))
    world.lose("echo-g1-000001")
    world.run(WAIT_S + 1)
    assert world.reports[-1].state is ProfileState.FAILED
    assert world.table().state is ProfileState.MEASURING


def test_a_function_deleted_meanwhile_ends_the_request(world: World) -> None:
    world.worker = silent
    world.ask()
    world.tell(facts.FunctionChanged(FunctionName("echo"), None))
    assert (world.reports[-1].state, world.reports[-1].reason) == (
        ProfileState.FAILED,
        "the function was deleted",
    )


def test_a_function_given_another_model_meanwhile_is_measured_with_that(world: World) -> None:
    world.worker = silent
    world.ask()
    world.deploy(function_spec(digest=OTHER_DIGEST, generation=2))
    new = replica_status("echo-g2-000001", digest=OTHER_DIGEST, device="node-0-cpu1")
    world.worker = lambda measure: times(measure.request.batch)
    world.report(new)
    world.run(3)
    assert world.table(new).state is ProfileState.COMPLETE
    assert world.reports[-1].state is ProfileState.COMPLETE


def test_a_standing_request_is_reported_on_even_when_nothing_happens(world: World) -> None:
    world.worker = silent
    world.ask()
    world.run(6.2)
    assert steps(world.reports) == [(0, 4, "measuring")] * 3


def test_asking_twice_joins_the_first_request(world: World) -> None:
    world.worker = silent
    world.ask()
    world.answer(times(1))
    assert (world.ask().done, world.ask().planned) == (1, 4)
    for batch in (2, 4, 8):
        world.answer(times(batch))
    assert world.batches() == [1, 2, 4, 8]
    assert [state for _, _, state in steps(world.reports)].count("complete") == 1


def test_what_is_asked_for_comes_before_what_is_due_by_itself() -> None:
    world = World(worker=silent)
    for number in range(3):
        digest = Digest(f"{number:064}")
        world.deploy(function_spec(f"f{number}", digest))
        world.report(replica_status(f"f{number}-g1-000001", f"f{number}", digest))
    world.run(0.2)
    world.ask("f2")
    assert [measure.replica for measure in world.pending] == ["f2-g1-000001"]


def test_a_function_on_two_kinds_of_device_is_done_when_both_tables_are(world: World) -> None:
    other = replica_status("echo-g1-000009", device="node-0-sim0", device_kind="sim")
    world.report(other)
    answer = world.ask()
    assert (answer.done, answer.planned) == (0, 8)
    world.run(3)
    assert world.table().state is world.table(other).state is ProfileState.COMPLETE
    assert steps(world.reports)[-1] == (8, 8, "complete")
    assert [state for _, _, state in steps(world.reports)].count("complete") == 1


def test_a_table_that_another_profiler_measures_satisfies_the_request_too() -> None:
    shared = Shared()
    measuring, asked = World(shared, worker=silent), World(shared, worker=silent)
    for world in (measuring, asked):
        world.deploy()
        world.report()
    measuring.run(3)
    asked.run(0.2)
    assert asked.ask().state is ProfileState.MEASURING
    for batch in (1, 2, 4, 8):
        measuring.answer(times(batch))
        asked.tell(facts.TableSeen(key_of(measuring.table()), measuring.table()))
    assert not asked.measured
    assert steps(asked.reports) == [(1, 4, "measuring"), (2, 4, "measuring"), (3, 4, "measuring"), (4, 4, "complete")]
