"""Which traces are kept: what is sampled, what missed its objective, and nothing else; each request at most once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.keeping import Keeper
from fastgshare.gateway.core.tickets import Dispatch, Ticket
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import AttemptId, GatewayId, ReplicaId, RequestId
from fastgshare.shared.messages import Completion, DoneNotice, ReplicaState, RequestTrace, Timing
from fastgshare.shared.objective import CALLERS_DOING, is_met
from fastgshare.shared.telemetry.spans_backlog import Backlog
from tests.gateway.core.scene import SECOND, T0, gate, request, spec, status, ticket

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SLO_US = round(spec().slo_ms * 1000)
PATIENCE_US = 10 * SECOND


def keeping(gatekeeper: Gatekeeper, room: int = 100) -> Keeper:
    keeper = Keeper(GatewayId("g"), gatekeeper.fleet, Backlog(room))
    gatekeeper.watch(keeper.ended)
    return keeper


def traced(number: int, sampled: bool = False, deadline_us: int = T0 + PATIENCE_US) -> Ticket:
    one = ticket(number, deadline_us)
    one.traceparent = f"00-{TRACE}-{SPAN}-0{int(sampled)}"
    return one


def all_kept(keeper: Keeper) -> list[RequestTrace]:
    return keeper.backlog.take(1000)


def end(attempt: str, end_us: int, code: str = "", timing: Timing | None = None) -> DoneNotice:
    completion = Completion(AttemptId(attempt), not code, timing or Timing(0, 0, 1000, 1), end_us, code)
    return DoneNotice(1, ReplicaId("a"), "life-1", 0, (completion,))


@pytest.mark.parametrize(("sampled", "took_us", "kept"), [(False, SLO_US, 0), (False, SLO_US + 1, 1), (True, 1, 1)])
def test_an_answer_is_kept_if_it_is_sampled_or_late(sampled: bool, took_us: int, kept: int) -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    gatekeeper.admit(traced(1, sampled), request(), T0)
    gatekeeper.completed(end("r1.1", T0 + took_us), T0 + took_us)
    found = all_kept(keeper)
    assert len(found) == kept
    for one in found:
        assert (one.trace_id, one.span_id, one.is_sampled) == (TRACE, SPAN, sampled)
        assert one.is_met is (took_us <= SLO_US)
        assert (one.outcome, one.end_us, one.objective_us) == ("answered", T0 + took_us, T0 + SLO_US)
        assert [(attempt.replica, attempt.node) for attempt in one.attempts] == [("a", "n")]


@pytest.mark.parametrize("code", [*ErrorCode])
def test_a_failure_is_kept_unless_it_is_the_callers_own_doing(code: ErrorCode) -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    gatekeeper.admit(traced(1), request(), T0)
    gatekeeper.completed(end("r1.1", T0 + 5, code), T0 + 5)
    found = all_kept(keeper)
    assert [one.is_met for one in found] == ([] if code in CALLERS_DOING else [False])


def test_a_refusal_at_the_door_is_kept_without_attempts() -> None:
    gatekeeper = gate()
    keeper = keeping(gatekeeper)
    gatekeeper.admit(traced(1, deadline_us=T0 - 1), request(), T0)  # sooner than was promised: that does not count
    gatekeeper.admit(traced(2, deadline_us=T0 + SECOND), request(), T0)
    gatekeeper.tick(T0 + SECOND, connected=True)
    assert [(one.request, one.outcome, one.attempts) for one in all_kept(keeper)] == [
        ("r2", "deadline_exceeded", ()),
    ]


def test_what_was_held_and_lost_is_told() -> None:
    gatekeeper = gate()
    keeper = keeping(gatekeeper)
    gatekeeper.admit(traced(1, sampled=True), request(), T0)
    gatekeeper.replica_reported(status("a"), T0 + 100)
    gatekeeper.replica_reported(status("b", ReplicaState.LOADING), T0 + 150)
    gatekeeper.replica_reported(status("a", incarnation="life-2"), T0 + 200)
    gatekeeper.completed(end("r1.2", T0 + 300), T0 + 300)
    (one,) = all_kept(keeper)
    assert one.held_us == T0
    assert [(attempt.attempt, attempt.sent_us, attempt.lost_us) for attempt in one.attempts] == [
        ("r1.1", T0 + 100, T0 + 200),
        ("r1.2", T0 + 200, 0),
    ]


def test_a_request_that_ends_after_its_loss_has_no_attempt_that_stands() -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    gatekeeper.admit(traced(1, sampled=True), request(), T0)
    gatekeeper.replica_removed(ReplicaId("a"), T0 + 10)
    gatekeeper.gave_up(RequestId("r1"), T0 + 20)
    (one,) = all_kept(keeper)
    assert [attempt.lost_us for attempt in one.attempts] == [T0 + 10]
    assert (one.outcome, one.is_met) == ("cancelled", None)


@pytest.mark.parametrize("notice", [True, False])
def test_an_answer_in_parts_is_judged_by_its_first(notice: bool) -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    for number, first_us in ((1, T0 + SLO_US), (2, T0 + SLO_US + 1)):
        one = traced(number)
        one.notice = notice
        gatekeeper.admit(one, request(), T0)
        one.first_us = 0 if notice else first_us
        timing = Timing(0, 0, 1000, 1, first_us=first_us if notice else T0 + SECOND)
        gatekeeper.completed(end(f"r{number}.1", T0 + SECOND, timing=timing), T0 + SECOND)
    (one_kept,) = all_kept(keeper)
    assert (one_kept.request, one_kept.first_us, one_kept.is_met) == ("r2", T0 + SLO_US + 1, False)


def test_who_leaves_after_the_objective_missed_it() -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    for number, left_us in ((1, T0 + SLO_US), (2, T0 + SLO_US + 1)):
        gatekeeper.admit(traced(number), request(), T0)
        gatekeeper.gave_up(RequestId(f"r{number}"), left_us)
    assert [(one.request, one.outcome, one.is_met) for one in all_kept(keeper)] == [("r2", "cancelled", False)]


def test_a_full_backlog_drops_samples_first_and_counts() -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper, room=8)
    for number in range(8):
        gatekeeper.admit(traced(number, sampled=True), request(), T0)
        gatekeeper.completed(end(f"r{number}.1", T0 + 1), T0 + 1)
    assert (len(keeper.backlog), keeper.backlog.dropped) == (2, 6)
    for number in range(8, 16):
        gatekeeper.admit(traced(number), request(), T0)
        gatekeeper.completed(end(f"r{number}.1", T0 + SLO_US + 1), T0 + SLO_US + 1)
    assert (len(keeper.backlog), keeper.backlog.dropped) == (8, 8)
    assert [one.is_met for one in all_kept(keeper)] == [True, True] + [False] * 6


@given(
    requests=st.lists(
        st.tuples(st.booleans(), st.integers(1, 2 * SLO_US), st.sampled_from(["", *ErrorCode])), max_size=20
    )
)
def test_every_violation_is_kept_exactly_once_and_nothing_beside_samples(
    requests: list[tuple[bool, int, str]],
) -> None:
    gatekeeper = gate(status("a"))
    keeper = keeping(gatekeeper)
    wanted: list[str] = []
    for number, (sampled, took_us, code) in enumerate(requests):
        action = gatekeeper.admit(traced(number, sampled), request(), T0)
        assert isinstance(action, Dispatch)
        notice = end(action.attempt, T0 + took_us, code)
        gatekeeper.completed(notice, T0 + took_us)
        gatekeeper.completed(notice, T0 + took_us)  # told twice, it still ended once
        is_violation = is_met(code, T0 + took_us, T0 + SLO_US, T0 + PATIENCE_US) is False
        wanted += [f"r{number}"] if sampled or is_violation else []
    assert [one.request for one in all_kept(keeper)] == wanted
