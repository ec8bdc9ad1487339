"""How requests end: each once, in the books, before those that watch, and in what its replica's estimate learns.

Time is an argument in Unix microseconds.
"""

from fastgshare.gateway.core import refusals
from fastgshare.gateway.core.coldstart import ColdStarts
from fastgshare.gateway.core.fleet import Fleet, Target
from fastgshare.gateway.core.holding import Holding
from fastgshare.gateway.core.ledger import Ledger
from fastgshare.gateway.core.tickets import JOB_DOOR, Action, Counters, HandBack, Recall, Refuse, Ticket, Watch
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import AttemptId, FunctionName, ReplicaId, RequestId
from fastgshare.shared.messages import Completion, ReplicaState, Timing
from fastgshare.shared.units import US_PER_MS

FORGET_AFTER_US = 1_000_000
MAX_RECALLS = 4
HANDED_BACK = "handed_back"


class Ends:
    """Closes tickets of one gatekeeper, whose parts these are."""

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        holding: Holding,
        counters: dict[FunctionName, Counters],
        cold_starts: ColdStarts,
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._holding = holding
        self._counters = counters
        self._cold_starts = cold_starts
        self._watches: tuple[Watch, ...] = ()

    def watch(self, watch: Watch) -> None:
        """Tell `watch` of every request's end, once each."""
        self._watches += (watch,)

    def give_up(self, request_id: RequestId, now_us: int, timed_out: bool) -> list[Action]:
        """Nobody waits for it any more: its attempts are recalled. Fine if it has ended.

        `timed_out`: its caller was told that its deadline passed, which timers may do a little early by this clock.
        """
        ticket = self._ledger.close(request_id)
        if ticket is None:
            return []
        self._detach(ticket)
        is_late = timed_out or ticket.deadline_us <= now_us
        self._counters[ticket.function].count_unanswered(is_late)
        self._tell(ticket, ErrorCode.DEADLINE_EXCEEDED if is_late else ErrorCode.CANCELLED, now_us)
        made = {lost.attempt: lost.replica for lost in ticket.lost[-MAX_RECALLS:]}
        if ticket.replica is not None and ticket.latest is not None:
            made[ticket.latest] = ticket.replica
        return [Recall(replica, attempt) for attempt, replica in made.items() if self._is_there(replica)]

    def _is_there(self, replica: ReplicaId) -> bool:
        target = self._fleet.targets.get(replica)
        return target is not None and target.status.state is not ReplicaState.FAILED

    def _tell(self, ticket: Ticket, code: str, end_us: int, timing: Timing | None = None) -> None:
        for watch in self._watches:
            watch(ticket, code, end_us, timing)

    def hand_back(self, ticket: Ticket, now_us: int) -> HandBack:
        """Nobody here took it: its caller had better ask elsewhere."""
        self._ledger.close(ticket.request_id)
        self._counters[ticket.function].refused += 1
        self._tell(ticket, HANDED_BACK, now_us)
        return HandBack(ticket)

    def refuse(self, ticket: Ticket, error: ErrorBody, now_us: int) -> Refuse:
        """It ends with an error that its caller is told."""
        self._ledger.close(ticket.request_id)
        counters = self._counters.setdefault(ticket.function, Counters())
        if ticket.came_by == JOB_DOOR and not ticket.was_placed:
            counters.arrived -= 1  # it comes back, and must not be told as demand each time
        else:
            counters.refused += 1
        counters.late += error.code is ErrorCode.DEADLINE_EXCEEDED
        self._tell(ticket, error.code, now_us)
        return Refuse(ticket, error)

    def finish(self, completion: Completion, end_us: int) -> None:
        """It was answered, or failed, and its caller knows."""
        ticket = self._ledger.close(request_of(completion.attempt))
        if ticket is None:
            return
        target = self._detach(ticket)
        counters = self._counters[ticket.function]
        elapsed_us = end_us - ticket.arrived_us if end_us > ticket.arrived_us else 0
        counters.late += end_us > ticket.deadline_us
        if self._watches:
            code = "" if completion.ok else completion.code or ErrorCode.INTERNAL
            self._tell(ticket, code, end_us, completion.timing)
        latest = target if completion.attempt == ticket.latest else None
        if not completion.ok:
            counters.count_failure(elapsed_us)
            if latest is not None and completion.code == ErrorCode.DEADLINE_EXCEEDED:
                had_us = ticket.deadline_us - ticket.dispatched_us
                latest.estimate.learn_miss(ticket.predicted_us, ticket.rows_ahead, had_us)
            return
        timing = completion.timing
        counters.count_answer(timing, elapsed_us)
        if target is not None:
            self._cold_starts.answered(ticket.function, round(target.status.load_ms * US_PER_MS), end_us)
        if latest is not None:
            latest.estimate.learn_run(timing.execute_us, timing.batch)
            latest.estimate.learn_outcome(ticket.predicted_us, ticket.rows_ahead, timing)

    def _detach(self, ticket: Ticket) -> Target | None:
        if ticket.replica is None:
            self._holding.remove(ticket)
            return None
        target = self._fleet.targets.get(ticket.replica)
        if target is not None:
            target.remove(ticket)
        return target

    def forget_overdue(self, now_us: int) -> list[Action]:
        """Drop what nobody reported in time; callers that await the worker's own answer are told."""
        actions: list[Action] = []
        for ticket in self._ledger.overdue(now_us - FORGET_AFTER_US):
            self._ledger.close(ticket.request_id)
            self._detach(ticket)
            self._counters[ticket.function].count_unanswered(is_late=True)
            self._tell(ticket, ErrorCode.DEADLINE_EXCEEDED, now_us)
            if ticket.notice:
                actions.append(Refuse(ticket, refusals.too_late(now_us - ticket.deadline_us)))
        return actions


def request_of(attempt: AttemptId) -> RequestId:
    """The request an attempt belongs to."""
    return RequestId(attempt.rpartition(".")[0])
