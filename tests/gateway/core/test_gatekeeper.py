"""The gateway's core: every request dispatched, held or refused; nothing lost with a replica; nothing hopeless kept."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Action, Dispatch, RaiseDemand, Refuse, Ticket
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import (
    AttemptId,
    DeviceId,
    Digest,
    FunctionName,
    HostId,
    NodeId,
    ReplicaId,
    RequestId,
)
from fastgshare.shared.messages import (
    Completion,
    DoneNotice,
    FunctionSpec,
    InferRequest,
    ModelRef,
    Profile,
    ProfilePoint,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
    Signature,
    SlotRef,
    Tensor,
    Timing,
)

FN = FunctionName("echo")
HOST = HostId("host-a")
DIGEST = Digest("0" * 64)
T0 = 1_000_000_000
SECOND = 1_000_000
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 4)),), outputs=(TensorSpec("y", "FP32", (-1, 4)),), batched=True
)


def spec(max_batch: int = 8, generation: int = 1) -> FunctionSpec:
    return FunctionSpec(
        name=FN, model=ModelRef(digest=DIGEST, size_bytes=1), max_batch=max_batch, generation=generation
    )


def status(name: str, state: ReplicaState = ReplicaState.READY, **fields: object) -> ReplicaStatus:
    base = ReplicaStatus(
        replica=ReplicaId(name),
        function=FN,
        generation=1,
        node=NodeId("n"),
        device=DeviceId("n-cpu0"),
        host=HOST,
        incarnation="life-1",
        state=state,
        device_kind="cpu-test",
        model_digest=DIGEST,
        signature=SIGNATURE,
        max_batch=8,
    )
    return replace(base, **fields)


def profile(us_per_row: int = 10_000) -> Profile:
    points = tuple(
        ProfilePoint(
            sm_partition=50,
            quota=1.0,
            batch=batch,
            throughput_rps=1e6 / us_per_row,
            p50_us=batch * us_per_row,
            p95_us=batch * us_per_row,
            p99_us=batch * us_per_row,
            device_us=batch * us_per_row,
            runs=10,
        )
        for batch in (1, 2, 4, 8)
    )
    return Profile(model_digest=DIGEST, device_kind="cpu-test", state=ProfileState.COMPLETE, points=points)


def request(rows: int = 1, name: str = "x", datatype: str = "FP32", slot: SlotRef | None = None) -> InferRequest:
    data = memoryview(b"" if slot else bytes(rows * 16))
    return InferRequest(1, (Tensor(name, datatype, (rows, 4), data, slot),))


def ticket(number: int, deadline_us: int = T0 + SECOND, host: HostId | None = None) -> Ticket:
    return Ticket(
        request_id=RequestId(f"r{number}"),
        function=FN,
        payload=b"",
        reply=f"inbox.{number}",
        deadline_us=deadline_us,
        traceparent="",
        arrived_us=T0,
        host=host,
    )


def weighty(light: Ticket) -> Ticket:
    """The ticket with a payload."""
    light.payload = b"payload"
    return light


def gate(*replicas: ReplicaStatus, limits: Limits | None = None) -> Gatekeeper:
    gatekeeper = Gatekeeper(limits or Limits())
    gatekeeper.function_defined(spec())
    gatekeeper.node_seen(NodeId("n"), T0)
    for replica in replicas:
        gatekeeper.replica_reported(replica, T0)
    return gatekeeper


def code(action: Action | None) -> ErrorCode:
    assert isinstance(action, Refuse)
    return action.error.code


def dispatched(actions: Iterable[Action]) -> list[str]:
    return [action.ticket.request_id for action in actions if isinstance(action, Dispatch)]


def ticked(gatekeeper: Gatekeeper, from_us: int, until_us: int) -> list[Action]:
    """What regular ticks do in that time."""
    times = range(from_us, until_us + 1, 50_000)
    return [action for now_us in times for action in gatekeeper.tick(now_us, connected=True)]


def notice(replica: str, *attempts: str, depth: int = 0, end_us: int = T0) -> DoneNotice:
    done = tuple(Completion(AttemptId(a), True, Timing(0, 0, 1000, 1), end_us) for a in attempts)
    return DoneNotice(1, ReplicaId(replica), "life-1", depth, done)


def test_an_unknown_function_is_not_found() -> None:
    assert code(Gatekeeper(Limits()).admit(ticket(1), request(), T0)) is ErrorCode.NOT_FOUND


def test_a_request_goes_to_the_ready_replica() -> None:
    action = gate(status("a"), status("b", ReplicaState.LOADING)).admit(ticket(1), request(), T0)
    assert isinstance(action, Dispatch)
    assert action.replica == "a"
    assert action.attempt == "r1.1"


def test_bad_input_is_refused_in_words_that_name_what_was_expected() -> None:
    gatekeeper = gate(status("a"))
    for bad, expected in (
        (request(name="z"), "expected inputs ['x']"),
        (request(datatype="INT8"), "expected FP32"),
        (request(rows=9), "expected 1 to 8"),
        (InferRequest(1, (Tensor("x", "FP32", (1, 4), memoryview(b"123")),)), "needs 16 bytes, got 3"),
    ):
        action = gatekeeper.admit(ticket(1), bad, T0)
        assert code(action) is ErrorCode.INVALID
        assert isinstance(action, Refuse)
        assert expected in action.error.message


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


def test_the_rows_waiting_on_a_replica_are_bounded_even_without_a_profile() -> None:
    gatekeeper = gate(status("a"), limits=Limits(rows_per_replica=3))
    actions = [gatekeeper.admit(ticket(n), request(), T0) for n in range(4)]
    assert code(actions[3]) is ErrorCode.OVERLOADED


def test_the_memory_that_payloads_take_is_bounded_and_given_back() -> None:
    gatekeeper = gate(status("a"), limits=Limits(payload_bytes=100))
    large = [ticket(n) for n in range(3)]
    for each in large:
        each.payload = bytes(40)
    assert isinstance(gatekeeper.admit(large[0], request(), T0), Dispatch)
    assert isinstance(gatekeeper.admit(large[1], request(), T0), Dispatch)
    gatekeeper.reconnected(T0)
    refused = gatekeeper.admit(large[2], request(), T0)
    assert code(refused) is ErrorCode.OVERLOADED
    assert isinstance(refused, Refuse)
    assert "80 bytes, the limit" in refused.error.message
    gatekeeper.completed(notice("a", "r0.1"), T0)
    assert isinstance(gatekeeper.admit(large[2], request(), T0), Dispatch)


def test_a_request_past_its_deadline_never_runs() -> None:
    assert code(gate(status("a")).admit(ticket(1, T0 - 1), request(), T0)) is ErrorCode.DEADLINE_EXCEEDED


def test_without_a_replica_requests_are_held_demand_is_raised_and_they_go_when_one_is_ready() -> None:
    gatekeeper = gate()
    first = gatekeeper.admit(ticket(1), request(), T0)
    assert first == RaiseDemand(FN, 1)
    assert gatekeeper.admit(ticket(2), request(), T0) is None
    actions = gatekeeper.replica_reported(status("a"), T0)
    assert dispatched(actions) == ["r1", "r2"]


def test_the_holding_queue_is_bounded() -> None:
    gatekeeper = gate(limits=Limits(held_per_function=2))
    for n in range(2):
        gatekeeper.admit(ticket(n), request(), T0)
    assert code(gatekeeper.admit(ticket(3), request(), T0)) is ErrorCode.UNAVAILABLE


def test_a_held_request_whose_deadline_passes_is_told_so() -> None:
    gatekeeper = gate()
    gatekeeper.admit(ticket(1, T0 + 10), request(), T0)
    gatekeeper.admit(ticket(2, T0 + 5), request(), T0)
    refused = [a for a in gatekeeper.tick(T0 + 20, connected=True) if isinstance(a, Refuse)]
    assert [a.error.code for a in refused] == [ErrorCode.DEADLINE_EXCEEDED] * 2
    assert gatekeeper.in_flight == 0


def test_a_function_that_failed_to_start_is_refused_with_its_reason() -> None:
    gatekeeper = gate()
    gatekeeper.admit(ticket(1), request(), T0)
    failed = status("a", ReplicaState.FAILED, reason="no such operator", signature=None)
    actions = gatekeeper.replica_reported(failed, T0)
    assert [code(a) for a in actions] == [ErrorCode.UNAVAILABLE]
    later = gatekeeper.admit(ticket(2), request(), T0)
    assert isinstance(later, Refuse)
    assert "no such operator" in later.error.message


def test_a_failed_new_generation_leaves_the_old_one_serving() -> None:
    gatekeeper = gate(status("old"))
    gatekeeper.function_defined(spec(generation=2))
    gatekeeper.replica_reported(status("new", ReplicaState.FAILED, generation=2, reason="broken"), T0)
    action = gatekeeper.admit(ticket(1), request(), T0)
    assert isinstance(action, Dispatch)
    assert action.replica == "old"


def test_beside_a_failed_generation_the_last_good_one_is_waited_for_while_its_node_starts_again() -> None:
    gatekeeper = gate(status("old"), status("new", ReplicaState.FAILED, generation=2, reason="broken"))
    gatekeeper.function_defined(spec(generation=2))
    gatekeeper.replica_removed(ReplicaId("old"), T0)
    assert gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0) == RaiseDemand(FN, 1)
    assert dispatched(gatekeeper.replica_reported(status("old", incarnation="life-2"), T0 + SECOND)) == ["r1"]
    gatekeeper.replica_removed(ReplicaId("old"), T0 + 2 * SECOND)
    gatekeeper.node_seen(NodeId("n"), T0 + 12 * SECOND)
    gone = gatekeeper.tick(T0 + 12 * SECOND, connected=True)
    assert [code(action) for action in gone if isinstance(action, Refuse)] == [ErrorCode.UNAVAILABLE]


def test_what_was_outstanding_on_a_lost_replica_goes_elsewhere_as_a_new_attempt() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.replica_reported(status("b"), T0)
    actions = gatekeeper.replica_removed(ReplicaId("a"), T0)
    assert dispatched(actions) == ["r1"]
    assert isinstance(actions[0], Dispatch)
    assert (actions[0].replica, actions[0].attempt) == ("b", "r1.2")


def test_a_replica_that_restarts_gets_its_requests_again_when_it_is_ready() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    assert gatekeeper.replica_reported(status("a", ReplicaState.LOADING, incarnation="dead"), T0) == [
        RaiseDemand(FN, 1)
    ]
    again = gatekeeper.replica_reported(status("a", incarnation="life-2"), T0)
    assert dispatched(again) == ["r1"]


def test_a_draining_replica_keeps_what_it_has_and_gets_nothing_new() -> None:
    gatekeeper = gate(status("a"), status("b"))
    gatekeeper.profile_known(profile())
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.replica_reported(status("a", ReplicaState.DRAINING), T0)
    targets = {a.replica for n in range(2, 6) if isinstance(a := gatekeeper.admit(ticket(n), request(), T0), Dispatch)}
    assert targets == {"b"}
    assert gatekeeper.in_flight == 5


def test_a_silent_node_loses_its_requests_to_another() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0)
    ticked(gatekeeper, T0, T0 + 2 * SECOND)
    gatekeeper.node_seen(NodeId("m"), T0 + 2 * SECOND)
    gatekeeper.replica_reported(status("b", node=NodeId("m"), device=DeviceId("m-cpu0")), T0 + 2 * SECOND)
    actions = ticked(gatekeeper, T0 + 2 * SECOND, T0 + 3 * SECOND)
    assert dispatched(actions) == ["r1"]
    assert isinstance(actions[0], Dispatch)
    assert actions[0].replica == "b"


def test_a_node_of_which_only_a_status_is_left_is_given_up_too() -> None:
    gatekeeper = Gatekeeper(Limits())
    gatekeeper.function_defined(spec())
    gatekeeper.replica_reported(status("a"), T0)
    assert isinstance(gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0), Dispatch)
    assert ticked(gatekeeper, T0, T0 + 3 * SECOND)[0] == RaiseDemand(FN, 1)
    assert gatekeeper.fleet.ready(FN) == []
    gatekeeper.node_seen(NodeId("n"), T0 + 3 * SECOND)
    assert dispatched(gatekeeper.tick(T0 + 3 * SECOND, connected=True)) == ["r1"]


def test_a_silent_node_stays_silent_when_the_bus_comes_back_without_it() -> None:
    gatekeeper = gate(status("a"))
    ticked(gatekeeper, T0, T0 + 3 * SECOND)
    gatekeeper.reconnected(T0 + 3 * SECOND)
    gatekeeper.replica_reported(status("b", ReplicaState.LOADING), T0 + 3 * SECOND)
    assert gatekeeper.fleet.ready(FN) == []


def test_a_gateway_that_was_late_itself_blames_nobody_for_silence() -> None:
    gatekeeper = gate(status("a"))
    ticked(gatekeeper, T0, T0 + SECOND)
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0 + SECOND)
    assert gatekeeper.tick(T0 + 9 * SECOND, connected=True) == []
    assert dispatched(ticked(gatekeeper, T0 + 9 * SECOND, T0 + 12 * SECOND)) == []
    assert gatekeeper.fleet.ready(FN) == []  # silent since then


def test_silence_says_nothing_while_the_bus_is_away() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0)
    assert gatekeeper.tick(T0 + 9 * SECOND, connected=False) == []
    assert dispatched(gatekeeper.reconnected(T0 + 9 * SECOND)) == ["r1"]
    assert gatekeeper.tick(T0 + 9 * SECOND, connected=True) == []


def test_the_same_request_sent_twice_is_dispatched_once() -> None:
    gatekeeper = gate(status("a"))
    assert isinstance(gatekeeper.admit(ticket(1), request(), T0), Dispatch)
    assert gatekeeper.admit(ticket(1), request(), T0) is None


def test_another_caller_with_the_same_request_id_is_told_and_not_left_waiting() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    other = ticket(1)
    other.reply = "inbox.other"
    assert code(gatekeeper.admit(other, request(), T0)) is ErrorCode.CONFLICT
    gatekeeper.completed(notice("a", "r1.1"), T0)
    assert gatekeeper.in_flight == 0


def test_after_a_reconnect_each_request_is_sent_again_once_however_many_replicas_there_are() -> None:
    gatekeeper = gate(status("a"), status("b"), status("c"))
    gatekeeper.profile_known(profile())
    for n in range(6):
        gatekeeper.admit(ticket(n), request(), T0)
    again = gatekeeper.reconnected(T0)
    assert sorted(dispatched(again)) == [f"r{n}" for n in range(6)]
    assert {a.ticket.attempts for a in again if isinstance(a, Dispatch)} == {2}
    assert sum(len(target.outstanding) for target in gatekeeper.fleet.ready(FN)) == 6
    hello = gatekeeper.worker_reconnected(DeviceId("n-cpu0"), T0)
    assert sorted(dispatched(hello)) == [f"r{n}" for n in range(6)]


def test_a_depth_that_nobody_corrects_any_more_does_not_keep_requests_out() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.profile_known(profile(us_per_row=10_000))
    gatekeeper.admit(ticket(0), request(), T0)
    gatekeeper.completed(notice("a", "r0.1", depth=50), T0)  # another gateway's requests
    assert code(gatekeeper.admit(ticket(1, T0 + 100_000), request(), T0)) is ErrorCode.OVERLOADED
    gatekeeper.node_seen(NodeId("n"), T0, {ReplicaId("a"): 0})
    assert isinstance(gatekeeper.admit(ticket(2, T0 + 100_000), request(), T0), Dispatch)


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


def test_tensors_in_another_hosts_memory_are_sent_for_again_inline() -> None:
    gatekeeper = gate(status("a"))
    slot = SlotRef(HostId("elsewhere"), "fastgshare-1-000000000000", 0, 16)
    action = gatekeeper.admit(ticket(1, host=HostId("elsewhere")), request(slot=slot), T0)
    assert code(action) is ErrorCode.TENSOR_UNREACHABLE


def test_where_nobody_listens_nothing_is_sent_for_a_while_and_what_was_goes_elsewhere() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0)
    gatekeeper.admit(ticket(2, T0 + 60 * SECOND), request(), T0)
    assert gatekeeper.nobody_there(RequestId("r1"), T0) == [RaiseDemand(FN, 1)]
    assert gatekeeper.nobody_there(RequestId("r2"), T0) == []  # known by now
    assert dispatched(ticked(gatekeeper, T0, T0 + SECOND // 4)) == []
    assert sorted(dispatched(ticked(gatekeeper, T0 + SECOND // 4, T0 + SECOND))) == ["r1", "r2"]
    gatekeeper.nobody_there(RequestId("r1"), T0 + SECOND)
    again = gatekeeper.worker_reconnected(DeviceId("n-cpu0"), T0 + SECOND)
    again += gatekeeper.tick(T0 + SECOND, connected=True)
    assert sorted(dispatched(again)) == ["r1", "r2"]
    for n in range(9):  # nobody has harmed them
        gatekeeper.nobody_there(RequestId("r1"), T0 + SECOND)
        fresh = gatekeeper.replica_reported(status("a", incarnation=f"life-{n}"), T0 + SECOND)
        assert sorted(dispatched(fresh)) == ["r1", "r2"]
    gatekeeper.replica_reported(status("b"), T0 + SECOND)
    assert sorted(dispatched(gatekeeper.nobody_there(RequestId("r1"), T0 + SECOND))) == ["r1", "r2"]
    gatekeeper.replica_removed(ReplicaId("a"), T0 + SECOND)
    ticked(gatekeeper, T0 + SECOND, T0 + 2 * SECOND)


def test_a_request_lost_too_often_is_given_up_with_a_reason() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0)
    for _ in range(9):
        assert dispatched(gatekeeper.reconnected(T0)) == ["r1"]  # the bus is nobody's fault, and time runs anyway
    outcomes = [gatekeeper.replica_reported(status("a", incarnation=f"life-{n}"), T0) for n in range(2, 6)]
    assert [dispatched(o) for o in outcomes] == [["r1"], ["r1"], ["r1"], []]
    assert code(outcomes[3][0]) is ErrorCode.UNAVAILABLE


def done_after(queue_us: int, attempt: str, ok: bool = True) -> DoneNotice:
    timing = Timing(queue_us, 0, 1_000, 1) if ok else Timing()
    code = "" if ok else ErrorCode.DEADLINE_EXCEEDED.value
    return DoneNotice(1, ReplicaId("a"), "life-1", 0, (Completion(AttemptId(attempt), ok, timing, T0, code),))


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


def test_a_second_send_that_crosses_the_answer_runs_nothing_again() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(notice("a", "r1.1", end_us=T0 + 5), T0 + 5)
    assert gatekeeper.admit(ticket(1), request(), T0 + 6) is None


def test_after_a_reconnect_an_answer_may_be_lost_so_a_second_send_is_served() -> None:
    gatekeeper = gate(status("a"))
    for n in (1, 2):
        gatekeeper.admit(ticket(n), request(), T0)
    gatekeeper.completed(notice("a", "r1.1", end_us=T0 + 5), T0 + 5)
    gatekeeper.reconnected(T0 + 10)
    gatekeeper.completed(notice("a", "r2.2", end_us=T0 + 6), T0 + 20)  # answered before the bus went away
    for n in (1, 2):
        assert isinstance(gatekeeper.admit(ticket(n), request(), T0 + 30), Dispatch)


def test_a_caller_whose_worker_says_nothing_is_told_after_the_deadline() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1, T0 + 100), request(), T0)
    gatekeeper.node_seen(NodeId("n"), T0 + SECOND)
    actions = gatekeeper.tick(T0 + SECOND + 200, connected=True)
    assert [code(action) for action in actions] == [ErrorCode.DEADLINE_EXCEEDED]
    assert gatekeeper.in_flight == 0


def test_the_requests_of_a_gateway_are_bounded_in_number() -> None:
    gatekeeper = gate(status("a"), limits=Limits(requests=2))
    actions = [gatekeeper.admit(ticket(n), request(), T0) for n in range(3)]
    assert code(actions[2]) is ErrorCode.OVERLOADED


class Seen:
    """What became of requests: refused, or dispatched, each attempt once and to a replica that is ready."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self.gatekeeper = gatekeeper
        self.refused: list[str] = []
        self.latest: dict[str, AttemptId] = {}
        self.attempts: set[AttemptId] = set()

    def take(self, actions: Iterable[Action | None]) -> None:
        for action in actions:
            if isinstance(action, Refuse):
                self.refused.append(action.ticket.request_id)
            elif isinstance(action, Dispatch):
                assert action.attempt not in self.attempts
                self.attempts.add(action.attempt)
                self.latest[action.ticket.request_id] = action.attempt
                assert self.gatekeeper.fleet.targets[action.replica].status.state is ReplicaState.READY


steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 40), st.integers(-5, 400)),
        st.tuples(st.just("ready"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("loading"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("gone"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("done"), st.integers(0, 40), st.integers(0, 2)),
        st.tuples(st.just("bus"), st.just(0), st.just(0)),
        st.tuples(st.just("hello"), st.just(0), st.just(0)),
        st.tuples(st.just("nobody"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("time"), st.integers(1, 300), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_every_request_is_dispatched_held_or_refused_and_none_is_kept_past_its_deadline(
    script: list[tuple[str, int, int]],
) -> None:
    gatekeeper = gate(limits=Limits(held_per_function=5, rows_per_replica=10))
    gatekeeper.profile_known(profile(us_per_row=20_000))
    now = T0
    admitted: set[str] = set()
    seen = Seen(gatekeeper)
    take, latest = seen.take, seen.latest
    for kind, a, b in script:
        gatekeeper.node_seen(NodeId("n"), now)
        if kind == "admit" and f"r{a}" not in admitted:
            admitted.add(f"r{a}")
            take([gatekeeper.admit(weighty(ticket(a, now + b * 1000)), request(), now)])
        elif kind == "ready":
            take(gatekeeper.replica_reported(status(f"p{a}", incarnation=f"i{b}"), now))
        elif kind == "loading":
            take(gatekeeper.replica_reported(status(f"p{a}", ReplicaState.LOADING, incarnation=f"i{b}"), now))
        elif kind == "gone":
            take(gatekeeper.replica_removed(ReplicaId(f"p{a}"), now))
        elif kind == "done" and f"r{a}" in latest:
            gatekeeper.completed(notice(f"p{b}", latest[f"r{a}"]), now)
        elif kind == "bus":
            take(gatekeeper.reconnected(now))
        elif kind == "hello":
            take(gatekeeper.worker_reconnected(DeviceId("n-cpu0"), now))
        elif kind == "nobody":
            take(gatekeeper.nobody_there(RequestId(f"r{a}"), now))
        elif kind == "time":
            now += a * 1000
            take(gatekeeper.tick(now, connected=True))
        for target in gatekeeper.fleet.targets.values():
            assert target.outstanding_rows == sum(t.rows for t in target.outstanding.values()) <= 10
    now += 3 * SECOND
    gatekeeper.node_seen(NodeId("n"), now)
    take(gatekeeper.tick(now, connected=True))
    assert gatekeeper.in_flight == gatekeeper._ledger.payload_bytes == 0
    assert len(seen.refused) == len(set(seen.refused))
    assert admitted == set(seen.refused) | set(latest)
