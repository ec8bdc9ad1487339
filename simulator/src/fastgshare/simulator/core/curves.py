"""The table that a profiler would have measured of a model whose speed is a curve. Pure, and always the same.

To the throughputs and device times of `tables` come latencies: of single inputs that come by a Poisson process at 80 %
of the throughput, as a profiler measures them, to a replica that may run for `quota` of each window: a batch begins
when the last one is done and the window's time is not spent, and what it takes over that is taken off the next.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec.structs import replace

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, SurfacePoint
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.tables import profile_of

LOAD = 0.8
REQUESTS = 1_000
SEED = 20_230_900


def table_of(
    curve: SpeedCurve, digest: Digest, kind: str, chunks: int, window_us: int, max_batch: int, source: str = ""
) -> Profile:
    """The complete table, at every number of chunks and at batches of 1, 2, 4 and so on up to `max_batch`."""
    bare = profile_of(curve, digest, kind, chunks, batches=_batches(max_batch))
    return replace(bare, surface=tuple(_waited(point, curve, window_us) for point in bare.surface), source=source)


def latencies_us(batch_times_us: Sequence[int], quota: float, window_us: int, load_rps: float) -> list[int]:
    """Of `REQUESTS` inputs, ascending; `batch_times_us[n - 1]` is what a batch of n takes."""
    chance = np.random.default_rng(SEED)
    came = (np.cumsum(chance.standard_exponential(REQUESTS)) * US_PER_S / load_rps).tolist()
    budget_us, window, free_us = quota * window_us, 0, 0.0
    took: list[float] = []
    at = 0
    while at < REQUESTS:
        start_us = max(free_us, came[at])
        now = int(start_us // window_us)
        if now > window:
            budget_us = min(budget_us + (now - window) * quota * window_us, quota * window_us)
            window = now
        if budget_us <= 0:
            windows = math.floor(-budget_us / (quota * window_us)) + 1
            budget_us += windows * quota * window_us
            window += windows
            start_us = float(window * window_us)
        rows = 1
        while rows < len(batch_times_us) and at + rows < REQUESTS and came[at + rows] <= start_us:
            rows += 1
        free_us = start_us + batch_times_us[rows - 1]
        budget_us -= batch_times_us[rows - 1]
        took += [free_us - came_us for came_us in came[at : at + rows]]
        at += rows
    return sorted(round(each) for each in took)


def axes_of_points(points: Iterable[ProfilePoint]) -> ProfileAxes:
    """The values that these points have."""
    cells = [(point.sm_partition, point.quota, point.batch) for point in points]
    sms, quotas, batches = (tuple(sorted(set(values))) for values in zip(*cells, strict=True))
    return ProfileAxes(sm_partitions=sms, quotas=quotas, batches=batches)


def _batches(max_batch: int) -> tuple[int, ...]:
    powers = [1 << power for power in range(max_batch.bit_length())]
    return tuple(sorted({*(batch for batch in powers if batch <= max_batch), max_batch}))


def _waited(point: SurfacePoint, curve: SpeedCurve, window_us: int) -> SurfacePoint:
    """The point with its latencies."""
    times_us = [curve.batch_us(point.sm_partition, rows) for rows in range(1, point.batch + 1)]
    latencies = latencies_us(times_us, point.quota, window_us, LOAD * point.throughput_rps)
    p50, p95, p99 = (latencies[math.ceil(share * REQUESTS) - 1] for share in (0.5, 0.95, 0.99))
    return replace(point, latency_p50_us=p50, latency_p95_us=p95, latency_p99_us=p99)
