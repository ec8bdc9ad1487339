"""One example of every message, and its payload as it was first committed: what was once sent must decode for ever.

`python -m tests.shared.golden_payloads` writes the payloads that are missing, and never touches one that is there. A
message that gained a field keeps its old example and payload, and gets a further example that sets the field.
"""

from pathlib import Path

import msgspec

from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import (
    AttemptId,
    DeviceId,
    Digest,
    FunctionName,
    GatewayId,
    HostId,
    JobId,
    KeyId,
    NodeId,
    ReplicaId,
    RequestId,
)
from fastgshare.shared.messages import (
    ApiKey,
    Autoscale,
    Cancel,
    Completion,
    Demand,
    DeviceStatus,
    DoneNotice,
    Event,
    FunctionLoad,
    FunctionReport,
    FunctionSpec,
    FunctionUsage,
    GatewayLoad,
    GatewayReport,
    HandlerRef,
    Histogram,
    InferReply,
    InferRequest,
    Job,
    JobRecord,
    JobState,
    KeptReply,
    KeyLimits,
    KeyUse,
    LeaseHolder,
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    MeasureRequest,
    ModelOnDevice,
    ModelRef,
    NodeStatus,
    PastTraffic,
    Placement,
    Profile,
    ProfileAxes,
    ProfilePoint,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
    ReplyWish,
    RequestTrace,
    Scope,
    ServiceReady,
    Signature,
    Slice,
    SlotCount,
    SlotRef,
    SurfacePoint,
    Tensor,
    Timing,
    TracedAttempt,
    UsageRecord,
    Work,
    WorkerHello,
)

DIRECTORY = Path(__file__).with_name("golden")
AT_US = 1_700_000_000_000_000

ECHO = FunctionName("echo")
REPLICA = ReplicaId("echo-g3-0a1b2c")
NODE = NodeId("node-0")
DEVICE = DeviceId("node-0-cpu0")
HOST = HostId("0a1b2c3d-23")
GATEWAY = GatewayId("node-0-gateway-0")
KEY = KeyId("0a1b2c3d4e5f")
ATTEMPT = AttemptId("0123456789abcdef.2")
MODEL_DIGEST = Digest("ab" * 32)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

