"""Throughput and latency tables: what a model does on a kind of device at each (SMs, quota, batch)."""

from enum import StrEnum
from typing import Annotated

import msgspec

from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import Digest

MAX_RUNS = 10_000
MAX_BUDGET_MS = 60_000
MAX_BUDGET_S = 1_000_000.0

Runs = Annotated[int, msgspec.Meta(ge=0, le=MAX_RUNS)]
BudgetMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_BUDGET_MS)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ProfileState(StrEnum):
    """How far a table is: still growing, done, or given up with a reason."""

    MEASURING = "measuring"
    COMPLETE = "complete"
    FAILED = "failed"


class ProfilePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One measured point.

    `throughput_rps`: inputs a second of a closed loop, by the wall clock; `throughput_error` is the half width of its
    95 % confidence interval as a share of it. `device_us`, `p50_us`, `p95_us`, `p99_us`: device time of a batch, mean
    and percentiles. `latency_*_us`: from arrival to answer of `requests` single inputs that came by a Poisson process
    at `load_rps`, in batches of at most `batch`; 0 where that was not measured. `memory_mib`: the replica's own and its
    weights. `note` says why a point is not `settled`.
    """

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
    throughput_error: float = 0.0
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    latency_p99_us: int = 0
    load_rps: float = 0.0
    requests: int = 0
    memory_mib: float = 0.0
    occupancy_percent: float | None = None
    note: str = ""
    wall_ms: float = 0.0


class SurfacePoint(msgspec.Struct, frozen=True, kw_only=True):
    """What to expect at one point of a table's axes, `measured` there or interpolated.

    `throughput_error` is relative: the true value lies within it with a confidence of 95 %; `latency_error` likewise
    for the three latencies, which are 0 where none was measured anywhere.
    """

    sm_partition: int
    quota: float
    batch: int
    throughput_rps: float
    throughput_error: float
    device_us: int
    device_p95_us: int
    measured: bool
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    latency_p99_us: int = 0
    latency_error: float = 0.0


class ProfileAxes(msgspec.Struct, frozen=True, kw_only=True):
    """The values a table's points may have, each ascending: percent of the SMs, share of time, inputs a batch."""

    sm_partitions: tuple[int, ...]
    quotas: tuple[float, ...]
    batches: tuple[int, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The table of one (model digest, device kind), as it stands in the `profiles` bucket.

    `points` were measured; `surface` has every point of `axes` once the first was. `is_grid`: all of them were to be
    measured. `source` says where an imported table came from. It was completed for functions with batches of
    at most `max_batch` and objectives of at most `objective_us` (0: not told): what `axes` lack of that is of no use to
    them, or more than the model takes.
    """

    model_digest: Digest
    device_kind: str
    state: ProfileState
    points: tuple[ProfilePoint, ...] = ()
    version: int = 1
    table_version: int = 1
    reason: str = ""
    measured_at_us: int = 0
    wall_ms: float = 0.0
    axes: ProfileAxes | None = None
    surface: tuple[SurfacePoint, ...] = ()
    is_grid: bool = False
    source: str = ""
    max_batch: int = 0
    objective_us: int = 0


class MeasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a worker to measure one point on one replica's slice with synthetic batches of `batch` inputs.

    A closed loop first: warm-up until times are steady, then runs back to back until the throughput is known within
    `precision` (half a 95 % confidence interval, relative), `max_runs`, or `budget_ms` from the first run on, but not
    before `min_runs`. Then, unless `open_ms` is 0, single inputs that arrive by a Poisson process, `seed`ed, at `load`
    of that throughput for `open_ms`.

    `chunks` (how many of those it holds) and `quota` narrow the slice; both 0: as it is. Only replicas on loan may be
    narrowed. A batch whose device time alone is longer than `slowest_ms` ends the measurement, and is among the reply's
    `execute_us`; 0: none does.
    """

    batch: int
    warmup_runs: Runs = 2
    min_runs: Runs = 5
    max_runs: Runs = 200
    budget_ms: BudgetMs = 1000
    version: int = 1
    chunks: Annotated[int, msgspec.Meta(ge=0)] = 0
    quota: Share = 0.0
    precision: Share = 0.02
    open_ms: BudgetMs = 0
    load: Share = 0.8
    seed: int = 0
    slowest_ms: BudgetMs = 0


class MeasureReply(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, or why nothing was.

    `execute_us`: device times of the runs after `warmup_runs`, in order. `throughput_rps`, `throughput_error`,
    `settled`, `note`: as in `ProfilePoint`. `latency_us`: of the open loop's requests in order of arrival, at
    `load_rps`. `disturbed`: for what share of the time others ran on its chunks. `memory_grown_mib`: by how much the
    replica's memory grew while it was measured.
    """

    execute_us: tuple[int, ...] = ()
    chunks: int = 1
    total_chunks: int = 1
    error: ErrorBody | None = None
    version: int = 1
    warmup_runs: int = 0
    throughput_rps: float = 0.0
    throughput_error: float = 0.0
    settled: bool = True
    note: str = ""
    latency_us: tuple[int, ...] = ()
    load_rps: float = 0.0
    disturbed: float = 0.0
    memory_mib: float = 0.0
    memory_grown_mib: float = 0.0
    occupancy_percent: float | None = None


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the profiler for a function's table.

    `again` measures even where one is complete, `grid` every point of the axes. `budget_s` bounds the time spent on
    measuring, 0: no bound beside the number of points.
    """

    function: str
    again: bool = False
    version: int = 1
    grid: bool = False
    budget_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_BUDGET_S)] = 0.0


class ProfileProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the profiler is with a function: points done of points planned, and the table's state.

    `error` is the largest relative error of throughput that any point of the surface may have, measured ones and what
    is left out included, now and in the last report; 0 while nothing is known.
    """

    function: str
    done: int
    planned: int
    state: ProfileState
    reason: str = ""
    left_ms: int = 0
    version: int = 1
    error: float = 0.0


class LoanState(StrEnum):
    """What became of a wish for a slice: lent, not now, or never as things are."""

    LENT = "lent"
    WAITING = "waiting"
    REFUSED = "refused"


class LoanWish(msgspec.Struct, frozen=True, kw_only=True):
    """A profiler wishes to borrow a slice of a device of this kind for a function's model.

    Asked again every half second for as long as the slice is needed: a loan that nobody asks for any more ends after
    three seconds, one that is `over` at once. `asked` tells that a person waits for it: then it is lent beside traffic
    too. What is lent is spare time only: whoever else holds the chunks comes first.
    """

    loan: str
    function: str
    device_kind: str
    sm_partition: int = 100
    asked: bool = False
    over: bool = False
    version: int = 1


class LoanReply(msgspec.Struct, frozen=True, kw_only=True):
    """The leading scheduler's answer: the replica to measure on once it is ready, or why there is none."""

    loan: str
    state: LoanState
    replica: str = ""
    reason: str = ""
    version: int = 1
