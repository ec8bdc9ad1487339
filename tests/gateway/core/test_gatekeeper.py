"""The gateway's core: every request dispatched, held or refused; nothing lost with a replica; nothing hopeless kept."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Action, Dispatch, HandBack, RaiseDemand, Recall, Refuse
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import (
    AttemptId,
    DeviceId,
    HostId,
    NodeId,
    ReplicaId,
    RequestId,
)
from fastgshare.shared.messages import (
    InferRequest,
    ReplicaState,
    SlotRef,
    Tensor,
)
from tests.gateway.core.scene import (
    FN,
    SECOND,
    T0,
    code,
    dispatched,
    gate,
    notice,
    profile,
    request,
    spec,
    status,
    ticked,
    ticket,
    weighty,
)


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


def test_a_function_scaled_to_zero_is_refused_at_once() -> None:
    gatekeeper = gate()
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.function_defined(replace(spec(), replicas=0))
    later = gatekeeper.admit(ticket(2), request(), T0)
    assert code(later) is ErrorCode.UNAVAILABLE
    assert isinstance(later, Refuse)
    assert "scaled to 0" in later.error.message
    assert [code(action) for action in gatekeeper.tick(T0, connected=True)] == [ErrorCode.UNAVAILABLE]


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
    assert actions[0] == Recall(ReplicaId("a"), AttemptId("r1.1"))  # where it is silent to us alone
    assert isinstance(actions[1], Dispatch)
    assert actions[1].replica == "b"


def test_a_node_of_which_only_a_status_is_left_is_given_up_too() -> None:
    gatekeeper = Gatekeeper(Limits())
    gatekeeper.function_defined(spec())
    gatekeeper.replica_reported(status("a"), T0)
    assert isinstance(gatekeeper.admit(ticket(1, T0 + 60 * SECOND), request(), T0), Dispatch)
    assert ticked(gatekeeper, T0, T0 + 3 * SECOND)[1] == RaiseDemand(FN, 1)
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
    assert {a.attempt for a in again if isinstance(a, Recall)} == {f"r{n}.1" for n in range(6)}  # it may run there
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


def test_a_caller_that_sends_again_what_was_answered_did_not_get_the_answer() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.completed(notice("a", "r1.1", end_us=T0 + 5), T0 + 5)
    assert isinstance(gatekeeper.admit(ticket(1), request(), T0 + 6), Dispatch)


def test_a_gateway_that_stops_hands_back_what_waits_and_keeps_what_is_under_way() -> None:
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    gatekeeper.replica_reported(status("a", ReplicaState.DRAINING), T0)
    by_http = ticket(3)
    by_http.notice = False
    for waiting in (ticket(2), by_http):
        gatekeeper.admit(waiting, request(), T0)
    assert [type(action) for action in gatekeeper.stop(T0)] == [HandBack]
    assert gatekeeper.in_flight == 2
    assert isinstance(gatekeeper.admit(ticket(4), request(), T0), HandBack)
    assert [type(action) for action in gatekeeper.replica_removed(ReplicaId("a"), T0)] == [HandBack]
    assert gatekeeper.in_flight == 1
    assert dispatched(gatekeeper.replica_reported(status("b"), T0)) == ["r3"]


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


def test_whose_deadline_passed_was_late_whoever_noticed() -> None:
    gatekeeper = gate(status("a"))
    for number in (1, 2, 3):
        gatekeeper.admit(ticket(number), request(), T0)
    gatekeeper.gave_up(RequestId("r1"), T0 + 10)
    assert gatekeeper.counters[FN].late == 0
    gatekeeper.gave_up(RequestId("r2"), T0 + SECOND)
    assert gatekeeper.counters[FN].late == 1
    ticked(gatekeeper, T0 + SECOND, T0 + 4 * SECOND)
    assert (gatekeeper.counters[FN].late, gatekeeper.counters[FN].failed) == (2, 3)