SLOT = SlotRef(HOST, "fastgshare-4242-0123456789ab", 64, 4_096)
INLINE = Tensor("text", "BYTES", (2,), memoryview(b"\x02\x00\x00\x00hi\x00\x00\x00\x00"))
IN_SLOT = Tensor("image", "FP32", (1, 1_024), slot=SLOT)
ERROR = ErrorBody(ErrorCode.OVERLOADED, "the queue is full", 250)
TIMING = Timing(queue_us=11, token_us=12, execute_us=13, batch=4, handler_us=15)
COMPLETION = Completion(ATTEMPT, False, TIMING, AT_US, "deadline_exceeded")
TRACED_ATTEMPT = TracedAttempt(
    attempt=ATTEMPT, replica=REPLICA, node=NODE, device=DEVICE, sent_us=AT_US + 3, lost_us=AT_US + 9
)
MODEL = ModelRef(digest=MODEL_DIGEST, size_bytes=1_024, format="torch", source="magika==1.0.3 model.onnx")
HANDLER = HandlerRef(digest=Digest("cd" * 32), module="handler.py", class_name="FileType", memory_limit_mib=512)
SLICE = Slice(sm_partition=25, quota_request=0.25, quota_limit=0.75, gpu_mem_mib=512)
SIGNATURE = Signature(
    inputs=(TensorSpec("text", "BYTES", (-1,)),), outputs=(TensorSpec("label", "BYTES", (-1,)),), batched=True
)
FUNCTION = FunctionSpec(
    name=ECHO,
    model=MODEL,
    version=2,
    generation=3,
    handler=HANDLER,
    slo_ms=150.0,
    slo_percentile=95.0,
    max_batch=16,
    replicas=None,
    autoscale=Autoscale(min=1, max=4),
    slice=SLICE,
    sample=Digest("ef" * 32),
    labels={"team": "vision"},
)
DEVICE_STATUS = DeviceStatus(
    device=DEVICE,
    kind="cpu",
    chunks=2,
    memory_mib=4_096,
    healthy=False,
    reason="a core went away",
    depth={REPLICA: 7},
    worker_pid=4_243,
    rss_mib=80.5,
)
MODEL_ON_DEVICE = ModelOnDevice(digest=MODEL_DIGEST, weights_mib=97.5, replicas=3)
REPLICA_USE = ReplicaUse(time_share=0.25, backlogged_share=0.5, token_wait_ms=7.5, batches=12)
POINT = ProfilePoint(
    sm_partition=50,
    quota=0.5,
    batch=8,
    throughput_rps=123.5,
    p50_us=64_000,
    p95_us=65_000,
    p99_us=70_000,
    device_us=64_777,
    runs=15,
    settled=False,
)
MEASURED = ProfilePoint(
    sm_partition=25,
    quota=0.2,
    batch=4,
    throughput_rps=61.5,
    p50_us=13_000,
    p95_us=13_500,
    p99_us=14_000,
    device_us=13_100,
    runs=40,
    throughput_error=0.015,
    latency_p50_us=40_000,
    latency_p95_us=80_000,
    latency_p99_us=95_000,
    load_rps=49.25,
    requests=98,
    memory_mib=240.5,
    occupancy_percent=42.5,
    note="a neighbour ran on its chunks",
    wall_ms=2_500.5,
)
SURFACE = SurfacePoint(
    sm_partition=50,
    quota=0.4,
    batch=8,
    throughput_rps=240.5,
    throughput_error=0.04,
    device_us=13_300,
    device_p95_us=13_900,
    measured=True,
    latency_p50_us=21_000,
    latency_p95_us=45_000,
    latency_p99_us=60_000,
    latency_error=0.12,
)
AXES = ProfileAxes(sm_partitions=(25, 50, 100), quotas=(0.2, 0.4, 1.0), batches=(1, 4, 8))
LOAN = "profiler-0a1b2c3d.4"
FUNCTION_LOAD = FunctionLoad(
    arrived=100,
    answered=90,
    refused=1,
    failed=2,
    late=3,
    retried=4,
    outstanding=5,
    held=6,
    execute_us=7_000,
    executions=8.5,
    queue_us=9_000,
)

HISTOGRAM = Histogram((0, 3, 1), 1_750)
FUNCTION_REPORT = FunctionReport(
    arrived=9,
    answered=5,
    met=4,
    missed=3,
    failed=1,
    refused={"overloaded": 2},
    whole=HISTOGRAM,
    stages={"queue": HISTOGRAM},
    batches={4: 1.5},
    outstanding=2,
    held=1,
)

