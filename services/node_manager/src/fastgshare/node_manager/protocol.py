"""What the manager and its device workers say to each other over their channel."""

import msgspec

from fastgshare.node_manager.core.spending import Spent
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import ModelOnDevice, Placement, ReplicaState, ReplicaUse, Signature


class Load(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: bring this replica up."""

    placement: Placement


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: finish what waits on this replica, then let go of it."""

    replica: ReplicaId


class Resize(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: this replica holds another slice from now on."""

    placement: Placement


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """Manager → worker: drain everything and end."""


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: on the bus and ready for commands, with a device of this kind and size.

    `sms` are the SMs (cores, on a CPU) that its chunks are in all.
    """

    incarnation: str
    kind: str
    chunks: int
    memory_mib: int
    sms: int = 0


class DeviceFaulted(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager, its last word: the device cannot be opened, or serves no more."""

    reason: str


class ReplicaChanged(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: a replica's state; `placement` tells which slice it holds.

    `transient`: what made it fail is no fault of its own and may pass.
    """

    replica: ReplicaId
    state: ReplicaState
    reason: str = ""
    signature: Signature | None = None
    max_batch: int = 1
    memory_mib: float = 0.0
    load_ms: float = 0.0
    weights_mib: float = 0.0
    weights_reused: bool = False
    placement: Placement | None = None
    transient: bool = False


class ReplicaDrained(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: nothing is left of this replica."""

    replica: ReplicaId


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager, periodic: alive, how many requests wait or run per replica, and the device as it is.

    `running` hold a token as this is written; `spent` is what functions had since the pulse before. `dropped` counts
    what the worker had to let go of its telemetry since its start, by signal.
    """

    depth: dict[ReplicaId, int]
    rss_mib: float
    healthy: bool = True
    reason: str = ""
    used_mib: float = 0.0
    models: tuple[ModelOnDevice, ...] = ()
    use: dict[ReplicaId, ReplicaUse] = {}
    gauges: dict[str, float] = {}
    running: tuple[ReplicaId, ...] = ()
    spent: dict[FunctionName, Spent] = {}
    dropped: dict[str, int] = {}


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """Worker → manager: a line that a function's user code printed, or a fault of it."""

    function: str
    replica: ReplicaId
    text: str


ToWorker = Load | Resize | Drain | Shutdown
FromWorker = WorkerReady | DeviceFaulted | ReplicaChanged | ReplicaDrained | Pulse | LogLine
