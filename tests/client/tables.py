"""A table as the profiler makes them, for the tests of what is done with tables."""

from itertools import product

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, ProfileState, SurfacePoint

DIGEST = Digest("a1" * 32)
KIND = "NVIDIA H200"
AXES = ProfileAxes(sm_partitions=(12, 24, 50, 100), quotas=(0.2, 0.4, 0.6, 0.8, 1.0), batches=(1, 4, 8))
MEASURED_AT_US = 1_790_000_000_000_000


def device_us(sm: int, batch: int) -> int:
    """Shorter with more SMs, until the model cannot use them."""
    return round((2_000 + 1_500 * batch) * 50 / min(sm, 50))


def surface_point(sm: int, quota: float, batch: int, measured: bool) -> SurfacePoint:
    busy_us = device_us(sm, batch)
    latency_us = round(busy_us * (1.5 + 3 * (1 - quota)))
    return SurfacePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=quota * batch * 1e6 / busy_us,
        throughput_error=0.01 if measured else 0.043,
        device_us=busy_us,
        device_p95_us=round(busy_us * 1.1),
        measured=measured,
        latency_p50_us=latency_us,
        latency_p95_us=2 * latency_us,
        latency_p99_us=3 * latency_us,
        latency_error=0.02 if measured else 0.12,
    )


def measured_point(shown: SurfacePoint, **others: object) -> ProfilePoint:
    fields: dict[str, object] = {
        "sm_partition": shown.sm_partition,
        "quota": shown.quota,
        "batch": shown.batch,
        "throughput_rps": shown.throughput_rps * 1.003,
        "throughput_error": 0.011,
        "device_us": shown.device_us,
        "p50_us": shown.device_us - 7,
        "p95_us": shown.device_p95_us,
        "p99_us": shown.device_p95_us + 100,
        "runs": 120,
        "latency_p50_us": shown.latency_p50_us,
        "latency_p95_us": shown.latency_p95_us,
        "latency_p99_us": shown.latency_p99_us,
        "load_rps": shown.throughput_rps * 0.8,
        "requests": 400,
        "memory_mib": 812.5,
        "occupancy_percent": 41.2,
        "wall_ms": 3_021.7,
    }
    return ProfilePoint(**(fields | others))  # type: ignore[arg-type]


def is_measured(sm: int, quota: float, batch: int) -> bool:
    return sm in (12, 50, 100) and quota in (0.2, 0.6, 1.0) and batch in (1, 8)


def table(**others: object) -> Profile:
    """Corners and middles measured, the rest interpolated; one point did not settle."""
    cells = list(product(AXES.sm_partitions, AXES.quotas, AXES.batches))
    surface = tuple(surface_point(*cell, is_measured(*cell)) for cell in cells)
    points = [measured_point(shown) for shown in reversed(surface) if shown.measured]
    shaky = surface_point(12, 0.2, 8, True)
    points[-2] = measured_point(shaky, settled=False, note='times drift: "hot", after 3 s', throughput_error=0.09)
    fields: dict[str, object] = {
        "model_digest": DIGEST,
        "device_kind": KIND,
        "state": ProfileState.COMPLETE,
        "points": tuple(points),
        "table_version": 19,
        "measured_at_us": MEASURED_AT_US,
        "wall_ms": 54_301.25,
        "axes": AXES,
        "surface": surface,
    }
    return Profile(**(fields | others))  # type: ignore[arg-type]
