"""What the scheduler decides: commands, in the imperative, each with its reason."""

import msgspec

from fastgshare.shared.ids import DeviceId, FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import LoanReply, Placement


class PlaceReplica(msgspec.Struct, frozen=True, tag=True):
    """Write this placement; it carries the epoch it was decided in."""

    placement: Placement
    reason: str


class ResizeReplica(msgspec.Struct, frozen=True, tag=True):
    """Write this placement over the one of the same replica: it takes the change on while it runs."""

    placement: Placement
    reason: str


class MoveReplica(msgspec.Struct, frozen=True, tag=True):
    """Write this placement over the one of the same replica: it goes over to other chunks of its device while it runs.

    Moves are to be written in the order in which they were decided: each fits beside what stands by then.
    """

    placement: Placement
    reason: str


class RemoveReplica(msgspec.Struct, frozen=True, tag=True):
    """Delete this placement, if `epoch` is still our term. `loan` names the wish it was lent for, if it was.

    `device` is told of loans only, for people: journals written before it was know none.
    """

    node: NodeId
    replica: ReplicaId
    function: FunctionName
    epoch: int
    reason: str
    loan: str = ""
    device: DeviceId = DeviceId("")


class AnswerWish(msgspec.Struct, frozen=True, tag=True):
    """Tell a profiler what became of its wish, after what was decided on it, if `epoch` is still our term."""

    reply_to: str
    reply: LoanReply
    epoch: int


class Report(msgspec.Struct, frozen=True, tag=True):
    """Tell people: an event of this `kind`, about a function or (empty) none."""

    kind: str
    function: FunctionName
    text: str


Command = PlaceReplica | ResizeReplica | MoveReplica | RemoveReplica | AnswerWish | Report


class Decision(msgspec.Struct, frozen=True):
    """What to do, in this order, and when to tick next (None: not before another event)."""

    commands: tuple[Command, ...] = ()
    wake_at_us: int | None = None
