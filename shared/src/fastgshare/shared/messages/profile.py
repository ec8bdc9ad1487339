"""Throughput and latency tables: what a model does on a kind of device at each (chunks, quota, batch)."""

from enum import StrEnum
from typing import Annotated

import msgspec

from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import Digest

MAX_RUNS = 10_000
MAX_BUDGET_MS = 60_000

Runs = Annotated[int, msgspec.Meta(ge=0, le=MAX_RUNS)]
BudgetMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_BUDGET_MS)]


class ProfileState(StrEnum):
    """How far a table is: still growing, done, or given up with a reason."""

    MEASURING = "measuring"
    COMPLETE = "complete"
    FAILED = "failed"


class ProfilePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One measured point. Throughput in inputs a second, times in microseconds per batch."""

    sm_partition: int
    quota: float
    batch: int
    throughput_rps: float
    p50_us: int
    p95_us: int
    p99_us: int
    device_us: int
    runs: int
    settled: bool = True


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The table of one (model digest, device kind), as it stands in the `profiles` bucket."""

    model_digest: Digest
    device_kind: str
    state: ProfileState
    points: tuple[ProfilePoint, ...] = ()
    version: int = 1
    table_version: int = 1
    reason: str = ""
    measured_at_us: int = 0
    wall_ms: float = 0.0


class MeasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a worker to run batches of `batch` synthetic inputs back to back on one replica's slice.

    It stops after `max_runs` runs or `budget_ms`, whichever is first, but not before `min_runs`.
    """

    batch: int
    warmup_runs: Runs = 2
    min_runs: Runs = 5
    max_runs: Runs = 200
    budget_ms: BudgetMs = 1000
    version: int = 1


class MeasureReply(msgspec.Struct, frozen=True, kw_only=True):
    """The times of the measured runs in microseconds, in order; or why there are none."""

    execute_us: tuple[int, ...] = ()
    chunks: int = 1
    total_chunks: int = 1
    error: ErrorBody | None = None
    version: int = 1


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the profiler for a function's table; `again` measures even where one is complete."""

    function: str
    again: bool = False
    version: int = 1


class ProfileProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the profiler is with a function: points done of points planned, and the table's state."""

    function: str
    done: int
    planned: int
    state: ProfileState
    reason: str = ""
    left_ms: int = 0
    version: int = 1
