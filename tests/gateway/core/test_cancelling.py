"""Every request ends once, answered, cancelled or refused, in whatever order the world tells things; nothing leaks."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Action, Dispatch, Recall, Ticket
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import AttemptId, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages import Completion, ReplicaState, Timing
from tests.gateway.core.scene import FN, SECOND, T0, request, spec, status

STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "give up", "withdraw", "answer", "lose", "ready", "tick"]), st.integers(0, 7)),
    max_size=60,
)


def ticket(name: str, *, notice: bool = True) -> Ticket:
    return Ticket(
        request_id=RequestId(name),
        function=FN,
        payload=b"12345678",
        reply=f"inbox.{name}",
        deadline_us=T0 + 60 * SECOND,
        traceparent="",
        arrived_us=T0,
        notice=notice,
    )


class Play:
    """A gatekeeper, what it said last about each request, and how each ended."""

    def __init__(self) -> None:
        self.gatekeeper = Gatekeeper(Limits(held_per_function=4))
        self.ends: Counter[str] = Counter()
        self.codes: dict[str, str] = {}
        self.sent: dict[str, Dispatch] = {}
        self.recalled: list[Recall] = []
        self.admitted: set[str] = set()
        self.gatekeeper.watch(self.ended)
        self.gatekeeper.function_defined(spec())
        self.gatekeeper.node_seen(NodeId("n"), T0)

    def ended(self, ended: Ticket, code: str, end_us: int, timing: Timing | None) -> None:
        self.ends[ended.request_id] += 1
        self.codes[ended.request_id] = code

    def note(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Dispatch):
                self.sent[action.ticket.request_id] = action
            elif isinstance(action, Recall):
                self.recalled.append(action)

    def admit(self, name: str, *, notice: bool = True) -> None:
        action = self.gatekeeper.admit(ticket(name, notice=notice), request(), T0)
        self.admitted.add(name)
        self.note([] if action is None else [action])

    def ready(self, replica: str, life: str) -> None:
        self.note(self.gatekeeper.replica_reported(status(replica, incarnation=life), T0))


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_each_request_ends_once_and_nothing_leaks(steps: list[tuple[str, int]]) -> None:
    play = Play()
    for number, (step, which) in enumerate(steps):
        name, replica = f"r{which}", f"replica-{which % 2}"
        match step:
            case "admit":
                play.admit(f"{name}-{number}", notice=bool(which % 2))
            case "ready":
                play.ready(replica, f"life-{number}")
            case "lose":
                play.note(play.gatekeeper.replica_removed(ReplicaId(replica), T0))
            case "tick":
                play.note(play.gatekeeper.tick(T0, True))
            case _:
                names = sorted(play.admitted)
                if names:
                    act(play, step, names[which % len(names)])
    for name in play.admitted:
        play.note(play.gatekeeper.gave_up(RequestId(name), T0))
    assert play.ends == Counter(play.admitted)
    assert play.gatekeeper.in_flight == 0
    assert play.gatekeeper._ledger.payload_bytes == 0
    targets = play.gatekeeper.fleet.targets.values()
    assert all(not target.outstanding and not target.outstanding_rows for target in targets)
    assert play.gatekeeper._holding.count(FN) == 0


def act(play: Play, step: str, name: str) -> None:
    request_id = RequestId(name)
    match step:
        case "give up":
            play.note(play.gatekeeper.gave_up(request_id, T0))
        case "withdraw":
            play.note(play.gatekeeper.withdrawn(request_id, T0))
        case "answer" if name in play.sent:
            play.gatekeeper.answered(Completion(play.sent[name].attempt, True, Timing()), T0)


def test_a_dispatched_attempt_is_recalled_where_it_was_sent() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r")
    (recall,) = play.gatekeeper.withdrawn(RequestId("r"), T0)
    assert recall == Recall(ReplicaId("a"), play.sent["r"].attempt)
    assert play.codes == {"r": ErrorCode.CANCELLED}
    assert play.gatekeeper.withdrawn(RequestId("r"), T0) == []


def test_what_is_held_ends_without_a_word_to_anybody() -> None:
    play = Play()
    play.admit("r")
    assert play.gatekeeper.withdrawn(RequestId("r"), T0) == []
    assert play.codes == {"r": ErrorCode.CANCELLED}
    play.ready("a", "life")
    assert play.sent == {}


def test_nobody_on_the_bus_withdraws_what_came_by_another_door() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r", notice=False)
    assert play.gatekeeper.withdrawn(RequestId("r"), T0) == []
    assert play.ends == Counter()


def test_who_gives_up_after_the_deadline_was_not_the_one_to_cancel() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r")
    assert play.gatekeeper.gave_up(RequestId("r"), T0 + 60 * SECOND)
    assert play.codes == {"r": ErrorCode.DEADLINE_EXCEEDED}


def test_a_replica_that_is_gone_is_told_nothing() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r")
    play.note(play.gatekeeper.replica_reported(status("a", ReplicaState.FAILED), T0))
    assert not any(isinstance(action, Recall) for action in play.gatekeeper.gave_up(RequestId("r"), T0))


def test_earlier_attempts_are_recalled_where_they_may_still_run() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r")
    assert play.gatekeeper.reconnected(T0)[0] == Recall(ReplicaId("a"), AttemptId("r.1"))
    play.note(play.gatekeeper.replica_removed(ReplicaId("a"), T0))
    play.ready("b", "life")
    recalls = play.gatekeeper.withdrawn(RequestId("r"), T0)
    assert recalls == [Recall(ReplicaId("b"), AttemptId("r.3"))]  # the first two ended with a


def test_what_is_held_after_a_silence_is_recalled_too() -> None:
    play = Play()
    play.ready("a", "life")
    play.admit("r")
    play.gatekeeper.tick(T0, True)
    for after_s in range(1, 4):
        play.note(play.gatekeeper.tick(T0 + after_s * SECOND, True))
    assert play.gatekeeper.withdrawn(RequestId("r"), T0) == [Recall(ReplicaId("a"), AttemptId("r.1"))]
