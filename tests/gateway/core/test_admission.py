"""What the gateway lets in: by what replicas are expected to take, learned from what they took."""

import pytest

from fastgshare.gateway.core.tickets import Dispatch, Refuse
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import (
    AttemptId,
    ReplicaId,
)
from fastgshare.shared.messages import (
    Completion,
    DoneNotice,
    Profile,
    Timing,
)
from tests.gateway.core.scene import (
    FN,
    SECOND,
    T0,
    code,
    done_after,
    gate,
    notice,
    profile,
    request,
    status,
    ticket,
)


def test_requests_spread_to_the_replica_expected_to_finish_first() -> None:
    gatekeeper = gate(status("a"), status("b"))
    gatekeeper.profile_known(profile())
    targets = [gatekeeper.admit(ticket(n), request(), T0) for n in range(4)]
    assert sorted(t.replica for t in targets if isinstance(t, Dispatch)) == ["a", "a", "b", "b"]


def test_what_cannot_meet_its_deadline_is_refused_at_once_with_a_time_to_retry() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=10_000))
    actions = [gatekeeper.admit(ticket(n, T0 + 55_000), request(), T0) for n in range(7)]
    assert [isinstance(action, Dispatch) for action in actions] == [True] * 5 + [False] * 2
    assert code(actions[5]) is ErrorCode.OVERLOADED
    assert isinstance(actions[5], Refuse)
    assert actions[5].error.retry_after_ms >= 1


def test_a_completion_makes_room_again() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=10_000))
    for n in range(5):
        gatekeeper.admit(ticket(n, T0 + 55_000), request(), T0)
    gatekeeper.completed(notice("a", "r0.1", depth=4), T0)
    assert isinstance(gatekeeper.admit(ticket(9, T0 + 55_000), request(), T0), Dispatch)


@pytest.mark.parametrize("table", [profile(us_per_row=10_000), None])
def test_an_idle_replica_is_tried_again_whatever_it_took_last_time(table: Profile | None) -> None:
    gatekeeper = gate(status("a"))
    if table is not None:
        gatekeeper.profile_known(table)
    now = T0
    for n in range(100):  # as when the machine was busy with something else
        gatekeeper.admit(ticket(n, now + 10 * SECOND), request(), now)
        slow = Completion(AttemptId(f"r{n}.1"), True, Timing(0, 0, 400_000, 1), now + 400_000)
        gatekeeper.completed(DoneNotice(1, ReplicaId("a"), "life-1", 0, (slow,)), now + 400_000)
        now += 400_000
    assert code(gatekeeper.admit(ticket(200, now + 50_000), request(), now)) is ErrorCode.OVERLOADED
    now += SECOND
    assert isinstance(gatekeeper.admit(ticket(201, now + 50_000), request(), now), Dispatch)


def test_an_idle_replica_is_not_tried_where_its_profile_says_that_it_never_can() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=100_000))
    assert code(gatekeeper.admit(ticket(1, T0 + 50_000), request(), T0)) is ErrorCode.OVERLOADED


def test_one_outlier_does_not_make_everything_look_slow() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=10_000))
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0)
    gatekeeper.completed(notice("a", "r1.1", end_us=T0 + 30 * SECOND), T0 + 30 * SECOND)
    assert gatekeeper.fleet.ready(FN)[0].estimate.finish_us(0, 1) <= 11_000


def test_contention_that_the_profile_does_not_know_is_learned() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=1_000))
    for n in range(100):
        gatekeeper.admit(ticket(n, T0 + SECOND), request(), T0)
        gatekeeper.completed(done_after(3_000, f"r{n}.1"), T0)
    assert 3_000 <= gatekeeper.fleet.ready(FN)[0].estimate.finish_us(0, 1) <= 5_000


def test_requests_that_expired_on_the_worker_teach_that_it_is_slow() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=1_000))
    for n in range(300):
        gatekeeper.admit(ticket(n, T0 + 10_000), request(), T0)
        gatekeeper.completed(done_after(0, f"r{n}.1", ok=False), T0)
    assert gatekeeper.fleet.ready(FN)[0].estimate.finish_us(0, 1) >= 8_000
