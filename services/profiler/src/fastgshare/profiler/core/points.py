"""From a worker's answer to one measured point, and what a point's note says about it.

Percentiles are nearest-rank: the shortest measured time that at least that share of the runs did not exceed. A point
that did not settle is tried once more; of two tries the better is kept, and its note says that there were two. So a
table alone tells what is still to be tried, whoever goes on with it.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fastgshare.profiler.core.plan import Setting
from fastgshare.shared.messages import MeasureReply, ProfilePoint
from fastgshare.shared.units import US_PER_MS, US_PER_S, us_to_ms

MOST_DISTURBED = 0.02
"""Of the time that others ran on its chunks: what did not settle in more is tried later rather than at once."""

DISTURBED = "disturbed: "
TOO_SLOW = "too slow: "
TWICE = "measured twice: "
EARLIER = "of the measurement before"


def setting_of(point: ProfilePoint) -> Setting:
    """Where on the axes a point lies."""
    return Setting(point.sm_partition, point.quota, point.batch)


def percentile_us(ordered_us: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of times in ascending order, of which there is at least one."""
    rank = -(-percent * len(ordered_us) // 100)
    return ordered_us[max(rank, 1) - 1]


def point_from(setting: Setting, reply: MeasureReply, wall_us: int = 0, slowest_ms: int = 0) -> ProfilePoint:
    """The point that a worker's answer with at least one run describes; it took `wall_us`."""
    times_us = [max(time_us, 1) for time_us in reply.execute_us]  # a fast run may read 0 on a clock of microseconds
    ordered_us = sorted(times_us)
    mean_us = sum(times_us) / len(times_us)
    # Workers that tell no throughput ran back to back with nothing holding them.
    throughput_rps = reply.throughput_rps or setting.quota * setting.batch * US_PER_S / mean_us
    latency_us = sorted(reply.latency_us)
    p50_us, p95_us, p99_us = ((percentile_us(latency_us, at) if latency_us else 0) for at in (50, 95, 99))
    note = _note(reply, ordered_us[-1], slowest_ms)
    return ProfilePoint(
        sm_partition=setting.sm_partition,
        quota=setting.quota,
        batch=setting.batch,
        throughput_rps=throughput_rps,
        p50_us=percentile_us(ordered_us, 50),
        p95_us=percentile_us(ordered_us, 95),
        p99_us=percentile_us(ordered_us, 99),
        device_us=round(mean_us),
        runs=len(times_us),
        settled=reply.settled and not note.startswith(TOO_SLOW),
        throughput_error=reply.throughput_error,
        latency_p50_us=p50_us,
        latency_p95_us=p95_us,
        latency_p99_us=p99_us,
        load_rps=reply.load_rps,
        requests=len(latency_us),
        memory_mib=reply.memory_mib,
        occupancy_percent=reply.occupancy_percent,
        note=note,
        wall_ms=us_to_ms(wall_us),
    )


def _note(reply: MeasureReply, longest_us: int, slowest_ms: int) -> str:
    # One is enough: the worker ends a measurement with the first that is longer.
    if slowest_ms and longest_us > slowest_ms * US_PER_MS:
        return f"{TOO_SLOW}a batch takes {us_to_ms(longest_us):.0f} ms, at most {slowest_ms} ms are waited for"
    if reply.settled:
        return reply.note
    if reply.disturbed > MOST_DISTURBED:
        return f"{DISTURBED}others ran for {reply.disturbed:.0%} of the time"
    return reply.note or "its times did not become steady"


def better(first: ProfilePoint, second: ProfilePoint) -> ProfilePoint:
    """Of two tries at one setting the one to keep, with the time both took; nobody tries a third time."""
    kept = max(first, second, key=lambda tried: (tried.settled, tried.throughput_rps))
    note = kept.note if kept.settled or is_too_slow(kept) else f"{TWICE}{kept.note}"
    return replace(kept, note=note, wall_ms=first.wall_ms + second.wall_ms)


def is_final(point: ProfilePoint) -> bool:
    """Whether no second try is due at its setting."""
    return point.settled or is_too_slow(point) or point.note.startswith(TWICE)


def is_too_slow(point: ProfilePoint) -> bool:
    """Whether its batches took longer than anybody waits."""
    return point.note.startswith(TOO_SLOW)


def is_disturbed(point: ProfilePoint) -> bool:
    """Whether others on its chunks shaped it: a try later is worth more than one at once."""
    return point.note.startswith(DISTURBED)


def is_earlier(point: ProfilePoint) -> bool:
    """Whether it is to be renewed: it stays until its table is complete, and counts for nothing."""
    return point.note == EARLIER


def earlier(point: ProfilePoint) -> ProfilePoint:
    """The point, to be renewed."""
    return replace(point, note=EARLIER)
