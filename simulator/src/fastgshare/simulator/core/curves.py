"""The table that a profiler would have measured of a model whose speed is a curve. Pure, and always the same.

Throughput and device times are the curve's. Latencies are those of single inputs that come by a Poisson process at 80 %
of the throughput, as a profiler measures them, to a replica that may run for `quota` of each window: a batch begins
when the last one is done and the window's time is not spent, and what it takes over that is taken off the next.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from fastgshare.node_manager.core.speed import WHOLE_PERCENT, SpeedCurve
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, ProfileState, SurfacePoint
from fastgshare.shared.units import US_PER_S

QUOTAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
WIDTHS = 10
LOAD = 0.8
REQUESTS = 2_000
SEED = 20_230_900
SCATTER = 0.02
"""The 95th percentile of a batch's device time over its mean: of this order on GPUs that only one function uses."""


def table_of(
    curve: SpeedCurve, digest: Digest, kind: str, chunks: int, window_us: int, max_batch: int, source: str = ""
) -> Profile:
    """The complete table, at shares of whole chunks and batches of 1, 2, 4 and so on up to `max_batch`."""
    axes = ProfileAxes(
        sm_partitions=tuple(WHOLE_PERCENT * width // chunks for width in widths(chunks)),
        quotas=QUOTAS,
        batches=_batches(max_batch),
    )
    points = tuple(
        _point(curve, width, chunks, quota, batch, window_us)
        for width in widths(chunks)
        for quota in axes.quotas
        for batch in axes.batches
    )
    return Profile(
        model_digest=digest,
        device_kind=kind,
        state=ProfileState.COMPLETE,
        points=points,
        axes=axes,
        surface=tuple(_expected(point) for point in points),
        is_grid=True,
        source=source,
        max_batch=max_batch,
    )


def widths(chunks: int) -> tuple[int, ...]:
    """How many chunks a table's slices have: every number of few, then growing steps, and all."""
    found = {chunks}
    width = 1
    while width < chunks:
        found.add(width)
        width += max(width // 2, 1) if len(found) > WIDTHS // 2 else 1
    return tuple(sorted(found))


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


def _point(curve: SpeedCurve, width: int, chunks: int, quota: float, batch: int, window_us: int) -> ProfilePoint:
    times_us = [curve.batch_us(WHOLE_PERCENT * width / chunks, rows) for rows in range(1, batch + 1)]
    rps = quota * batch * US_PER_S / times_us[-1]
    latencies = latencies_us(times_us, quota, window_us, LOAD * rps)
    p50, p95, p99 = (latencies[math.ceil(share * REQUESTS) - 1] for share in (0.5, 0.95, 0.99))
    high_us = round(times_us[-1] * (1 + SCATTER))
    return ProfilePoint(
        sm_partition=WHOLE_PERCENT * width // chunks,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        p50_us=times_us[-1],
        p95_us=high_us,
        p99_us=high_us,
        device_us=times_us[-1],
        runs=0,
        latency_p50_us=p50,
        latency_p95_us=p95,
        latency_p99_us=p99,
        load_rps=LOAD * rps,
        requests=REQUESTS,
    )


def _expected(point: ProfilePoint) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=point.sm_partition,
        quota=point.quota,
        batch=point.batch,
        throughput_rps=point.throughput_rps,
        throughput_error=point.throughput_error,
        device_us=point.device_us,
        device_p95_us=point.p95_us,
        measured=True,
        latency_p50_us=point.latency_p50_us,
        latency_p95_us=point.latency_p95_us,
        latency_p99_us=point.latency_p99_us,
    )
