"""How a point is asked for: what the worker is told, and how long its answer is waited for."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.plan import Setting, chunks_of
from fastgshare.shared.messages import MeasureRequest, ReplicaStatus, SurfacePoint
from fastgshare.shared.messages.profile import MAX_BUDGET_MS
from fastgshare.shared.units import US_PER_MS, US_PER_S

MOST_RUNS = 1_000  # enough for a 99th percentile; a model of 0.1 ms is done within a tenth of a second
MARGIN_MS = 10_000  # others on the chunks come first, and the open loop's last requests are waited for
RUN_ALLOWANCE = 4
LEAST_RUN_MS = 500
LEAST_PACED_MS = 800
ENOUGH_REQUESTS = 100  # of the open loop: enough to tell a 95th percentile
OPEN_STRETCH = 8
LOAD = 0.8
MS_PER_S = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a point may cost, and how long requests and wishes wait.

    `budget_ms` of the device's time in a closed loop (longer by the clock where a quota holds it back) and at least
    `open_ms` of arrivals a point (longer where few would come by then), to a `precision` of its throughput (half a 95 %
    confidence interval, relative); batches that take longer than `slowest_ms` are not measured. A request fails after
    `ready_wait_us` without a slice; what is measured unasked wishes for one for `patience_us` at a time.
    """

    budget_ms: int = 600
    open_ms: int = 800
    slowest_ms: int = 10_000
    precision: float = 0.03
    ready_wait_us: int = 60 * US_PER_S
    patience_us: int = 5 * US_PER_S

    @property
    def point_ms(self) -> int:
        """What a point takes where nothing is known, at the usual quota of about a half."""
        return 2 * self.budget_ms + self.open_ms


def request_for(
    key: TableKey,
    at: Setting,
    replica: ReplicaStatus,
    device_chunks: int,
    limits: Limits,
    surface: Sequence[SurfacePoint] = (),
) -> MeasureRequest:
    """What to ask the worker of a lent replica for one point; `device_chunks` 0: as many as the replica holds.

    `surface`: what is expected of the points by now.
    """
    held = max(len(replica.chunks), 1)
    return MeasureRequest(
        batch=at.batch,
        max_runs=MOST_RUNS,
        budget_ms=_closed_ms(at.quota, limits),
        chunks=min(chunks_of(at.sm_partition, device_chunks or held), held),
        quota=at.quota,
        precision=limits.precision,
        open_ms=open_ms(expected_at(surface, at), limits),
        load=LOAD,
        seed=zlib.crc32(f"{key} {at}".encode()),
        slowest_ms=limits.slowest_ms,
    )


def _closed_ms(quota: float, limits: Limits) -> int:
    """By the clock: below the whole time tokens come by the window, and it takes some of them to see a rate."""
    if quota >= 1:
        return limits.budget_ms
    return min(max(round(limits.budget_ms / quota), LEAST_PACED_MS), MAX_BUDGET_MS)


def open_ms(expected: SurfacePoint | None, limits: Limits) -> int:
    """How long arrivals are measured: until there were enough of them, within bounds."""
    if expected is None or expected.throughput_rps <= 0:
        return limits.open_ms
    enough_ms = ENOUGH_REQUESTS / (LOAD * expected.throughput_rps) * MS_PER_S
    return round(max(limits.open_ms, min(enough_ms, OPEN_STRETCH * limits.open_ms, MAX_BUDGET_MS)))


def budgets_ms(at: Setting, expected: SurfacePoint | None, limits: Limits) -> int:
    """What a point may take, by the clock."""
    return _closed_ms(at.quota, limits) + open_ms(expected, limits)


def expected_at(surface: Sequence[SurfacePoint], at: Setting) -> SurfacePoint | None:
    """What is expected of a point; None where nothing is."""
    return next((point for point in surface if (point.sm_partition, point.quota, point.batch) == at), None)


def timeout_ms(request: MeasureRequest, surface: Sequence[SurfacePoint], at: Setting) -> int:
    """When to stop waiting for `request`: its budgets, then the runs it is owed however slow they are."""
    expected = expected_at(surface, at)
    run_ms = request.slowest_ms
    if expected is not None:
        run_ms = min(max(RUN_ALLOWANCE * expected.device_us // US_PER_MS, LEAST_RUN_MS), request.slowest_ms)
    # One that turns out to be too slow is the last; the others are stretched by the quota.
    owed_ms = round((request.warmup_runs + request.min_runs) * run_ms / max(request.quota, 0.1))
    return request.budget_ms + request.open_ms + owed_ms + MARGIN_MS
