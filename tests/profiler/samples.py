"""Functions, replicas, nodes and answers as the profiler's tests need them."""

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core.plan import Setting
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    DeviceStatus,
    FunctionSpec,
    MeasureReply,
    MeasureRequest,
    ModelRef,
    NodeStatus,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
)
from fastgshare.shared.units import US_PER_S

NODE = NodeId("node-0")
DEVICE = DeviceId("node-0-cpu0")
DIGEST = Digest("ab" * 32)
OTHER_DIGEST = Digest("cd" * 32)
CHUNKS = 2
WHOLE = Setting(100, 1.0, 1)


def function_spec(
    name: str = "echo", digest: Digest = DIGEST, slo_ms: float = 1_000, max_batch: int = 2, generation: int = 1
) -> FunctionSpec:
    model = ModelRef(digest=digest, size_bytes=1)
    return FunctionSpec(name=FunctionName(name), model=model, slo_ms=slo_ms, max_batch=max_batch, generation=generation)


def replica_status(
    replica: str = "echo-loan-1-1",
    function: str = "echo",
    digest: Digest = DIGEST,
    state: ReplicaState = ReplicaState.READY,
    device: str = DEVICE,
    incarnation: str = "first",
    max_batch: int = 2,
    chunks: tuple[int, ...] = tuple(range(CHUNKS)),
    reason: str = "",
    device_kind: str = "cpu",
    loan: str = "",
    transient: bool = False,
    generation: int = 1,
) -> ReplicaStatus:
    return ReplicaStatus(
        replica=ReplicaId(replica),
        function=FunctionName(function),
        generation=generation,
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
        loan=loan,
        transient=transient,
    )


def device_status(
    device: str = DEVICE,
    kind: str = "cpu",
    chunks: int = CHUNKS,
    healthy: bool = True,
    drift: dict[str, float] | None = None,
) -> DeviceStatus:
    use = {ReplicaId(replica): ReplicaUse(drift=ratio) for replica, ratio in (drift or {}).items()}
    return DeviceStatus(device=DeviceId(device), kind=kind, chunks=chunks, memory_mib=1_000, healthy=healthy, use=use)


def heartbeat(at_us: int = 0, devices: tuple[DeviceStatus, ...] | None = None) -> NodeStatus:
    devices = (device_status(),) if devices is None else devices
    return NodeStatus(node=NODE, host=HostId("host"), incarnation="node", at_us=at_us, devices=devices)


def setting_asked(request: MeasureRequest) -> Setting:
    """The setting that a worker with two chunks is asked for."""
    return Setting(round(100 * request.chunks / CHUNKS), request.quota, request.batch)


def times(
    at: Setting | do.Measure | MeasureRequest = WHOLE,
    runs: int = 20,
    fixed_us: int = 900,
    per_input_us: int = 100,
    settled: bool = True,
    disturbed: float = 0.0,
    memory_mib: float = 100.0,
    grown_mib: float = 0.0,
) -> MeasureReply:
    """A worker whose batches take a fixed time and some per input, in proportion to its chunks."""
    if isinstance(at, do.Measure):
        at = at.request
    if isinstance(at, MeasureRequest):
        at = setting_asked(at)
    execute_us = (fixed_us + per_input_us * at.batch) * 100 // at.sm_partition
    return MeasureReply(
        execute_us=(execute_us,) * runs,
        chunks=at.sm_partition * CHUNKS // 100,
        total_chunks=CHUNKS,
        throughput_rps=at.quota * at.batch * US_PER_S / execute_us,
        throughput_error=0.01 if settled else 0.3,
        settled=settled,
        note="" if settled else "its times wander",
        latency_us=(execute_us, 2 * execute_us, 3 * execute_us),
        disturbed=disturbed,
        memory_mib=memory_mib,
        memory_grown_mib=grown_mib,
    )
