"""What the scheduler may learn: facts, in the past tense, each the whole truth about its key when seen.

Every event can be applied twice or be skipped in favour of a later one about the same key. They are tagged
messages, so that a journal of them can be stored and read back.
"""

import msgspec

from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionLoad, FunctionSpec, LoanWish, Placement, Profile, ReplicaStatus


class FunctionDefined(msgspec.Struct, frozen=True, tag=True):
    """A function stands in the `functions` bucket like this."""

    spec: FunctionSpec


class FunctionRemoved(msgspec.Struct, frozen=True, tag=True):
    """A function was deleted."""

    function: FunctionName


class Device(msgspec.Struct, frozen=True):
    """What packing needs of a device: `chunks` of SMs in all, memory in MiB."""

    device: DeviceId
    kind: str
    chunks: int
    memory_mib: int
    healthy: bool = True


class NodeSeen(msgspec.Struct, frozen=True, tag=True):
    """A node's heartbeat arrived; it sends one every `interval_us`."""

    node: NodeId
    incarnation: str
    devices: tuple[Device, ...]
    interval_us: int = 500_000


class ReplicaReported(msgspec.Struct, frozen=True, tag=True):
    """A node said this of one replica."""

    status: ReplicaStatus


class ReplicaGone(msgspec.Struct, frozen=True, tag=True):
    """A node holds this replica no longer."""

    node: NodeId
    replica: ReplicaId


class PlacementKnown(msgspec.Struct, frozen=True, tag=True):
    """A placement stands in the bucket: an earlier leader's, or the echo of our own."""

    placement: Placement


class PlacementGone(msgspec.Struct, frozen=True, tag=True):
    """A placement stands in the bucket no longer."""

    node: NodeId
    replica: ReplicaId


class PlacementRefused(msgspec.Struct, frozen=True, tag=True):
    """The bucket did not take a placement we decided on; it does not stand."""

    node: NodeId
    replica: ReplicaId
    reason: str


class LoadReported(msgspec.Struct, frozen=True, tag=True):
    """A gateway's counts, cumulative since the start of this `incarnation` of it."""

    gateway: GatewayId
    incarnation: str
    functions: dict[FunctionName, FunctionLoad]


class DemandRaised(msgspec.Struct, frozen=True, tag=True):
    """Requests wait at a gateway for a function without a replica."""

    function: FunctionName
    gateway: GatewayId
    held: int


class ProfileKnown(msgspec.Struct, frozen=True, tag=True):
    """A throughput table stands in the `profiles` bucket like this."""

    profile: Profile


class ProfileGone(msgspec.Struct, frozen=True, tag=True):
    """The throughput table of this key was removed."""

    key: str


class SliceWished(msgspec.Struct, frozen=True, tag=True):
    """A profiler asked to borrow a slice, or asked again; the answer goes to `reply_to`."""

    wish: LoanWish
    reply_to: str


class LeadershipWon(msgspec.Struct, frozen=True, tag=True):
    """This scheduler leads from now on, in the term `epoch`; everything in the buckets was told before."""

    epoch: int


class LeadershipLost(msgspec.Struct, frozen=True, tag=True):
    """This scheduler must not act any more."""

    reason: str = ""


class BusResumed(msgspec.Struct, frozen=True, tag=True):
    """The bus was away and is back: for that while, silence meant nothing."""


class Ticked(msgspec.Struct, frozen=True, tag=True):
    """Time has passed. Everything that time alone decides is decided at ticks."""


Event = (
    FunctionDefined
    | FunctionRemoved
    | NodeSeen
    | ReplicaReported
    | ReplicaGone
    | PlacementKnown
    | PlacementGone
    | PlacementRefused
    | LoadReported
    | DemandRaised
    | ProfileKnown
    | ProfileGone
    | SliceWished
    | LeadershipWon
    | LeadershipLost
    | BusResumed
    | Ticked
)
