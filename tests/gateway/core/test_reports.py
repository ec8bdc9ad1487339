"""Reports count every request's end once: met, missed or neither, by what its caller had to do with it."""

from dataclasses import replace as replaced

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.gateway.core.ends import HANDED_BACK
from fastgshare.gateway.core.gatekeeper import LAST_COUNTS_US, Gatekeeper, Limits
from fastgshare.gateway.core.reports import STAGES, Reports
from fastgshare.gateway.core.tickets import JOB_DOOR, Refuse
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.histograms import BOUNDS_US
from fastgshare.shared.ids import AttemptId, ReplicaId, RequestId
from fastgshare.shared.messages import Completion, DoneNotice, FunctionReport, Histogram, Timing
from fastgshare.shared.objective import CALLERS_DOING
from tests.gateway.core.scene import FN, SECOND, T0, gate, request, spec, status, ticket

OBJECTIVE_US = 100_000
TIMING = Timing(queue_us=2_000, token_us=300, execute_us=5_000, batch=4, handler_us=700)


def scene(*replicas: str) -> tuple[Gatekeeper, Reports]:
    gatekeeper = gate(*(status(name) for name in replicas))
    gatekeeper.function_defined(replace(spec(), slo_ms=OBJECTIVE_US / 1000))
    reports = Reports()
    gatekeeper.watch(reports.ended)
    return gatekeeper, reports


def report(scene: tuple[Gatekeeper, Reports]) -> FunctionReport:
    gatekeeper, reports = scene
    return reports.functions(gatekeeper)[FN]


def completed(number: int, end_us: int, code: str = "", timing: Timing = TIMING) -> DoneNotice:
    completion = Completion(AttemptId(f"r{number}.1"), not code, timing, end_us, code)
    return DoneNotice(1, ReplicaId("a"), "life-1", 0, (completion,))


def counted(histogram: Histogram | None) -> int:
    assert histogram is not None
    assert len(histogram.counts) == len(BOUNDS_US) + 1
    return sum(histogram.counts)


@pytest.mark.parametrize(("took_us", "met"), [(1, 1), (OBJECTIVE_US, 1), (OBJECTIVE_US + 1, 0), (2 * SECOND, 0)])
def test_an_answer_meets_the_objective_or_misses_it(took_us: int, met: int) -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(completed(1, T0 + took_us), T0 + took_us)
    told = report(world)
    assert (told.met, told.missed, told.answered) == (met, 1 - met, 1)
    assert told.whole is not None
    assert told.whole.sum_us == took_us


def test_an_answer_counts_in_every_stage_that_it_had() -> None:
    world = gatekeeper, _ = scene("a")
    for number, timing in ((1, TIMING), (2, replace(TIMING, handler_us=0))):
        gatekeeper.admit(ticket(number), request(), T0 + 40)
        gatekeeper.completed(completed(number, T0 + 9_000, timing=timing), T0 + 9_000)
    told = report(world)
    assert {stage: counted(told.stages[stage]) for stage in STAGES} == {
        "route": 2,
        "queue": 2,
        "token": 2,
        "handler": 1,
        "execute": 2,
    }
    assert [told.stages[stage].sum_us for stage in STAGES] == [80, 4_000, 600, 700, 10_000]
    assert told.batches == {4: 0.5}


@pytest.mark.parametrize("code", [*ErrorCode])
def test_a_failure_is_missed_unless_its_caller_brought_it_about(code: ErrorCode) -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(completed(1, T0 + 10, code.value), T0 + 10)
    told = report(world)
    assert told.refused == {code.value: 1}
    assert (told.met, told.missed) == (0, code not in CALLERS_DOING)
    assert counted(told.whole) == 0


def test_what_a_worker_says_is_bounded_before_it_becomes_a_label() -> None:
    world = gatekeeper, _ = scene("a")
    for number, code in ((1, "a\nnew code"), (2, "x" * 1000)):
        gatekeeper.admit(ticket(number), request(), T0)
        gatekeeper.completed(completed(number, T0 + 10, code), T0 + 10)
    assert report(world).refused == {ErrorCode.INTERNAL.value: 2}


def test_a_negative_duration_leaves_the_stages_as_they_were() -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(completed(1, T0 - 5, timing=replace(TIMING, queue_us=-1)), T0)
    told = report(world)
    assert counted(told.whole) == told.met == 1
    assert counted(told.stages["queue"]) == counted(told.stages["execute"]) == 0


