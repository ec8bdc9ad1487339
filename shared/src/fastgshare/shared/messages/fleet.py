"""Desired and actual replicas, and the nodes that hold them."""

from enum import StrEnum

import msgspec

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages.functions import FunctionSpec


class ReplicaState(StrEnum):
    """The life of a replica. `failed` is final for a placement; the scheduler decides what follows."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One desired replica, complete in itself: a node needs nothing else to run it.

    `chunks` are indices of the device's chunks of SMs; `epoch` is the term of the leader that decided, and a node
    refuses a lower one than it has seen.
    """

    replica: ReplicaId
    node: NodeId
    device: DeviceId
    chunks: tuple[int, ...]
    epoch: int
    function: FunctionSpec
    version: int = 1
    reason: str = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica takes and gives: its handler's tensors, or the model's when there is no handler.

    `batched` tells that the leading axis of every input is the batch, of any length up to the function's maximum.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = False


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One actual replica, as its node reports it."""

    replica: ReplicaId
    function: FunctionName
    generation: int
    node: NodeId
    device: DeviceId
    host: HostId
    incarnation: str
    state: ReplicaState
    device_kind: str
    model_digest: Digest
    chunks: tuple[int, ...] = ()
    version: int = 1
    reason: str = ""
    transient: bool = False
    signature: Signature | None = None
    max_batch: int = 1
    memory_mib: float = 0.0
    load_ms: float = 0.0
    epoch: int = 0
    since_us: int = 0
    restarts: int = 0


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A device as its node sees it: `chunks` of SMs in all, memory in MiB, and how many requests wait per replica."""

    device: DeviceId
    kind: str
    chunks: int
    memory_mib: int
    healthy: bool = True
    reason: str = ""
    depth: dict[ReplicaId, int] = {}
    worker_pid: int = 0
    rss_mib: float = 0.0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node's heartbeat."""

    node: NodeId
    host: HostId
    incarnation: str
    at_us: int
    devices: tuple[DeviceStatus, ...]
    version: int = 1
    interval_ms: int = 500
    pid: int = 0


class WorkerHello(msgspec.Struct, frozen=True, kw_only=True):
    """A device worker is (back) on the bus: what was sent to it before may never have arrived."""

    device: DeviceId
    incarnation: str
    version: int = 1
