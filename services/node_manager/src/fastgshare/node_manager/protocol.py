"""What the manager and its device workers say to each other over their channel."""

import msgspec

from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Placement, ReplicaState, Signature


class Load(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: bring this replica up."""

    placement: Placement


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: finish what waits on this replica, then let go of it."""

    replica: ReplicaId


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: drain everything and end."""


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: on the bus and ready for commands."""

    incarnation: str


class ReplicaChanged(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: a replica's state."""

    replica: ReplicaId
    state: ReplicaState
    reason: str = ""
    signature: Signature | None = None
    max_batch: int = 1
    memory_mib: float = 0.0
    load_ms: float = 0.0


class ReplicaDrained(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: nothing is left of this replica."""

    replica: ReplicaId


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager, periodic: alive, and how many requests wait or run per replica."""

    depth: dict[ReplicaId, int]
    rss_mib: float


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: a line that a function's user code printed, or a fault of it."""

    function: str
    replica: ReplicaId
    text: str


ToWorker = Load | Drain | Shutdown
FromWorker = WorkerReady | ReplicaChanged | ReplicaDrained | Pulse | LogLine
