"""A request for a table is answered at once, reported on while it stands, and ends with the table or a reason."""

import itertools

import pytest

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.measuring import Limits
from fastgshare.profiler.core.plan import axes_for
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import LoanReply, LoanWish, MeasureReply, ProfileProgress, ProfileState
from fastgshare.shared.units import US_PER_S
from tests.profiler.samples import OTHER_DIGEST, WHOLE, device_status, function_spec, replica_status, times
from tests.profiler.world import Shared, World, lends, silent, steady, waits

WAIT_S = 20
LATTICE = 2 * 5 * 2


def slower(measure: do.Measure) -> MeasureReply:
    return times(measure, fixed_us=5_000)


def lends_if_asked(wish: LoanWish) -> LoanReply | None:
    """A scheduler with traffic everywhere."""
    return lends(wish) if wish.asked else waits(wish)


@pytest.fixture
def world() -> World:
    """A deployed function whose table nobody has begun."""
    world = World(limits=Limits(ready_wait_us=WAIT_S * US_PER_S), scheduler=lends_if_asked)
    world.deploy()
    world.run(0.4)
    assert not world.measured
    return world


def complete(world: World) -> None:
    world.scheduler = lends
    world.run(10)
    assert world.table().state is ProfileState.COMPLETE
    world.measured.clear()
    world.shared.history.clear()


def steps(reports: list[ProfileProgress]) -> list[tuple[int, int, str]]:
    return [(report.done, report.planned, report.state.value) for report in reports]


def test_a_request_is_measured_at_once_even_beside_traffic_and_reported_point_by_point(world: World) -> None:
    world.worker = silent
    answer = world.ask(grid=True)
    assert (answer.state, answer.done, answer.planned) == (ProfileState.MEASURING, 0, LATTICE)
    assert answer.left_ms == LATTICE * 2_000
    assert answer.reason == "waiting for a slice: echo has traffic"
    world.run(0.6)
    assert world.wishes[-1].asked
    while world.pending:
        world.now_us += 50_000
        world.answer_well()
    done = [(done, planned) for done, planned, state in steps(world.reports) if state == "measuring"]
    assert {planned for _, planned in done} == {LATTICE}
    assert [done for done, _ in itertools.groupby(done)] == [(count, LATTICE) for count in range(LATTICE)]
    assert steps(world.reports)[-1] == (LATTICE, LATTICE, "complete")
    left_ms = [report.left_ms for report in world.reports if report.done]
    assert left_ms == sorted(left_ms, reverse=True)
    assert left_ms[-1] == 0
    assert next(report.left_ms for report in world.reports if report.done == LATTICE - 2) < 1_000
    assert 0.01 <= world.reports[-1].error < 0.05
    assert world.reports[-2].reason == ""


def test_the_error_told_on_the_way_is_that_of_the_end(world: World) -> None:
    """Of what is measured too: one that did not settle is not known better for that."""
    world.worker = lambda measure: times(measure, settled=measure.request.quota != 0.2)
    world.ask(grid=True)
    world.run(5)
    tables = [table for table in world.shared.history if table.points]
    errors = [max(point.throughput_error for point in table.surface) for table in tables]
    told = [report.error for report in world.reports if report.done]
    assert world.reports[-1].state is ProfileState.COMPLETE
    assert told == errors


def test_a_grid_that_leaves_out_what_takes_too_long_says_so(world: World) -> None:
    world.worker = lambda measure: times(measure, fixed_us=2_000_000, runs=3)
    world.ask(grid=True)
    world.run(300)
    table = world.table()
    left_out = sum(not point.measured for point in table.surface)
    assert table.state is ProfileState.COMPLETE
    assert left_out > 1
    assert table.reason == f"{left_out} points of the grid were left out: 8 batches would take longer than 30 s"
    assert world.reports[-1].reason == table.reason


def test_a_complete_table_answers_a_request_at_once(world: World) -> None:
    complete(world)
    answer = world.ask()
    points = len(world.points())
    assert (answer.state, answer.done, answer.planned) == (ProfileState.COMPLETE, points, points)
    world.run(5)
    assert not world.measured
    assert not world.reports


def test_asking_again_measures_everything_anew_and_points_stay_until_they_are_renewed(world: World) -> None:
    complete(world)
    before = world.points()
    world.worker = slower
    answer = world.ask(again=True)
    assert (answer.state, answer.done) == (ProfileState.MEASURING, 0)
    world.run(0.4)
    assert all(set(before) <= {(p.sm_partition, p.quota, p.batch) for p in t.points} for t in world.shared.history[:-1])
    assert all(point.device_us > before[at].device_us for at, point in world.points().items() if at in before)
    assert all(point.note == "" for point in world.points().values())
    assert world.reports[-1].state is ProfileState.COMPLETE
    assert world.table().wall_ms == pytest.approx(sum(point.wall_ms for point in world.points().values()))