def test_an_answer_in_parts_lasts_until_its_first() -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    timing = replace(TIMING, first_us=T0 + 9_000)
    gatekeeper.completed(completed(1, T0 + SECOND // 2, timing=timing), T0 + SECOND)
    told = report(world)
    assert (told.met, told.missed) == (1, 0)
    assert told.whole is not None
    assert told.whole.sum_us == 9_000


@pytest.mark.parametrize(
    ("first_part_us", "missed"), [(None, 1), (9_000, 0), (OBJECTIVE_US, 0), (OBJECTIVE_US + 1, 1), (10**14, 1)]
)
def test_who_leaves_in_the_middle_of_its_parts_had_the_first_in_time_or_not(
    first_part_us: int | None, missed: int
) -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.withdrawn(RequestId("r1"), T0 + SECOND // 2, first_part_us)
    told = report(world)
    assert (told.met, told.missed, told.refused) == (0, missed, {ErrorCode.CANCELLED.value: 1})


def test_what_never_reached_a_replica_had_no_first_part_whatever_its_caller_says() -> None:
    world = gatekeeper, _ = scene()
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.withdrawn(RequestId("r1"), T0 + SECOND // 2, 9_000)
    assert report(world).missed == 1


def test_bad_input_is_neither_met_nor_missed() -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(name="z"), T0)
    told = report(world)
    assert (told.met, told.missed, told.refused) == (0, 0, {ErrorCode.INVALID.value: 1})


def test_what_is_handed_back_is_another_gateways_to_meet() -> None:
    world = gatekeeper, _ = scene()
    gatekeeper.admit(ticket(1), request(), T0)
    assert report(world).held == 1
    gatekeeper.stop(T0)
    told = report(world)
    assert (told.met, told.missed, told.held, told.refused) == (0, 0, 0, {HANDED_BACK: 1})


def test_a_changed_objective_counts_from_then_on() -> None:
    world = gatekeeper, _ = scene("a")
    for number, slo_ms in ((1, 10.0), (2, 1.0)):
        gatekeeper.function_defined(replace(spec(), slo_ms=slo_ms))
        gatekeeper.admit(ticket(number), request(), T0)
        gatekeeper.completed(completed(number, T0 + 5_000), T0 + 5_000)
    told = report(world)
    assert (told.met, told.missed) == (1, 1)


@given(
    st.lists(st.tuples(st.sampled_from(["answer", "fail", "leave", "bad", "late", "wait"]), st.integers(1, 300_000)))
)
def test_every_request_is_counted_exactly_once(fates: list[tuple[str, int]]) -> None:
    gatekeeper, reports = world = scene("a")
    gatekeeper = Gatekeeper(Limits()) if not fates else gatekeeper
    for number, (fate, took_us) in enumerate(fates):
        deadline_us = T0 if fate == "late" else T0 + SECOND
        gatekeeper.admit(ticket(number, deadline_us), request(name="z" if fate == "bad" else "x"), T0)
        match fate:
            case "answer":
                gatekeeper.completed(completed(number, T0 + took_us), T0 + took_us)
            case "fail":
                gatekeeper.completed(completed(number, T0 + took_us, ErrorCode.MODEL_FAILED.value), T0 + took_us)
            case "leave":
                gatekeeper.gave_up(ticket(number).request_id, T0 + took_us)
    if not fates:
        return
    told = report(world)
    ended = told.answered + sum(told.refused.values())
    assert told.arrived == len(fates) == ended + told.outstanding + told.held
    own = sum(fate in ("bad", "late") or (fate == "leave" and took_us <= OBJECTIVE_US) for fate, took_us in fates)
    waiting = told.outstanding + told.held
    assert told.met + told.missed + own + waiting == len(fates)
    assert counted(told.whole) == told.answered
    assert reports.functions(gatekeeper)[FN] == told


def test_a_report_is_made_anew_when_something_happened() -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    first = report(world)
    assert report(world) is first
    gatekeeper.completed(completed(1, T0 + 10), T0 + 10)
    second = report(world)
    assert (second.answered, second.met, second.outstanding) == (1, 1, 0)
    assert report(world) is second


def test_a_removed_function_is_told_of_for_a_while_and_as_long_as_something_of_it_is_open() -> None:
    gatekeeper, reports = scene("a")
    gatekeeper.admit(ticket(1, deadline_us=T0 + 2 * LAST_COUNTS_US), request(), T0)
    gatekeeper.function_removed(FN, T0)
    gatekeeper.tick(T0 + LAST_COUNTS_US, connected=False)
    assert list(reports.functions(gatekeeper)) == [FN]
    gatekeeper.completed(completed(1, T0 + LAST_COUNTS_US), T0 + LAST_COUNTS_US)
    gatekeeper.tick(T0 + LAST_COUNTS_US + 1, connected=False)
    assert list(reports.functions(gatekeeper)) == []
    assert (reports._tallies, gatekeeper.counters) == ({}, {})


def test_a_function_that_is_deployed_again_at_once_counts_on() -> None:
    gatekeeper, reports = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(completed(1, T0 + 1), T0 + 1)
    gatekeeper.function_removed(FN, T0 + 2)
    gatekeeper.function_defined(spec())
    gatekeeper.tick(T0 + 2 * LAST_COUNTS_US, connected=False)
    assert reports.functions(gatekeeper)[FN].answered == 1


def test_jobs_that_are_refused_or_late_leave_the_attainment_at_one() -> None:
    world = gatekeeper, _ = scene("a")
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(completed(1, T0 + 1), T0 + 1)
    late = replaced(ticket(2), came_by=JOB_DOOR)
    gatekeeper.admit(late, request(), T0)
    gatekeeper.completed(completed(2, T0 + 2 * OBJECTIVE_US), T0 + 2 * OBJECTIVE_US)
    for number in range(3, 9):
        again = replaced(ticket(number), came_by=JOB_DOOR, deadline_us=T0)
        assert isinstance(gatekeeper.admit(again, request(), T0), Refuse)
    told = report(world)
    assert (told.met, told.missed) == (1, 0)
    load = gatekeeper.loads()[FN]
    assert (load.arrived, load.refused) == (2, 0)
