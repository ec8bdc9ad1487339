"""What `make bench-scheduler` publishes: keys, what they are held to, how simulated and real are compared. Pure.

Each part of the benchmark gives some of the keys; what no part gave is said, and misses nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

import msgspec

from benchmarks.targets import Targets, at_least, at_most, misses

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
    """What a function's callers saw of one level of load: single requests, and percentiles of answers' latency."""

    arrived: int
    in_time: int
    refused: int
    late: int
    failed: int
    p50_us: int
    p99_us: int
    seconds: float

    @property
    def goodput_rps(self) -> float:
        """Answers within the objective, a second."""
        return self.in_time / self.seconds


class Gap(msgspec.Struct, frozen=True):
    """How far `one` is from `other`, which is the truth, relative: at goodput and at the 99th percentile."""

    goodput: float
    p99: float


def gap(one: Answered, other: Answered) -> Gap:
    """The relative difference; infinite where the truth is nothing and the other is something."""
    return Gap(_relative(one.goodput_rps, other.goodput_rps), _relative(one.p99_us, other.p99_us))


def mean_gap(gaps: Sequence[Gap]) -> Gap:
    """The mean over levels and functions."""
    return Gap(round(fmean(each.goodput for each in gaps), 4), round(fmean(each.p99 for each in gaps), 4))


def worst_gap(gaps: Sequence[Gap]) -> Gap:
    """The largest of each."""
    return Gap(round(max(each.goodput for each in gaps), 4), round(max(each.p99 for each in gaps), 4))


def both(one: Answered, other: Answered) -> Answered:
    """Two runs of one trace as one: their means."""
    names = Answered.__struct_fields__
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in names}
    kinds = {name: type(getattr(one, name)) for name in names}
    return Answered(**{name: kinds[name](sum(pair) / 2) for name, pair in pairs.items()})


def percentile_us(latencies_us: Sequence[int], percent: float) -> int:
    """By the nearest-rank method; 0 of nothing."""
    if not latencies_us:
        return 0
    ranked = sorted(latencies_us)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / PERCENT))]


def missed(figures: Mapping[str, object]) -> list[str]:
    """Targets that these figures miss, a rival that needs fewer devices included; only of what was measured."""
    found = misses({key: target for key, target in TARGETS.items() if key in figures}, figures)
    costs = figures.get("device_seconds_e")
    if isinstance(costs, Mapping):
        cheaper = [rival for rival in RIVALS if costs[rival] < costs[OURS]]
        found += [f"device_seconds_e {costs[OURS]:g}, expected at most {rival}'s {costs[rival]:g}" for rival in cheaper]
    return found


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
