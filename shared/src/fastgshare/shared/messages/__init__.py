"""Every message on the bus, by who says it. Frozen; new fields come last with a default; golden payloads are kept."""

from fastgshare.shared.messages.events import Event, ServiceReady
from fastgshare.shared.messages.fleet import (
    DeviceStatus,
    ModelOnDevice,
    NodeStatus,
    Placement,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
    Signature,
    WorkerHello,
)
from fastgshare.shared.messages.functions import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice
from fastgshare.shared.messages.infer import (
    INFER_VERSION,
    Completion,
    DoneNotice,
    InferReply,
    InferRequest,
    SlotRef,
    Tensor,
    Timing,
    Work,
)
from fastgshare.shared.messages.leases import LeaseHolder
from fastgshare.shared.messages.load import Demand, FunctionLoad, GatewayLoad
from fastgshare.shared.messages.profile import (
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfilePoint,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
)

__all__ = [
    "INFER_VERSION",
    "Autoscale",
    "Completion",
    "Demand",
    "DeviceStatus",
    "DoneNotice",
    "Event",
    "FunctionLoad",
    "FunctionSpec",
    "GatewayLoad",
    "HandlerRef",
    "InferReply",
    "InferRequest",
    "LeaseHolder",
    "MeasureReply",
    "MeasureRequest",
    "ModelOnDevice",
    "ModelRef",
    "NodeStatus",
    "Placement",
    "Profile",
    "ProfilePoint",
    "ProfileProgress",
    "ProfileRequest",
    "ProfileState",
    "ReplicaState",
    "ReplicaStatus",
    "ReplicaUse",
    "ServiceReady",
    "Signature",
    "Slice",
    "SlotRef",
    "Tensor",
    "Timing",
    "Work",
    "WorkerHello",
]
