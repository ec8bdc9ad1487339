"""A request whose trace was kept, as its gateway saw it from beginning to end. Times are Unix microseconds."""

import msgspec

from fastgshare.shared.ids import AttemptId, DeviceId, FunctionName, GatewayId, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages.infer import Timing


class TracedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatch of a request: to which replica, when it left the gateway, and when it was lost (0: it was not).

    `node` and `device` are empty where the gateway does not know the replica any more.
    """

    attempt: AttemptId
    replica: ReplicaId
    node: NodeId = NodeId("")
    device: DeviceId = DeviceId("")
    sent_us: int = 0
    lost_us: int = 0


class RequestTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One request whose trace was kept: because it was `sampled`, or because it missed its objective.

    `span_id` is the gateway's own span, `parent_id` the caller's (empty: it had none). `door` is how it came in
    (`nats`, `http`, ...). `outcome` is `answered`, an error code, or `handed_back`: the caller asks another gateway.
    `is_met` tells of the objective, which lasts until `objective_us` (0: there was none); None: neither met nor missed,
    the end was the caller's own doing. `held_us` is when it began to wait for a replica (0: it did not). `timing` is
    the worker's word, where there is one; without `arrived_us` in it the worker kept no spans. `first_us` is when the
    first part of an answer in parts came, by which the objective is judged (0: it came as a whole, or not at all).
    """

    trace_id: str
    span_id: str
    request: RequestId
    function: FunctionName
    gateway: GatewayId
    arrived_us: int
    end_us: int
    outcome: str
    parent_id: str = ""
    door: str = "nats"
    is_sampled: bool = False
    is_met: bool | None = None
    objective_us: int = 0
    deadline_us: int = 0
    held_us: int = 0
    rows: int = 1
    attempts: tuple[TracedAttempt, ...] = ()
    timing: Timing | None = None
    version: int = 1
    first_us: int = 0
