"""What the profiler wants done: commands of one key in order, those of different keys side by side."""

from dataclasses import dataclass, field

from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import LoanWish, MeasureRequest, Profile, ProfileProgress


@dataclass(frozen=True, slots=True)
class Claim:
    """Make a key this profiler's alone. Leads to `Claimed` or `ClaimEnded`."""

    key: TableKey


@dataclass(frozen=True, slots=True)
class Wish:
    """Ask the leading scheduler to lend, or to go on lending, beside whatever else is done for the key.

    Leads to `LoanAnswered` or `LoanUnanswered`, or to nothing while an earlier wish is still on its way.
    """

    key: TableKey
    wish: LoanWish


@dataclass(frozen=True, slots=True)
class StoreTable:
    """Write a claimed key's table. Leads to `TableStored`, or ends the claim."""

    key: TableKey
    table: Profile


@dataclass(frozen=True, slots=True)
class Measure:
    """Ask a replica's worker. Leads to `Measured` or `MeasureUnanswered` with the same ticket."""

    key: TableKey
    ticket: int
    replica: ReplicaId
    request: MeasureRequest
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Release:
    """Drop what is being measured, store what is to be stored, give loan and claim back. Leads to `ClaimEnded`."""

    key: TableKey


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to a request."""

    reply_to: str
    progress: ProfileProgress


@dataclass(frozen=True, slots=True)
class Report:
    """Publish how far a function that was asked for is."""

    progress: ProfileProgress


@dataclass(frozen=True, slots=True)
class Tell:
    """Publish an event."""

    kind: str
    function: FunctionName
    text: str
    fields: dict[str, str | int | float] = field(default_factory=dict)


Command = Claim | Wish | StoreTable | Measure | Release | Answer | Report | Tell
