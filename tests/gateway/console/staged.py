"""A platform that never ran, for a console to look at: shared devices, functions in all moods, one measured model."""

import math

from msgspec.structs import replace

from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, ModelRef, Profile, ProfilePoint, ProfileState, Slice, SurfacePoint
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.overview.view import (
    Decision,
    DeviceView,
    FunctionView,
    Piece,
    PlatformView,
    ReplicaView,
    ServiceView,
)
from fastgshare.shared.units import US_PER_S

GPU, CPU = "NVIDIA H200", "cpu-amd-epyc"
DIGEST = Digest("ab" * 32)
SLO_MS = 69.0


def replica(
    function: str, device: str, chunks: range, bottom: float, quota: float, had: float, **more: object
) -> ReplicaView:
    """One replica with a rectangle of one piece."""
    fields = {"state": "ready", "generation": 1, "memory_mib": 310.5, "weights_mib": 97.8, "depth": 3, **more}
    return ReplicaView(
        replica=f"{function}-g1-{chunks.start}-{device[-1]}",
        function=function,
        node="node-a",
        device=device,
        chunks=tuple(chunks),
        quota_request=quota,
        quota_limit=min(1.0, quota * 2),
        pieces=(Piece(chunks.start, len(chunks), bottom, quota),),
        had=had,
        **fields,  # type: ignore[arg-type]
    )


def over(loan: ReplicaView) -> ReplicaView:
    """On loan where others are promised all of the time."""
    return replace(loan, quota_request=0.0, pieces=tuple(replace(piece, is_over=True) for piece in loan.pieces))


def gpu(name: str, replicas: tuple[ReplicaView, ...], **more: object) -> DeviceView:
    """A device of sixteen chunks."""
    area = sum(len(each.chunks) * each.quota_request for each in replicas) / 16
    used = sum(len(each.chunks) * each.had for each in replicas) / 16
    spark = tuple(0.55 + 0.3 * math.sin(at / 5) for at in range(40))
    fields = {
        "is_healthy": True,
        "busy_spark": spark,
        "gauges": {"sm_util_percent": 81.0, "sm_occupancy_percent": 47.3},
        **more,
    }
    return DeviceView(
        device=name,
        node="node-a",
        kind=GPU,
        chunks=16,
        memory_mib=143771.0,
        used_mib=18234.5,
        busy=min(used, 1.0),
        promised=area,
        replicas=replicas,
        **fields,  # type: ignore[arg-type]
    )


def devices(beat: int) -> tuple[DeviceView, ...]:
    """Four of them: full, half full, fenced, and cores."""
    swing = 0.05 * math.sin(beat)
    first = gpu(
        "node-a-gpu0",
        (
            replica("resnet50", "node-a-gpu0", range(8), 0.0, 0.4, 0.36 + swing, is_running=beat % 2 == 0),
            replica("bert-large", "node-a-gpu0", range(8), 0.4, 0.6, 0.58, is_running=beat % 2 == 1),
            replica("rnnt", "node-a-gpu0", range(8, 10), 0.0, 1.0, 0.93, is_running=True),
            replica("vgg19", "node-a-gpu0", range(10, 16), 0.0, 0.5, 0.62),
            replica("resnet50", "node-a-gpu0", range(10, 13), 0.5, 0.3, 0.1 + swing),
            replica("mobilenet-with-a-long-name", "node-a-gpu0", range(13, 16), 0.5, 0.12, 0.02),
            over(replica("ocr", "node-a-gpu0", range(8), 0.88, 0.12, 0.06, is_loan=True)),
        ),
    )
    second = gpu(
        "node-a-gpu1",
        (
            replica("resnet50", "node-a-gpu1", range(4), 0.0, 0.4, 0.0, state="loading", depth=0),
            replica("profile-loan", "node-a-gpu1", range(8, 16), 0.0, 0.7, 0.5, is_loan=True),
        ),
    )
    third = gpu(
        "node-b-gpu0", (), is_healthy=False, reason="ECC error: fenced until it is reset", gauges={}, busy_spark=()
    )
    cores = DeviceView(
        device="node-c-cpu0",
        node="node-c",
        kind=CPU,
        chunks=2,
        memory_mib=24105.0,
        used_mib=220.0,
        is_healthy=True,
        busy=0.34,
        promised=0.3,
        busy_spark=(0.1, 0.2, 0.4, 0.3, 0.34),
        replicas=(
            replica("filetype", "node-c-cpu0", range(1), 0.0, 0.5, 0.6),
            replica("ocr", "node-c-cpu0", range(1, 2), 0.0, 0.1, 0.08),
        ),
    )
    return (first, second, third, cores)