def test_renewing_that_was_interrupted_goes_on_where_it_was_whoever_does(world: World) -> None:
    complete(world)
    world.worker = silent
    world.ask(again=True)
    world.run(0.4)
    renewed = {world.answer_well() for _ in range(3)}
    world.kill()
    successor = World(world.shared, worker=slower)
    successor.run(3)
    assert successor.table().state is ProfileState.COMPLETE
    assert not renewed & set(successor.settings())
    points = successor.points()
    assert all(points[at].device_us == times(at).execute_us[0] for at in renewed)
    assert all(point.device_us > 5_000 for at, point in points.items() if at not in renewed)


def test_a_grid_is_asked_for_on_top_of_what_is_there(world: World) -> None:
    complete(world)
    before = set(world.points())
    assert not world.table().is_grid
    answer = world.ask(grid=True)
    assert (answer.done, answer.planned) == (len(before), LATTICE)
    world.run(1)
    assert set(world.settings()) == set(world.points()) - before
    assert len(world.points()) == LATTICE
    assert world.table().is_grid
    assert world.ask(grid=True).state is ProfileState.COMPLETE


def test_a_budget_ends_with_what_there_is(world: World) -> None:
    world.worker = silent
    world.ask(budget_s=1)
    world.run(0.6)
    world.answer_well()
    world.now_us += 2 * US_PER_S
    world.answer_well()
    table = world.table()
    assert (table.state, len(table.points)) == (ProfileState.COMPLETE, 2)
    assert table.reason == "the time given for measuring was spent"
    assert (world.reports[-1].state, world.reports[-1].reason) == (ProfileState.COMPLETE, table.reason)
    assert len(table.surface) == LATTICE
    world.run(10)
    assert not world.pending, "and that is that"
    assert world.ask(again=True, budget_s=1).state is ProfileState.MEASURING


@pytest.mark.parametrize("grid", [False, True])
def test_whoever_asks_next_goes_on_with_a_table_that_was_cut_short(world: World, grid: bool) -> None:
    world.ask(grid=grid, budget_s=1e-6)
    world.run(1)
    assert ([*world.points()], world.table().is_grid) == ([WHOLE], grid)
    world.run(10)
    assert len(world.measured) == 1, "by itself it is not"
    world.ask(grid=grid, budget_s=1e-6)
    world.run(1)
    assert len(world.points()) == 2
    assert world.ask(grid=grid).state is ProfileState.MEASURING
    world.run(5)
    assert (world.table().state, world.table().reason) == (ProfileState.COMPLETE, "")
    assert len(world.measured) == len(world.points()) > 2
    assert world.ask(grid=grid).state is ProfileState.COMPLETE


def test_one_point_is_measured_however_small_the_budget(world: World) -> None:
    world.ask(budget_s=1e-6)
    world.run(1)
    assert [*world.points()] == [WHOLE]


def test_who_asks_without_a_budget_lifts_that_of_others(world: World) -> None:
    world.worker = silent
    world.ask(budget_s=1)
    world.ask()
    world.run(0.6)
    world.now_us += 2 * US_PER_S
    world.answer_well()
    assert world.table().state is ProfileState.MEASURING


def test_a_failed_table_is_tried_again_when_somebody_asks(world: World) -> None:
    broken = MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "no"))
    world.worker = lambda measure: broken
    world.ask()
    world.run(3)
    assert world.reports[-1].state is ProfileState.FAILED
    assert "the model fails on its samples" in world.reports[-1].reason
    world.worker = steady
    world.scheduler = lends
    world.run(60)
    assert world.table().state is ProfileState.FAILED, "by itself it is not"
    assert world.ask().state is ProfileState.MEASURING
    world.run(3)
    assert steps(world.reports)[-1][2] == "complete"


def test_an_unknown_function_is_refused_at_once(world: World) -> None:
    answer = world.ask("nobody")
    assert answer.state is ProfileState.FAILED
    assert "no function 'nobody'" in answer.reason
    world.run(5)
    assert all(report.function != "nobody" for report in world.reports)


