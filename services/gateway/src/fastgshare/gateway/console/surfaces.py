"""Throughput tables as the page draws them: every point, which of them were measured, and how sure they are."""

from collections.abc import Iterable
from typing import Any

from fastgshare.shared.messages import Profile, SurfacePoint
from fastgshare.shared.units import US_PER_MS


def table_document(profile: Profile) -> dict[str, Any]:
    """One table; latencies and times in milliseconds, None where none was measured."""
    return {
        "device_kind": profile.device_kind,
        "state": profile.state.value,
        "reason": profile.reason,
        "source": profile.source,
        "measured_at_us": profile.measured_at_us,
        "wall_ms": profile.wall_ms,
        "measured_points": len(profile.points),
        "points": [_point(point) for point in _in_order(profile.surface)],
    }


def _in_order(points: Iterable[SurfacePoint]) -> list[SurfacePoint]:
    return sorted(points, key=lambda point: (point.batch, point.sm_partition, point.quota))


def _point(point: SurfacePoint) -> dict[str, Any]:
    return {
        "sm": point.sm_partition,
        "quota": point.quota,
        "batch": point.batch,
        "rps": round(point.throughput_rps, 3),
        "rps_error": round(point.throughput_error, 4),
        "device_ms": _ms(point.device_us),
        "p50_ms": _ms(point.latency_p50_us),
        "p95_ms": _ms(point.latency_p95_us),
        "p99_ms": _ms(point.latency_p99_us),
        "latency_error": round(point.latency_error, 4),
        "measured": point.measured,
    }


def _ms(us: int) -> float | None:
    return round(us / US_PER_MS, 3) if us else None
