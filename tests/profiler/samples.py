"""Functions, replicas and answers as the profiler's tests need them."""

from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    FunctionSpec,
    MeasureReply,
    ModelRef,
    NodeStatus,
    ReplicaState,
    ReplicaStatus,
)

NODE = NodeId("node-0")
DIGEST = Digest("ab" * 32)
OTHER_DIGEST = Digest("cd" * 32)


def function_spec(
    name: str = "echo", digest: Digest = DIGEST, slo_ms: float = 1_000, max_batch: int = 8, generation: int = 1
) -> FunctionSpec:
    model = ModelRef(digest=digest, size_bytes=1)
    return FunctionSpec(name=FunctionName(name), model=model, slo_ms=slo_ms, max_batch=max_batch, generation=generation)


def replica_status(
    replica: str = "echo-g1-000001",
    function: str = "echo",
    digest: Digest = DIGEST,
    state: ReplicaState = ReplicaState.READY,
    device: str = "node-0-cpu0",
    incarnation: str = "first",
    max_batch: int = 8,
    chunks: tuple[int, ...] = (0,),
    reason: str = "",
    device_kind: str = "cpu",
) -> ReplicaStatus:
    return ReplicaStatus(
        replica=ReplicaId(replica),
        function=FunctionName(function),
        generation=1,
        node=NODE,
        device=DeviceId(device),
        host=HostId("host"),
        incarnation=incarnation,
        state=state,
        device_kind=device_kind,
        model_digest=digest,
        chunks=chunks,
        max_batch=max_batch,
        reason=reason,
    )


def heartbeat(at_us: int = 0) -> NodeStatus:
    return NodeStatus(node=NODE, host=HostId("host"), incarnation="node", at_us=at_us, devices=())


def times(batch: int, runs: int = 20, fixed_us: int = 900, per_input_us: int = 100) -> MeasureReply:
    """A worker whose batches take a fixed time and some per input; half of the device's two chunks."""
    return MeasureReply(execute_us=(fixed_us + per_input_us * batch,) * runs, chunks=1, total_chunks=2)
