"""Made pictures of platforms."""

from msgspec.structs import replace

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

NOW_US = 1_700_000_000 * US_PER_S


def function(name: str, **fields: object) -> FunctionView:
    """One that does well."""
    given: dict[str, object] = {
        "function": name,
        "generation": 1,
        "serving": 1,
        "slo_ms": 200.0,
        "slo_percentile": 99.0,
        "policy": "fixed",
        "wanted_min": 1,
        "wanted_max": 1,
        "ready": 1,
        "replicas": 1,
        "attainment": {"1m": 1.0, "10m": 0.995, "1h": 0.98},
        "burn": {"1m": 0.0, "10m": 0.5, "1h": 2.0},
        "rate": 12.0,
        "goodput": 11.0,
        "p50_ms": 20.0,
        "p99_ms": 80.0,
        "rate_spark": (0.0, 5.0, 10.0),
        "missed_spark": (0.0, 0.0, 1.0),
    } | fields
    return FunctionView(**given)  # type: ignore[arg-type]


def replica(name: str, of: str, *pieces: Piece, **fields: object) -> ReplicaView:
    """One that is ready."""
    chunks = tuple(sorted({chunk for one in pieces for chunk in range(one.chunk, one.chunk + one.chunks)}))
    given: dict[str, object] = {
        "replica": name,
        "function": of,
        "node": "n1",
        "device": "n1-sim0",
        "state": "ready",
        "generation": 1,
        "chunks": chunks,
        "pieces": pieces,
        "quota_request": sum(one.height for one in pieces),
        "quota_limit": 1.0,
    } | fields
    return ReplicaView(**given)  # type: ignore[arg-type]


def device(*replicas: ReplicaView, **fields: object) -> DeviceView:
    """One of four chunks."""
    given: dict[str, object] = {
        "device": "n1-sim0",
        "node": "n1",
        "kind": "sim",
        "chunks": 4,
        "memory_mib": 1000.0,
        "used_mib": 100.0,
        "is_healthy": True,
        "busy": 0.25,
        "promised": 0.5,
        "replicas": replicas,
    } | fields
    return DeviceView(**given)  # type: ignore[arg-type]


def decision(text: str, function: str = "ocr", ago_s: int = 5, kind: str = "scaled") -> Decision:
    """Something that was decided."""
    return Decision(at_us=NOW_US - ago_s * US_PER_S, kind=kind, function=function, text=text, source="scheduler")


def platform() -> PlatformView:
    """Two functions on one device."""
    ocr = replica("ocr-1", "ocr", Piece(0, 2, 0.0, 0.5), had=0.25, is_running=True)
    doc = replica("doc-1", "doc", Piece(0, 4, 0.5, 0.25), had=0.1)
    return PlatformView(
        at_us=NOW_US,
        services=tuple(
            ServiceView(service=name, instance=f"{name}-1", silent_ms=0)
            for name in ("gateway", "scheduler", "profiler", "node_manager")
        ),
        devices=(device(ocr, doc),),
        functions=(
            function("doc", rate=1.0),
            function("ocr", attainment={"1m": 0.5}, wanted_max=4, policy="objective", reasons=("each device is full",)),
        ),
        decisions=(
            decision("from 1 to 2 replicas: demand grows"),
            decision("generation 2", "doc", 90, "function_defined"),
        ),
    )


def with_devices(count: int) -> PlatformView:
    """The same with so many devices."""
    first = platform().devices[0]
    return replace(platform(), devices=tuple(replace(first, device=f"n{one}-sim0") for one in range(count)))
