"""Which batch sizes are worth measuring, in which order, and how long each may take.

Sizes double up to the largest the replicas take. The walk ends early where nothing is to be gained:
throughput grew by no more than 3 % twice running, or half of the batches already take longer than the
objective.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastgshare.shared.messages import MeasureRequest, ProfilePoint
from fastgshare.shared.units import US_PER_MS

GROWTH_WORTH_IT = 1.03
STALE_POINTS = 2

MOST_RUNS = 1_000  # enough for a 99th percentile; a model of 0.1 ms is done within a tenth of a second
MARGIN_MS = 2_000  # the worker finishes the batch it is at before it measures
RUN_ALLOWANCE = 4
LEAST_RUN_MS = 500
MOST_RUN_MS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of one table: up to `max_batch`, for functions whose loosest objective is `objective_us`."""

    max_batch: int
    objective_us: int

    def batches(self) -> tuple[int, ...]:
        """1, 2, 4, ... and the largest size itself."""
        doubling = [1 << power for power in range(self.max_batch.bit_length())]
        return (*(size for size in doubling if size < self.max_batch), max(self.max_batch, 1))

    def due(self, points: Sequence[ProfilePoint]) -> tuple[int, ...]:
        """The sizes still to measure given those in `points`, the next first; none: the table is complete."""
        measured = {point.batch: point for point in points}
        sizes = self.batches()
        best_rps = 0.0
        stale = 0
        for position, size in enumerate(sizes):
            point = measured.get(size)
            if point is None:
                return tuple(later for later in sizes[position:] if later not in measured)
            stale = 0 if point.throughput_rps > GROWTH_WORTH_IT * best_rps else stale + 1
            best_rps = max(best_rps, point.throughput_rps)
            if stale == STALE_POINTS or point.p50_us > self.objective_us:
                return ()
        return ()

    def request(self, batch: int, budget_ms: int) -> MeasureRequest:
        """What to ask a worker for one size."""
        return MeasureRequest(batch=batch, budget_ms=budget_ms, max_runs=MOST_RUNS)

    def left_ms(self, points: Sequence[ProfilePoint], budget_ms: int) -> int:
        """About how long the due sizes will take together."""
        return sum(
            _expected_ms(self.request(size, budget_ms), _expected_run_us(points, size)) for size in self.due(points)
        )

    def timeout_ms(self, points: Sequence[ProfilePoint], request: MeasureRequest) -> int:
        """When to stop waiting for `request`: its budget, then the runs it is owed however slow they are."""
        run_us = _expected_run_us(points, request.batch)
        run_ms = run_us * RUN_ALLOWANCE // US_PER_MS if run_us else 2 * self.objective_us // US_PER_MS
        run_ms = min(max(run_ms, LEAST_RUN_MS), MOST_RUN_MS)
        return request.budget_ms + (request.warmup_runs + request.min_runs) * run_ms + MARGIN_MS


def _expected_run_us(points: Sequence[ProfilePoint], batch: int) -> int:
    """A batch's time, in proportion to the nearest measured one below; 0 while nothing is measured."""
    nearest = max(points, key=lambda point: (point.batch <= batch, point.batch), default=None)
    return 0 if nearest is None else nearest.device_us * batch // nearest.batch


def _expected_ms(request: MeasureRequest, run_us: int) -> int:
    if run_us == 0:
        return request.budget_ms
    in_budget = request.budget_ms * US_PER_MS // run_us
    runs = max(min(in_budget, request.max_runs), request.min_runs)
    return (request.warmup_runs + runs) * run_us // US_PER_MS