def test_a_request_waits_for_a_slice_and_fails_with_the_schedulers_reason(world: World) -> None:
    world.scheduler = waits
    world.ask()
    world.run(WAIT_S / 2)
    assert world.reports[-1].reason == "waiting for a slice: echo has traffic"
    assert len({wish.loan for wish in world.wishes}) == 1, "without losing its place"
    world.run(WAIT_S / 2 + 1)
    last = world.reports[-1]
    assert (last.state, last.reason) == (ProfileState.FAILED, "'echo' waited 20 s for a slice: echo has traffic")
    count = len(world.reports)
    world.run(5)
    assert len(world.reports) == count, "and that is the last of it"
    assert not world.shared.tables, "which says nothing about the model"


def test_a_slice_that_comes_late_is_measured_on_however_long_that_takes(world: World) -> None:
    world.scheduler, world.worker = waits, silent
    world.ask()
    world.run(WAIT_S / 2)
    world.scheduler = lends
    for _ in range(10):
        world.run(WAIT_S / 2)
    assert world.pending
    assert world.reports[-1].state is ProfileState.MEASURING
    world.worker = steady
    world.answer_well()
    assert steps(world.reports)[-1][2] == "complete"


def test_a_request_where_no_device_is_fails(world: World) -> None:
    world.devices = ()
    world.run(3)
    assert world.ask().reason == "waiting for a device to measure on"
    world.run(WAIT_S + 1)
    assert world.reports[-1].reason == "'echo' waited 20 s for a device to measure on"


def test_a_function_deleted_meanwhile_ends_the_request(world: World) -> None:
    world.worker = silent
    world.ask()
    world.tell(facts.FunctionChanged(FunctionName("echo"), None))
    assert (world.reports[-1].state, world.reports[-1].reason) == (ProfileState.FAILED, "the function was deleted")


def test_a_function_given_another_model_meanwhile_is_measured_with_that(world: World) -> None:
    world.worker = silent
    world.ask()
    world.run(0.6)
    world.worker = steady
    world.deploy(function_spec(digest=OTHER_DIGEST, generation=2))
    world.run(3)
    assert world.table(replica_status(digest=OTHER_DIGEST)).state is ProfileState.COMPLETE
    assert world.reports[-1].state is ProfileState.COMPLETE


def test_a_standing_request_is_reported_on_even_when_nothing_happens(world: World) -> None:
    world.worker = silent
    world.ask()
    world.run(0.6)
    world.reports.clear()
    world.run(6.2)
    assert len(world.reports) == 3


def test_asking_twice_joins_the_first_request(world: World) -> None:
    world.worker = silent
    world.ask()
    world.run(0.6)
    world.answer_well()
    assert world.ask().done == 1
    world.worker = steady
    world.answer_well()
    assert len(set(world.settings())) == len(world.settings())
    assert [state for _, _, state in steps(world.reports)].count("complete") == 1


def test_what_is_measured_unasked_gives_way_to_what_is_asked_for(world: World) -> None:
    world.scheduler, world.worker = lends, silent
    world.run(1)
    assert world.pending
    world.deploy(function_spec("urgent", OTHER_DIGEST))
    world.scheduler = lambda wish: (
        waits(wish) if world.shared.loans and wish.loan not in world.shared.loans else lends(wish)
    )
    world.ask("urgent")
    world.run(1)
    assert world.reports[-1].reason == "waiting for a slice: echo has traffic"
    world.answer_well()
    world.run(1)
    assert [measure.replica for measure in world.pending] == ["urgent-loan-1-2"]
    assert len(world.points()) == 1, "and what was measured is kept"
    world.worker = steady
    world.answer_well()
    world.run(30)
    assert world.table().state is ProfileState.COMPLETE


def test_a_function_on_two_kinds_of_device_is_done_when_both_tables_are(world: World) -> None:
    world.devices = (device_status(), device_status("node-0-sim0", "sim"))
    world.beat()
    answer = world.ask(grid=True)
    assert (answer.done, answer.planned) == (0, 2 * LATTICE)
    world.run(3)
    other = replica_status(device_kind="sim")
    assert world.table().state is world.table(other).state is ProfileState.COMPLETE
    assert steps(world.reports)[-1] == (2 * LATTICE, 2 * LATTICE, "complete")
    assert [state for _, _, state in steps(world.reports)].count("complete") == 1


def test_a_table_that_another_profiler_measures_satisfies_the_request_too() -> None:
    shared = Shared()
    measuring, asked = World(shared, worker=silent), World(shared)
    measuring.deploy()
    measuring.run(0.4)
    asked.run(0.4)
    answer = asked.ask()
    assert (answer.state, answer.reason) == (ProfileState.MEASURING, "waiting for a slice: another profiler has it")
    asked.run(1)
    while measuring.pending:
        measuring.answer_well()
    assert not asked.measured
    assert asked.reports[-1].state is ProfileState.COMPLETE
    assert asked.table().axes == axes_for(2, 2)
