"""What the gateway lets in: by what replicas are expected to take, learned from what they took."""

import pytest
from msgspec.structs import replace

from fastgshare.gateway.core.tickets import Dispatch, Refuse
from fastgshare.shared import subjects
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import (
    AttemptId,
    ReplicaId,
)
from fastgshare.shared.messages import (
    Completion,
    DoneNotice,
    Profile,
    ReplicaState,
    Slice,
    Timing,
)
from tests.gateway.core.scene import (
    FN,
    SECOND,
    T0,
    code,
    dispatched,
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


def test_a_table_that_was_removed_is_forgotten_with_the_last_replica_of_its_model() -> None:
    gatekeeper = gate(status("a"))
    known = profile(us_per_row=10_000)
    key = subjects.profile_key(known.model_digest, known.device_kind)
    gatekeeper.profile_known(known)
    gatekeeper.profile_gone(key)
    assert gatekeeper.fleet._tables
    gatekeeper.fleet.remove(ReplicaId("a"))
    gatekeeper.profile_gone(subjects.profile_key(known.model_digest, "another kind"))
    assert gatekeeper.fleet._tables
    gatekeeper.profile_gone(key)
    assert not gatekeeper.fleet._tables


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


def test_each_replica_is_predicted_at_the_slice_it_holds() -> None:
    """A table of many slices: the batches of a wide replica are short, those of a narrow one long."""
    gatekeeper = gate(
        status("wide", slice=Slice(sm_partition=100, quota_limit=1.0)),
        status("narrow", slice=Slice(sm_partition=25, quota_limit=1.0)),
        status("rationed", slice=Slice(sm_partition=100, quota_limit=0.5)),
    )
    gatekeeper.profile_known(slices({(25, 0.5): 80_000, (25, 1.0): 40_000, (100, 0.5): 20_000, (100, 1.0): 10_000}))
    estimates = {replica: target.estimate for replica, target in gatekeeper.fleet.targets.items()}
    assert {replica: estimate.finish_us(0, 1) for replica, estimate in estimates.items()} == {
        "wide": 10_000,
        "narrow": 40_000,
        "rationed": 10_000,
    }
    behind_ten = {
        "wide": 10_000 + 10 * 10_000,
        "narrow": 40_000 + 10 * 40_000,
        "rationed": 10_000 + 10 * 20_000,
    }
    assert {replica: e.finish_us(10, 1) for replica, e in estimates.items()} == pytest.approx(behind_ten, abs=1)


def test_a_replica_that_is_resized_is_predicted_anew() -> None:
    gatekeeper = gate(status("a", slice=Slice(sm_partition=100, quota_limit=0.5)))
    gatekeeper.profile_known(slices({(100, 0.5): 20_000, (100, 1.0): 10_000}))
    gatekeeper.replica_reported(status("a", slice=Slice(sm_partition=100, quota_limit=1.0)), T0)
    assert gatekeeper.fleet.targets[ReplicaId("a")].estimate.finish_us(10, 1) == pytest.approx(110_000, abs=1)


def test_batches_beyond_those_of_the_replica_count_for_nothing() -> None:
    gatekeeper = gate(status("a", max_batch=1))
    table = profile(us_per_row=10_000)
    quick = replace(table.points[-1], throughput_rps=1e6)
    gatekeeper.profile_known(replace(table, points=(*table.points[:-1], quick)))
    assert gatekeeper.fleet.targets[ReplicaId("a")].estimate.finish_us(10, 1) == pytest.approx(110_000, abs=1)


def test_a_table_without_points_says_nothing() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(replace(profile(), points=()))
    assert not gatekeeper.fleet.targets[ReplicaId("a")].estimate.known
    assert isinstance(gatekeeper.admit(ticket(1, T0 + 1), request(), T0), Dispatch)


def test_no_request_goes_to_a_replica_on_loan() -> None:
    gatekeeper = gate(status("lent", loan="profiler-1"))
    gatekeeper.admit(ticket(1), request(), T0)
    assert gatekeeper.fleet.targets == {}
    assert gatekeeper.loads()[FN].held == 1
    assert dispatched(gatekeeper.replica_reported(status("a"), T0)) == ["r1"]
    gatekeeper.replica_reported(status("lent", ReplicaState.FAILED, loan="profiler-1", reason="it is broken"), T0)
    assert gatekeeper.replica_removed(ReplicaId("lent"), T0) == []
    assert [target.status.replica for target in gatekeeper.fleet.of(FN)] == ["a"]


def slices(us_per_row: dict[tuple[int, float], int]) -> Profile:
    """A table with these microseconds a row at each (SMs, quota); a batch takes what it takes at all of the time."""
    table = profile()
    points = [
        replace(
            point,
            sm_partition=sm,
            quota=quota,
            throughput_rps=1e6 / us,
            device_us=point.batch * us_per_row[sm, 1.0],
        )
        for (sm, quota), us in us_per_row.items()
        for point in table.points
    ]
    return replace(table, points=tuple(points))
