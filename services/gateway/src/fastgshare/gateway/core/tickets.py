"""A request inside the gateway, and what the core tells the adapters to do with it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import AttemptId, FunctionName, HostId, ReplicaId, RequestId
from fastgshare.shared.messages import FunctionLoad, Timing, TracedAttempt

JOB_DOOR = "job"
"""Where requests come in that nobody waits for: they have a deadline, and no objective."""


@dataclass(slots=True)
class Ticket:
    """One request from arrival to its last word. The payload is kept until then, to dispatch it again.

    `reply` is the subject its answer goes to; `notice` tells that the answer bypasses this gateway, so that the
    worker must report the completion. `host` binds a request whose tensors lie in that host's shared memory.
    `losses` counts the attempts that ended with their replica.

    `traceparent` is this gateway's own span, below the caller's `parent_span` if it had one; `came_by` names the door.
    Admission sets `objective_us`, until when an answer meets the function's objective. `left_us` is when the latest
    attempt left, `held_us` when the request began to wait for a replica; `lost` are the attempts that came to nothing.
    `first_us` is when the first part of an answer in parts came through this gateway, or to a caller that says so.
    """

    request_id: RequestId
    function: FunctionName
    payload: bytes
    reply: str
    deadline_us: int
    traceparent: str
    arrived_us: int
    rows: int = 1
    notice: bool = True
    host: HostId | None = None
    attempts: int = 0
    losses: int = 0
    replica: ReplicaId | None = None
    dispatched_us: int = 0
    predicted_us: int = 0
    rows_ahead: int = 0
    latest: AttemptId | None = None
    parent_span: str = ""
    came_by: str = "nats"
    objective_us: int = 0
    left_us: int = 0
    held_us: int = 0
    lost: tuple[TracedAttempt, ...] = ()
    first_us: int = 0

    def answered_us(self, end_us: int, timing: Timing | None) -> int:
        """When its caller had something: an answer in parts is judged by its first, and lasts as its author likes."""
        return self.first_us or (timing.first_us if timing is not None else 0) or end_us

    @property
    def attempt_id(self) -> AttemptId:
        """The id of the latest attempt, as `latest` has it once it is dispatched; an attempt runs at most once."""
        return AttemptId(f"{self.request_id}.{self.attempts}")

    @property
    def was_placed(self) -> bool:
        """Whether it was dispatched or held, ever."""
        return self.attempts > 0 or self.held_us > 0


class Dispatch(msgspec.Struct, frozen=True):  # one is made for every request: a struct costs a fifth of a dataclass
    """Send the ticket's payload to this replica as this attempt; the ticket itself may be further by then."""

    ticket: Ticket
    replica: ReplicaId
    attempt: AttemptId


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the ticket's caller with this error."""

    ticket: Ticket
    error: ErrorBody


@dataclass(frozen=True, slots=True)
class HandBack:
    """Tell the ticket's caller that nobody here took it, so that it asks again, elsewhere."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class RaiseDemand:
    """Ask the scheduler for a replica: `held` requests wait."""

    function: FunctionName
    held: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Tell a replica that nobody wants this attempt's answer any more."""

    replica: ReplicaId
    attempt: AttemptId


Action = Dispatch | Refuse | HandBack | RaiseDemand | Recall

Watch = Callable[[Ticket, str, int, Timing | None], None]
"""Called at a request's end: with an error code (empty: it was answered), when, and where its time on a worker went."""


@dataclass(slots=True)
class Counters:
    """What happened to one function's requests at this gateway since it started; times in microseconds."""

    arrived: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    late: int = 0
    retried: int = 0
    execute_us: int = 0
    executions: float = 0.0
    queue_us: int = 0
    success_us: int = 0
    fail_us: int = 0
    handler_us: int = 0
    batches: dict[int, list[float]] = field(default_factory=dict)
    last_us: int = 0

    def count_failure(self, elapsed_us: int) -> None:
        """A request was answered with an error, so long after it arrived."""
        self.failed += 1
        self.fail_us += elapsed_us

    def count_unanswered(self, is_late: bool) -> None:
        """A request ended without a worker's word, past its deadline or because its caller left."""
        self.failed += 1
        self.late += is_late

    def count_answer(self, timing: Timing, elapsed_us: int) -> None:
        """A request was answered, so long after it arrived; it adds its share of the batch that it ran in."""
        self.answered += 1
        self.success_us += elapsed_us
        self.queue_us += timing.queue_us + timing.token_us
        self.handler_us += timing.handler_us
        batch, execute_us = timing.batch, timing.execute_us
        share = 1 / (batch or 1)
        self.executions += share
        self.execute_us += execute_us
        row = self.batches.get(batch)
        if row is None:
            row = self.batches[batch] = [0.0, 0.0]
        row[0] += share
        row[1] += execute_us * share

    def load(self, outstanding: int, held: int) -> FunctionLoad:
        """What the scheduler needs of these, with how many are under way and how many wait now."""
        return FunctionLoad(
            arrived=self.arrived,
            answered=self.answered,
            refused=self.refused,
            failed=self.failed,
            late=self.late,
            retried=self.retried,
            outstanding=outstanding,
            held=held,
            execute_us=self.execute_us,
            executions=self.executions,
            queue_us=self.queue_us,
        )