JOB = JobId("echo." + "0a" * 12)
WISH = ReplyWish(request_id="r-1", binary_by_default=True, binary={"y": False})
KEPT_REPLY = KeptReply(name=f"{JOB}.1", size_bytes=9_000_000)
KEY_LIMITS = KeyLimits(rate_rps=2.5, burst=5, per_day=1_000)
FUNCTION_USAGE = FunctionUsage(
    sm_us=9_000, promised_sm_us=12_000, profiling_sm_us=500, memory_mib_s=640.5, requests=7, batches=3
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "ApiKey.1": ApiKey(
        key=KEY,
        digest="ab" * 32,
        name="team a",
        scopes=(Scope.INVOKE, Scope.READ),
        functions=(ECHO,),
        limits=KEY_LIMITS,
        created_us=AT_US,
        expires_us=AT_US + 1,
    ),
    "Autoscale.1": Autoscale(min=1, max=4),
    "Autoscale.2": Autoscale(min=1, max=4, policy="objective"),
    "Cancel.1": Cancel(1, ATTEMPT),
    "Completion.1": COMPLETION,
    "Demand.1": Demand(function=ECHO, gateway=GATEWAY, held=3, version=2),
    "DeviceStatus.1": DEVICE_STATUS,
    "DeviceStatus.2": DeviceStatus(
        device=DEVICE,
        kind="cpu",
        chunks=2,
        memory_mib=4_096,
        used_mib=640.5,
        models=(MODEL_ON_DEVICE,),
        use={REPLICA: REPLICA_USE},
        gauges={"sm_occupancy_percent": 31.5},
    ),
    "DeviceStatus.3": DeviceStatus(device=DEVICE, kind="cpu", chunks=2, memory_mib=4_096, running=(REPLICA,), sms=2),
    "DoneNotice.1": DoneNotice(1, REPLICA, "0a1b2c3d", 5, (COMPLETION,)),
    "ErrorBody.1": ERROR,
    "ErrorBody.2": ErrorBody(ErrorCode.UNAVAILABLE, "lost 4 times with its replica", 1000, 4),
    "Event.1": Event(
        kind="replica_ready",
        source="node-0",
        at_us=AT_US,
        function="echo",
        text="ready after 2 s",
        fields={"load_ms": 2_000.5, "replica": "echo-g3-0a1b2c", "restarts": 1},
        version=2,
    ),
    "FunctionLoad.1": FUNCTION_LOAD,
    "FunctionReport.1": FUNCTION_REPORT,
    "FunctionSpec.1": FUNCTION,
    "FunctionUsage.1": FUNCTION_USAGE,
    "GatewayLoad.1": GatewayLoad(
        gateway=GATEWAY, incarnation="0a1b2c3d", at_us=AT_US, functions={ECHO: FUNCTION_LOAD}, version=2, pid=4_242
    ),
    "GatewayReport.1": GatewayReport(
        gateway=GATEWAY, incarnation="0a1b2c3d", at_us=AT_US, functions={ECHO: FUNCTION_REPORT}, version=2
    ),
    "HandlerRef.1": HANDLER,
    "Histogram.1": HISTOGRAM,
    "InferReply.1": InferReply(1, (INLINE, IN_SLOT), ERROR, REPLICA, ATTEMPT, TIMING),
    "InferReply.2": InferReply(1, (INLINE,), None, REPLICA, ATTEMPT, TIMING, 3, True),
    "InferRequest.1": InferRequest(
        1, (INLINE, IN_SLOT), ("label",), SLOT, AT_US, RequestId("0123456789abcdef"), TRACEPARENT
    ),
    "Job.1": Job(job=JOB, function=ECHO, request=InferRequest(1, (INLINE,)), traceparent=TRACEPARENT),
    "JobRecord.1": JobRecord(
        job=JOB,
        function=ECHO,
        state=JobState.FAILED,
        submitted_us=AT_US,
        deadline_us=AT_US + 9,
        started_us=AT_US + 1,
        ended_us=AT_US + 2,
        gateway=GATEWAY,
        runs=2,
        losses=1,
        address="team.a",
        wish=WISH,
        reply=InferReply(1, (INLINE,), ErrorBody(ErrorCode.INVALID, "no")),
    ),
    "JobRecord.2": JobRecord(
        job=JOB,
        function=ECHO,
        state=JobState.DONE,
        submitted_us=AT_US,
        deadline_us=AT_US + 9,
        ended_us=AT_US + 2,
        gateway=GATEWAY,
        runs=1,
        kept=KEPT_REPLY,
    ),
    "KeptReply.1": KEPT_REPLY,
    "KeyLimits.1": KEY_LIMITS,
    "KeyUse.1": KeyUse(key=KEY, gateway=GATEWAY, taken=12, day=19_675, today=3),
    "LeaseHolder.1": LeaseHolder(holder="profiler-0a1b2c3d", version=2),
    "LoanReply.1": LoanReply(
        loan=LOAN, state=LoanState.LENT, replica="echo-loan-9-1", reason="spare on node-0-cpu0", version=2
    ),
    "LoanWish.1": LoanWish(
        loan=LOAN, function="echo", device_kind="cpu", sm_partition=75, asked=True, over=True, version=2
    ),
    "MeasureReply.1": MeasureReply(execute_us=(1_000, 1_001), chunks=2, total_chunks=4, error=ERROR, version=2),
    "MeasureReply.2": MeasureReply(
        execute_us=(1_000, 1_001),
        chunks=1,
        total_chunks=4,
        warmup_runs=12,
        throughput_rps=998.5,
        throughput_error=0.018,
        settled=False,
        note="its times were still falling",
        latency_us=(1_200, 1_900),
        load_rps=798.8,
        disturbed=0.05,
        memory_mib=120.5,
        memory_grown_mib=1.5,
        occupancy_percent=37.5,
    ),
    "MeasureRequest.1": MeasureRequest(batch=8, warmup_runs=3, min_runs=6, max_runs=100, budget_ms=500, version=2),
    "MeasureRequest.2": MeasureRequest(
        batch=8, chunks=2, quota=0.4, precision=0.03, open_ms=2_000, load=0.75, seed=7, slowest_ms=900
    ),
    "ModelOnDevice.1": MODEL_ON_DEVICE,
    "ModelRef.1": MODEL,
    "ModelRef.2": ModelRef(digest=MODEL_DIGEST, size_bytes=1_024, format="torch", factory="model:make"),
    "NodeStatus.1": NodeStatus(
        node=NODE,
        host=HOST,
        incarnation="0a1b2c3d",
        at_us=AT_US,
        devices=(DEVICE_STATUS,),
        version=2,
        interval_ms=250,
        pid=4_242,
    ),
    "PastTraffic.1": PastTraffic(
        gateway=GATEWAY, functions={ECHO: {"1m": (SlotCount(59, 3, 1), SlotCount(0, 7, 0)), "1h": ()}}, version=2
    ),
    "Placement.1": Placement(
        replica=REPLICA,
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        version=2,
        reason="replaces echo-g3-ffffff",
    ),
    "Placement.2": Placement(
        replica=ReplicaId("echo-loan-9-1"),
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        loan=LOAN,
    ),
    "Placement.3": Placement(
        replica=ReplicaId("echo-g3-9-2"),
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        replaces="node-b.echo-g3-9-1",
    ),
    "Profile.1": Profile(
        model_digest=MODEL_DIGEST,
        device_kind="cpu",
        state=ProfileState.FAILED,
        points=(POINT,),
        version=2,
        table_version=7,
        reason="batch 16 could not be measured",
        measured_at_us=AT_US,
        wall_ms=1_234.5,
    ),
    "Profile.2": Profile(
        model_digest=MODEL_DIGEST,
        device_kind="cpu",
        state=ProfileState.MEASURING,
        points=(MEASURED,),
        axes=AXES,
        surface=(SURFACE,),
        is_grid=True,
        source="measured on another machine",
    ),
    "Profile.3": Profile(
        model_digest=MODEL_DIGEST,
        device_kind="cpu",
        state=ProfileState.COMPLETE,
        points=(MEASURED,),
        axes=AXES,
        surface=(SURFACE,),
        max_batch=64,
        objective_us=250_000,
    ),
    "ProfileAxes.1": AXES,
    "ProfilePoint.1": POINT,
    "ProfilePoint.2": MEASURED,
    "ProfileProgress.1": ProfileProgress(
        function="echo", done=2, planned=5, state=ProfileState.MEASURING, reason="waiting", left_ms=3_000, version=2
    ),
    "ProfileProgress.2": ProfileProgress(function="echo", done=7, planned=21, state=ProfileState.MEASURING, error=0.17),
    "ProfileRequest.1": ProfileRequest(function="echo", again=True, version=2),
    "ProfileRequest.2": ProfileRequest(function="echo", grid=True, budget_s=90.5),
    "ReplicaStatus.1": ReplicaStatus(
        replica=REPLICA,
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.FAILED,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        chunks=(0, 1),
        version=2,
        reason="the model is broken",
        transient=True,
        signature=SIGNATURE,
        max_batch=16,
        memory_mib=100.5,
        load_ms=2_000.5,
        epoch=9,
        since_us=AT_US,
        restarts=2,
    ),
    "ReplicaStatus.2": ReplicaStatus(
        replica=REPLICA,
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        weights_mib=97.5,
        weights_reused=True,
        slice=SLICE,
        note="12% of 2 cores is less than one: it holds one",
    ),
    "ReplicaStatus.3": ReplicaStatus(
        replica=ReplicaId("echo-loan-9-1"),
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        slice=SLICE,
        loan=LOAN,
    ),
    "ReplicaUse.1": REPLICA_USE,
    "ReplicaUse.2": ReplicaUse(time_share=0.25, backlogged_share=0.5, token_wait_ms=7.5, batches=12, drift=1.25),
    "ReplyWish.1": WISH,
    "RequestTrace.1": RequestTrace(
        trace_id=TRACEPARENT[3:35],
        span_id=TRACEPARENT[36:52],
        parent_id="00f067aa0ba902b7",
        request=RequestId("f00d"),
        function=ECHO,
        gateway=GATEWAY,
        door="http",
        is_sampled=True,
        is_met=False,
        outcome="deadline_exceeded",
        arrived_us=AT_US,
        end_us=AT_US + 90,
        objective_us=AT_US + 50,
        deadline_us=AT_US + 80,
        held_us=AT_US + 1,
        rows=2,
        attempts=(TRACED_ATTEMPT,),
        timing=TIMING,
        version=2,
    ),
    "RequestTrace.2": RequestTrace(
        trace_id=TRACEPARENT[3:35],
        span_id=TRACEPARENT[36:52],
        request=RequestId("f00d"),
        function=ECHO,
        gateway=GATEWAY,
        arrived_us=AT_US,
        end_us=AT_US + 90,
        outcome="answered",
        first_us=AT_US + 40,
    ),
    "ServiceReady.1": ServiceReady(
        service="gateway",
        instance="node-0-gateway-0",
        pid=4_242,
        endpoints={"http": "http://127.0.0.1:8080"},
        rss_mib=60.5,
        version=2,
    ),
    "Signature.1": SIGNATURE,
    "Signature.2": Signature(inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, streams=True),
    "Slice.1": SLICE,
    "SlotCount.1": SlotCount(59, 3, 1),
    "SlotRef.1": SLOT,
    "SurfacePoint.1": SURFACE,
    "Tensor.1": INLINE,
    "Tensor.2": IN_SLOT,
    "TensorSpec.1": TensorSpec("text", "BYTES", (-1, 4)),
    "Timing.1": TIMING,
    "Timing.2": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52]),
    "Timing.3": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52], 7),
    "Timing.4": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52], 7, AT_US + 50),
    "TracedAttempt.1": TRACED_ATTEMPT,
    "Work.1": Work(1, ATTEMPT, GATEWAY, AT_US, TRACEPARENT, memoryview(b"\x92\x01\x90")),
    "Work.2": Work(1, ATTEMPT, GATEWAY, AT_US, TRACEPARENT, memoryview(b"\x92\x01\x90"), AT_US - 500),
    "UsageRecord.1": UsageRecord(
        node=NODE,
        device=DEVICE,
        kind="cpu",
        sms=2,
        incarnation="0a1b2c3d",
        sequence=4,
        from_us=AT_US,
        to_us=AT_US + 10_000_000,
        functions={ECHO: FUNCTION_USAGE},
        version=2,
    ),
    "WorkerHello.1": WorkerHello(device=DEVICE, incarnation="0a1b2c3d", version=2),
}


def path_of(name: str) -> Path:
    """Where an example's payload lies."""
    return DIRECTORY / f"{name}.bin"


def write_missing() -> list[str]:
    """Write the payloads that are not there yet; their names."""
    missing = [name for name in EXAMPLES if not path_of(name).exists()]
    for name in missing:
        with path_of(name).open("xb") as file:
            file.write(encode(EXAMPLES[name]))
    return missing


if __name__ == "__main__":
    print("written:", *(write_missing() or ["nothing, every example has its payload"]))
