"""What people see of a table: its points, measured ones by what was measured there, and the best batch of each slice.

Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fastgshare.shared.messages import FunctionSpec, Profile, ProfilePoint, SurfacePoint
from fastgshare.shared.units import ms_to_us

ENOUGH_REQUESTS = 20
MOST_ERROR = 1.0
"""A relative error above this says that the value is not known."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One point. Latencies are 0 where nothing is known; errors are relative; `note`: why it did not settle.

    `requests`: how many its latencies were measured with; 0: they were not, or nobody told.
    """

    sm_percent: int
    quota: float
    batch: int
    throughput_rps: float
    throughput_error: float
    device_us: int
    device_p95_us: int
    p50_us: int
    p95_us: int
    p99_us: int
    latency_error: float
    is_measured: bool
    is_settled: bool = True
    note: str = ""
    requests: int = 0

    @property
    def is_certain(self) -> bool:
        """Whether it was measured to satisfaction."""
        return self.is_measured and self.is_settled

    @property
    def has_few_requests(self) -> bool:
        """Whether its measured tail is that of hardly more requests than one."""
        return self.is_certain and self.p99_us > 0 and 0 < self.requests < ENOUGH_REQUESTS


class Timing(StrEnum):
    """Which of a point's times an objective is held against: by the names of `Shown`'s fields."""

    P50 = "p50_us"
    P95 = "p95_us"
    P99 = "p99_us"
    DEVICE = "device_p95_us"

    @property
    def is_latency(self) -> bool:
        """Whether it is from arrival to answer; else a batch's own time on the device."""
        return self is not Timing.DEVICE

    def of(self, row: Shown) -> int:
        """That time of a point in microseconds; 0 where it is not known."""
        return int(getattr(row, self.value))

    def __str__(self) -> str:
        return f"{self.value.removesuffix('_us')} latency" if self.is_latency else "device time p95 of a batch"


@dataclass(frozen=True, slots=True)
class Objective:
    """Within how long which share of the requests is to be answered, and which time of a table tells."""

    slo_us: int
    percentile: float
    timing: Timing = Timing.P99

    def is_met(self, row: Shown) -> bool:
        """Whether requests on this slice, in batches of this size, are answered in time, as far as is known."""
        return (self.timing.of(row) or row.device_p95_us) <= self.slo_us

    def __str__(self) -> str:
        return f"p{self.percentile:g} within {self.slo_us / 1000:g} ms"


def objective_of(spec: FunctionSpec, rows: Sequence[Shown]) -> Objective:
    """A function's objective, held against the next percentile that was measured, else the last one that was."""
    known = [timing for timing in (Timing.P50, Timing.P95, Timing.P99) if any(timing.of(row) for row in rows)]
    least = Timing.P50 if spec.slo_percentile <= 50 else Timing.P95 if spec.slo_percentile <= 95 else Timing.P99
    fit = [timing for timing in known if timing.value >= least.value]
    timing = fit[0] if fit else known[-1] if known else Timing.DEVICE
    return Objective(ms_to_us(spec.slo_ms), spec.slo_percentile, timing)


def shown_rows(profile: Profile) -> list[Shown]:
    """Every point there is, by SMs, quota and batch; for one that did not settle, what the others make of it."""
    rows = {(p.sm_partition, p.quota, p.batch): _interpolated(p) for p in profile.surface}
    for point in profile.points:
        cell = (point.sm_partition, point.quota, point.batch)
        known = rows.get(cell)
        if known is not None and not point.settled:
            rows[cell] = replace(known, is_measured=True, is_settled=False, note=point.note)
        else:
            rows[cell] = _measured(point, known.latency_error if known is not None else 0.0)
    return [rows[cell] for cell in sorted(rows)]


def best_rows(rows: Iterable[Shown], objective: Objective) -> list[Shown]:
    """For each slice the batch of highest throughput that meets the objective; the quickest where none does.

    Only batches of which anything was measured, and errors that leave something known, unless nothing else is there.
    """
    rows = list(rows)
    measured = {row.batch for row in rows if row.is_measured}
    by_slice: dict[tuple[int, float], list[Shown]] = {}
    for row in rows:
        if row.batch in measured or not measured:
            by_slice.setdefault((row.sm_percent, row.quota), []).append(row)
    return [_best(by_slice[cell], objective) for cell in sorted(by_slice)]


def batches_of(rows: Iterable[Shown]) -> list[int]:
    """The batch sizes there are, ascending."""
    return sorted({row.batch for row in rows})


def best_batch(rows: Iterable[Shown], objective: Objective) -> int:
    """The batch that gets the most out of the largest slice within the objective."""
    return best_rows(rows, objective)[-1].batch


def largest_error(rows: Iterable[Shown]) -> float:
    """How far the truth may be from an interpolated throughput, at most."""
    return max((row.throughput_error for row in rows if not row.is_measured), default=0.0)


def _best(rows: list[Shown], objective: Objective) -> Shown:
    known = [row for row in rows if row.throughput_error <= MOST_ERROR] or rows
    met = [row for row in known if objective.is_met(row)]
    if met:
        return max(met, key=lambda row: row.throughput_rps)
    return min(known, key=lambda row: objective.timing.of(row) or row.device_p95_us)


def _interpolated(point: SurfacePoint) -> Shown:
    return Shown(
        sm_percent=point.sm_partition,
        quota=point.quota,
        batch=point.batch,
        throughput_rps=point.throughput_rps,
        throughput_error=point.throughput_error,
        device_us=point.device_us,
        device_p95_us=point.device_p95_us,
        p50_us=point.latency_p50_us,
        p95_us=point.latency_p95_us,
        p99_us=point.latency_p99_us,
        latency_error=point.latency_error,
        is_measured=point.measured,
    )


def _measured(point: ProfilePoint, latency_error: float) -> Shown:
    return Shown(
        sm_percent=point.sm_partition,
        quota=point.quota,
        batch=point.batch,
        throughput_rps=point.throughput_rps,
        throughput_error=point.throughput_error,
        device_us=point.device_us,
        device_p95_us=point.p95_us,
        p50_us=point.latency_p50_us,
        p95_us=point.latency_p95_us,
        p99_us=point.latency_p99_us,
        latency_error=latency_error,
        is_measured=True,
        is_settled=point.settled,
        note=point.note,
        requests=point.requests,
    )
