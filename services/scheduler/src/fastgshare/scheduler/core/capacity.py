"""What one replica can be counted on for: requests a second on its guaranteed slice, within its objective.

From the profile where a complete one is: the best point that keeps the objective at a batch the function allows,
taken from the nearest measured slice and scaled to the one it holds. Else from what its replicas were seen to do.
The guarantee is `quota_request`: time beyond it counts for nothing here.
"""

from fastgshare.scheduler.core import traffic
from fastgshare.scheduler.core.state import FunctionState, State
from fastgshare.shared import subjects
from fastgshare.shared.messages import FunctionSpec, Profile, ProfilePoint, ProfileState
from fastgshare.shared.units import ms_to_us

P50, P95 = 50.0, 95.0


def replica_rps(state: State, function: FunctionState, spec: FunctionSpec) -> float | None:
    """Requests a second per replica, or None where nothing is known yet."""
    estimates = [
        rps
        for kind in _device_kinds(state)
        if (profile := state.profiles.get(subjects.profile_key(spec.model.digest, kind))) is not None
        and profile.state is ProfileState.COMPLETE
        and (rps := profiled_rps(profile, spec)) is not None
    ]
    if estimates:
        return min(estimates)
    observed = traffic.observed_rps(function.traffic)
    return observed * spec.slice.quota_request if observed is not None else None


def profiled_rps(profile: Profile, spec: FunctionSpec) -> float | None:
    """What the table promises for the function's slice; with no point within the objective, the quickest one's."""
    points = [point for point in profile.points if point.batch <= spec.max_batch and point.throughput_rps > 0]
    if not points:
        return None
    nearest = min(points, key=lambda point: _distance(point, spec))
    here = [point for point in points if _same_slice(point, nearest)]
    within = [point for point in here if _latency_us(point, spec) <= ms_to_us(spec.slo_ms)]
    chosen = within or [min(here, key=lambda point: _latency_us(point, spec))]
    return max(point.throughput_rps * _scale(point, spec) for point in chosen)


def _device_kinds(state: State) -> list[str]:
    kinds = {view.device.kind: True for node in state.nodes.values() for view in node.devices.values()}
    return sorted(kinds)


def _distance(point: ProfilePoint, spec: FunctionSpec) -> tuple[float, float, int, float]:
    slice_ = spec.slice
    return (
        abs(point.sm_partition - slice_.sm_partition),
        abs(point.quota - slice_.quota_request),
        point.sm_partition,
        point.quota,
    )


def _same_slice(one: ProfilePoint, other: ProfilePoint) -> bool:
    return (one.sm_partition, one.quota) == (other.sm_partition, other.quota)


def _latency_us(point: ProfilePoint, spec: FunctionSpec) -> int:
    """The measured percentile at or above the one the objective names."""
    if spec.slo_percentile <= P50:
        return point.p50_us
    return point.p95_us if spec.slo_percentile <= P95 else point.p99_us


def _scale(point: ProfilePoint, spec: FunctionSpec) -> float:
    """Down from a larger slice in proportion; never up from a smaller one, as speed-up is not promised."""
    partition = min(1.0, spec.slice.sm_partition / point.sm_partition)
    return partition * min(1.0, spec.slice.quota_request / point.quota)
