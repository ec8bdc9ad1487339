"""Examples of the messages in `messages/profile.py`."""

import msgspec

from fastgshare.shared.messages import (
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfileAxes,
    ProfilePoint,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    SurfacePoint,
)
from tests.shared.golden_payloads.infer import ERROR
from tests.shared.golden_payloads.names import AT_US, LOAN, MODEL_DIGEST

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

EXAMPLES: dict[str, msgspec.Struct] = {
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
    "SurfacePoint.1": SURFACE,
}
