"""What `make bench-scheduler` publishes: keys, what they are held to, how simulated and real are compared. Pure.

Each part of the benchmark gives some of the keys; what no part gave is said, and misses nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

import msgspec

from benchmarks.targets import Targets, at_least, at_most, misses
from fastgshare.simulator.core.histogram import Histogram
from fastgshare.simulator.core.outcome import Counts

ORDERS = 420
TARGETS: Targets = {
    "orders_placed": at_least(ORDERS),
    "gap_to_optimal": at_most(0.05),
    "late_share_e": at_most(0.01),
    "decision_ms_p99": at_most(20.0),
    "sim_requests_per_s": at_least(30_000),
    "fidelity_error_goodput": at_most(0.10),
    "fidelity_error_p99": at_most(0.25),
    "cold_start_beyond_load_ms": at_most(1_000.0),
}
OURS = "objective"
RIVALS = ("time_sharing", "paper")
PERCENT = 100


class Answered(msgspec.Struct, frozen=True):
    """What a function's callers saw of one level of load: single requests, and percentiles of their latency.

    A request without an answer took for ever. Where so many had none that a percentile is infinite, the percentile is
    the patience that callers had; `censored` says so of the 99th.
    """

    arrived: int
    in_time: int
    refused: int
    late: int
    failed: int
    p50_us: int
    p99_us: int
    seconds: float
    censored: bool = False

    @property
    def goodput_rps(self) -> float:
        """Answers within the objective, a second."""
        return self.in_time / self.seconds


class Gap(msgspec.Struct, frozen=True):
    """How far `one` is from `other`, which is the truth, relative: at goodput and at the 99th percentile (None where
    that is censored on both sides)."""

    goodput: float
    p99: float | None


def answered(counts: Counts, latencies: Histogram, patience_us: int, seconds: float) -> Answered:
    """Of either side, by the same arithmetic; `latencies` are the answers'."""
    p50_us, p99_us = (percentile_us(latencies, counts.arrived, percent) for percent in (50, 99))
    return Answered(
        arrived=counts.arrived,
        in_time=counts.in_time,
        refused=counts.refused,
        late=counts.late,
        failed=counts.failed,
        p50_us=patience_us if p50_us is None else p50_us,
        p99_us=patience_us if p99_us is None else p99_us,
        seconds=seconds,
        censored=p99_us is None,
    )


def percentile_us(latencies: Histogram, arrived: int, percent: float) -> int | None:
    """By the nearest-rank method over all that arrived, within half a percent; 0 of nothing, None for infinite."""
    if not arrived:
        return 0
    rank = arrived * percent / PERCENT
    if rank > latencies.count:
        return None
    return latencies.percentile_us(PERCENT * rank / latencies.count)


def gap(one: Answered, other: Answered) -> Gap:
    """The relative difference; infinite where the truth is nothing and the other is something."""
    p99 = None if one.censored and other.censored else _relative(one.p99_us, other.p99_us)
    return Gap(_relative(one.goodput_rps, other.goodput_rps), p99)


def mean_gap(gaps: Sequence[Gap]) -> Gap:
    """The mean over levels and functions, each figure over those that have it."""
    known = [each.p99 for each in gaps if each.p99 is not None]
    return Gap(round(fmean(each.goodput for each in gaps), 4), round(fmean(known), 4) if known else None)


def worst_gap(gaps: Sequence[Gap]) -> Gap:
    """The largest of each."""
    known = [each.p99 for each in gaps if each.p99 is not None]
    return Gap(round(max(each.goodput for each in gaps), 4), round(max(known), 4) if known else None)


def both(one: Answered, other: Answered) -> Answered:
    """Two runs of one trace as one: their means; censored where either is."""
    names = [name for name in Answered.__struct_fields__ if name != "censored"]
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in names}
    kinds = {name: type(getattr(one, name)) for name in names}
    means = {name: kinds[name](sum(pair) / 2) for name, pair in pairs.items()}
    return Answered(**means, censored=one.censored or other.censored)


def missed(figures: Mapping[str, object]) -> list[str]:
    """Targets that these figures miss, a rival included that needs fewer devices and keeps the objective all the same;
    only of what was measured."""
    found = misses({key: target for key, target in TARGETS.items() if key in figures}, figures)
    costs = figures.get("device_seconds_e")
    kept = figures.get("kept_objective_e")
    if isinstance(costs, Mapping) and isinstance(kept, Sequence):
        cheaper = [rival for rival in RIVALS if rival in kept and costs[rival] < costs[OURS]]
        found += [f"device_seconds_e {costs[OURS]:g}, expected at most {rival}'s {costs[rival]:g}" for rival in cheaper]
    return found


def kept_objective(late_shares: Mapping[str, float]) -> list[str]:
    """The policies under which no more were late than the target allows: who is cheaper without that is no rival."""
    bound = TARGETS["late_share_e"].bound
    return [policy for policy, share in late_shares.items() if share <= bound]


def unmeasured(figures: Mapping[str, object]) -> list[str]:
    """Keys with a target that no part gave."""
    return [key for key in TARGETS if key not in figures]


def growth(by_size: Mapping[int, float]) -> float:
    """By how much a figure grows from the smallest size to the largest."""
    sizes = sorted(by_size)
    assert all(one < other for one, other in pairwise(sizes))
    return round(by_size[sizes[-1]] / by_size[sizes[0]], 3)


def _relative(value: float, truth: float) -> float:
    if truth == 0:
        return 0.0 if value == 0 else float("inf")
    return abs(value - truth) / truth
