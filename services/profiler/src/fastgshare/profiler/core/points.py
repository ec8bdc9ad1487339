"""From the times of back-to-back runs to one measured point.

Percentiles are nearest-rank: the shortest measured time that at least that share of the runs did not exceed.
A point is settled when its second half took as long as its first: neither warm-up nor a passing neighbour
shaped it.
"""

from collections.abc import Sequence

from fastgshare.shared.messages import MeasureReply, ProfilePoint
from fastgshare.shared.units import US_PER_S

SETTLED_SPREAD = 0.10
SETTLED_RUNS = 4
FULL_QUOTA = 1.0


def percentile_us(ordered_us: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of times in ascending order, of which there is at least one."""
    rank = -(-percent * len(ordered_us) // 100)
    return ordered_us[max(rank, 1) - 1]


def has_settled(execute_us: Sequence[int]) -> bool:
    """Whether the medians of both halves, in the order of the runs, lie within 10 % of the first."""
    if len(execute_us) < SETTLED_RUNS:
        return False
    middle = len(execute_us) // 2
    first = percentile_us(sorted(execute_us[:middle]), 50)
    second = percentile_us(sorted(execute_us[middle:]), 50)
    return abs(second - first) <= SETTLED_SPREAD * first


def point_from(batch: int, reply: MeasureReply) -> ProfilePoint:
    """The point that a worker's answer with at least one run describes.

    Runs are back to back with nothing holding them, so their quota is the whole time of the slice.
    """
    times_us = [max(time_us, 1) for time_us in reply.execute_us]  # a fast run may read 0 on a clock of microseconds
    ordered_us = sorted(times_us)
    mean_us = sum(times_us) / len(times_us)
    return ProfilePoint(
        sm_partition=_percent(reply.chunks, reply.total_chunks),
        quota=FULL_QUOTA,
        batch=batch,
        throughput_rps=batch * US_PER_S / mean_us,
        p50_us=percentile_us(ordered_us, 50),
        p95_us=percentile_us(ordered_us, 95),
        p99_us=percentile_us(ordered_us, 99),
        device_us=round(mean_us),
        runs=len(times_us),
        settled=has_settled(times_us),
    )


def _percent(chunks: int, total_chunks: int) -> int:
    return min(max(round(100 * chunks / max(total_chunks, 1)), 1), 100)
