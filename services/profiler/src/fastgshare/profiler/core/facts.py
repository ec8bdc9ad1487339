"""What the profiler learns, in the past tense; a claim ends with `ClaimEnded`, however it ended."""

from dataclasses import dataclass

from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import FunctionSpec, LoanReply, MeasureReply, NodeStatus, Profile, ReplicaStatus


@dataclass(frozen=True, slots=True)
class FunctionChanged:
    """A function was deployed or changed; None: deleted."""

    function: FunctionName
    spec: FunctionSpec | None


@dataclass(frozen=True, slots=True)
class ReplicaChanged:
    """A replica's status changed; None: gone."""

    replica: ReplicaId
    status: ReplicaStatus | None


@dataclass(frozen=True, slots=True)
class NodeHeard:
    """A node's heartbeat arrived."""

    status: NodeStatus


@dataclass(frozen=True, slots=True)
class TableSeen:
    """The stored table of a key, whoever wrote it; None: there is none."""

    key: TableKey
    table: Profile | None


@dataclass(frozen=True, slots=True)
class TableStored:
    """This profiler's table was stored."""

    key: TableKey
    table: Profile


@dataclass(frozen=True, slots=True)
class ProfileAsked:
    """Somebody asked for a function's table and waits for an answer at `reply_to`; `budget_us` 0: no bound."""

    function: FunctionName
    reply_to: str
    again: bool = False
    grid: bool = False
    budget_us: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is this profiler's alone; `table` is what is stored there now, `loan` a name no other claim has."""

    key: TableKey
    table: Profile | None
    loan: str


@dataclass(frozen=True, slots=True)
class ClaimEnded:
    """The claim was refused, lost or given back: somebody else may measure."""

    key: TableKey


@dataclass(frozen=True, slots=True)
class LoanAnswered:
    """The leading scheduler answered a wish."""

    key: TableKey
    reply: LoanReply


@dataclass(frozen=True, slots=True)
class LoanUnanswered:
    """No scheduler answered a wish."""

    key: TableKey
    loan: str
    reason: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A worker answered, with times or with a refusal."""

    key: TableKey
    ticket: int
    reply: MeasureReply


@dataclass(frozen=True, slots=True)
class MeasureUnanswered:
    """No answer came. `hung`: the worker took the request and let the time pass."""

    key: TableKey
    ticket: int
    reason: str
    hung: bool


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""


Fact = (
    FunctionChanged
    | ReplicaChanged
    | NodeHeard
    | TableSeen
    | TableStored
    | ProfileAsked
    | Claimed
    | ClaimEnded
    | LoanAnswered
    | LoanUnanswered
    | Measured
    | MeasureUnanswered
    | Ticked
)