def function(name: str, met: float | None, rate: float, p99_ms: float | None, **more: object) -> FunctionView:
    """A function that meets its objective for so many of its requests."""
    burn = None if met is None else (1 - met) / 0.01
    windows = {"1m": met, "10m": met and min(1.0, met + 0.002), "1h": met and min(1.0, met + 0.004)}
    spark = tuple(rate * (1 + 0.3 * math.sin(at / 4)) for at in range(50)) if rate else ()
    missed = tuple(0.5 if met is not None and met < 0.99 and at % 9 == 0 else 0.0 for at in range(50))
    fields = {
        "generation": 3,
        "serving": 3,
        "ready": 2,
        "replicas": 2,
        "wanted_min": 1,
        "wanted_max": 4,
        "policy": "objective",
        **more,
    }
    return FunctionView(
        function=name,
        slo_ms=SLO_MS,
        slo_percentile=99.0,
        model_digest=DIGEST,
        attainment=windows,
        burn={"1m": burn, "10m": burn, "1h": burn},
        rate=rate,
        goodput=rate * (met or 0),
        p50_ms=None if p99_ms is None else p99_ms / 3,
        p99_ms=p99_ms,
        outstanding=round(rate / 20),
        rate_spark=spark,
        missed_spark=missed if rate else (),
        profiles={GPU: "complete"},
        **fields,  # type: ignore[arg-type]
    )


FUNCTIONS = (
    function("bert-large", 0.9712, 41.3, 88.1, refused={"overloaded": 12, "deadline_exceeded": 3}),
    function("filetype", 1.0, 3.2, 21.9, policy="fixed", wanted_min=1, wanted_max=1, ready=1),
    function("mobilenet-with-a-long-name", 0.9996, 812.6, 9.4),
    function("ocr", None, 0.0, None, wanted_min=0),
    function("resnet50", 0.9987, 109.7, 61.2),
    function("rnnt", 0.9931, 12.4, 66.0, held=4),
    function(
        "vgg19", 0.995, 8.0, 55.0, ready=1, wanted_min=2, reasons=("no room for more: 12 of 16 chunks are promised",)
    ),
)
TOLD_US = 1_790_000_000 * US_PER_S
TOLD = (
    ("scaled_up", "resnet50", "2 to 3 replicas: 109.7 requests/s forecast, 84 can be served within 69 ms at p99"),
    ("replica_placed", "resnet50", "node-a-gpu1: chunks 0 to 3, 40 % of the time; the fullest device with room"),
    ("no_room", "vgg19", "12 of 16 chunks are promised on every healthy device"),
    ("device_fenced", "", "node-b-gpu0: ECC error"),
    ("cold_start", "ocr", "from no replica to the first answer in 506 ms"),
    ("quota_grown", "bert-large", "0.5 to 0.6 of the time in place: cheaper than another replica"),
)


def surface() -> tuple[SurfacePoint, ...]:
    """Throughput that grows with SMs and quota, latency that falls."""
    return tuple(
        SurfacePoint(
            sm_partition=sm,
            quota=quota,
            batch=batch,
            throughput_rps=round(250 * quota * (sm / 100) ** 0.6 * batch**0.3, 1),
            throughput_error=0.02 if (sm + batch) % 3 == 0 else 0.11,
            device_us=round(4000 * batch**0.7 / (sm / 100) ** 0.6),
            device_p95_us=round(4400 * batch**0.7 / (sm / 100) ** 0.6),
            measured=(sm + batch) % 3 == 0,
            latency_p50_us=round(9000 * batch**0.7 / quota),
            latency_p95_us=round(14000 * batch**0.7 / quota),
            latency_p99_us=round(17000 * batch**0.7 / quota),
            latency_error=0.08,
        )
        for sm in (6, 12, 24, 50, 100)
        for quota in (0.2, 0.4, 0.6, 0.8, 1.0)
        for batch in (1, 2, 4, 8)
    )


def measured(point: SurfacePoint) -> ProfilePoint:
    """What was measured where the surface says so."""
    return ProfilePoint(
        sm_partition=point.sm_partition,
        quota=point.quota,
        batch=point.batch,
        throughput_rps=point.throughput_rps,
        p50_us=point.device_us,
        p95_us=point.device_p95_us,
        p99_us=point.device_p95_us,
        device_us=point.device_us,
        runs=200,
    )


class Staged(Overview):
    """An overview that tells what is staged; each look is one beat later."""

    def __init__(self) -> None:
        super().__init__()
        self.beat = 0
        self.staged: tuple[FunctionView, ...] = FUNCTIONS
        model = ModelRef(digest=DIGEST, size_bytes=102_400_000, source="resnet50.onnx")
        for each in FUNCTIONS:
            name = FunctionName(each.function)
            self.function(name, FunctionSpec(name=name, model=model, slo_ms=SLO_MS, slice=Slice(quota_request=0.4)))
        points = tuple(measured(point) for point in surface() if point.measured)
        table = Profile(
            model_digest=DIGEST, device_kind=GPU, state=ProfileState.COMPLETE, points=points, surface=surface()
        )
        self.profile("table", table)

    def names(self) -> list[FunctionName]:
        """The functions."""
        return [FunctionName(each.function) for each in self.staged]

    def view(self, now_us: int) -> PlatformView:
        """This beat's picture."""
        self.beat += 1
        decisions = tuple(
            Decision(
                at_us=TOLD_US - at * 7 * US_PER_S,
                kind=kind,
                function=about,
                text=text,
                source="scheduler-0",
            )
            for at, (kind, about, text) in enumerate(TOLD * 4)
        )
        return PlatformView(
            at_us=now_us,
            services=(ServiceView(service="gateway", instance="gateway-0", silent_ms=120),),
            devices=devices(self.beat),
            functions=self.staged,
            decisions=decisions,
        )
