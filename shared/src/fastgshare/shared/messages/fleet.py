"""Desired and actual replicas, and the nodes that hold them."""

from enum import StrEnum

import msgspec

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages.functions import FunctionSpec, Slice


class ReplicaState(StrEnum):
    """The life of a replica. `failed` is final for a placement; the scheduler decides what follows."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One desired replica, complete in itself: a node needs nothing else to run it.

    `chunks` are indices of the device's chunks of SMs; `epoch` is the term of the leader that decided, and a node
    refuses a lower one than it has seen for the same replica. On loan (`loan` names the wish) a replica serves no
    requests, is measured, and has spare time only, whatever its slice says. `replaces` is
    the key of the replica that this one is to take over from once it is ready; it may be gone by now.
    """

    replica: ReplicaId
    node: NodeId
    device: DeviceId
    chunks: tuple[int, ...]
    epoch: int
    function: FunctionSpec
    version: int = 1
    reason: str = ""
    loan: str = ""
    replaces: str = ""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica takes and gives: its handler's tensors, or the model's when there is no handler.

    `batched` tells that the leading axis of every input is the batch, of any length up to the function's maximum,
    `streams` that it answers in parts.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = False
    streams: bool = False


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One actual replica, as its node reports it.

    `memory_mib` is its own, `weights_mib` shared by all replicas of its model on the device; `weights_reused` tells
    that they were there before it. `slice` is what it holds, `note` what people should know about that. One on `loan`
    is there to be measured: no request goes to it.
    """

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
    weights_mib: float = 0.0
    weights_reused: bool = False
    slice: Slice | None = None
    note: str = ""
    loan: str = ""


class ModelOnDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of a model's weights on a device, and how many replicas share it."""

    digest: Digest
    weights_mib: float
    replicas: int


class ReplicaUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica had of its device since the heartbeat before.

    `time_share` is measured device time over time; `backlogged_share` how much of the time it had work, waiting or
    running; `token_wait_ms` its longest wait for a token. `drift` is how long its recent batches took over what its
    table says, 0 where too few ran or there is no table.
    """

    time_share: float = 0.0
    backlogged_share: float = 0.0
    token_wait_ms: float = 0.0
    batches: int = 0
    drift: float = 0.0


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A device as its node sees it: `chunks` of SMs in all, memory in MiB, and how many requests wait per replica.

    `used_mib` is memory in use now, `models` the weights that are loaded, `use` what each replica had of it,
    `gauges` what this kind of device tells beyond that (utilization and occupancy in percent, and the like), `running`
    who held a token as this was written, `sms` how many SMs (cores, on a CPU) the chunks are in all.
    """

    device: DeviceId
    kind: str
    chunks: int
    memory_mib: int
    healthy: bool = True
    reason: str = ""
    depth: dict[ReplicaId, int] = {}
    worker_pid: int = 0
    rss_mib: float = 0.0
    used_mib: float = 0.0
    models: tuple[ModelOnDevice, ...] = ()
    use: dict[ReplicaId, ReplicaUse] = {}
    gauges: dict[str, float] = {}
    running: tuple[ReplicaId, ...] = ()
    sms: int = 0


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
