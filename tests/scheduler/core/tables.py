"""Throughput tables for tests: from a curve of device times, as if every point had been measured in a closed loop."""

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState

V100 = "sim-v100-16g"
CHUNKS = 16
SMS = (6, 12, 18, 25, 37, 50, 75, 100)
QUOTAS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
BATCHES = (1, 2, 4, 8)


def curve(model: str) -> SpeedCurve:
    """A published model's on the V100: `resnet50`, `bert`, `rnnt`, `gnmt`."""
    return shipped()[f"v100/{model}"].curve


def table(speed: SpeedCurve, digest: str, kind: str = V100, sms: tuple[int, ...] = SMS) -> Profile:
    """A complete table."""
    points = [point(speed, sm, quota, batch) for sm in sms for quota in QUOTAS for batch in BATCHES]
    return Profile(model_digest=Digest(digest), device_kind=kind, state=ProfileState.COMPLETE, points=tuple(points))


def point(speed: SpeedCurve, sm: int, quota: float, batch: int) -> ProfilePoint:
    """One point: a batch takes what the curve says, and quotas share time."""
    device_us = speed.batch_us(sm, batch)
    return ProfilePoint(
        sm_partition=sm,
        quota=quota,
        batch=batch,
        throughput_rps=quota * batch * 1e6 / device_us,
        p50_us=device_us,
        p95_us=device_us,
        p99_us=device_us,
        device_us=device_us,
        runs=20,
    )
