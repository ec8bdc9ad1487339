"""Quotas in virtual time: what tokens give the replicas of a device, free of any noise, and what a decision costs.

Everything but `decision_us` is exact and the same on every machine. Errors are in points: percent of a device's time,
over the worst ten windows that a replica had work throughout.
"""

from collections.abc import Callable, Sequence
from random import Random
from time import perf_counter_ns
from typing import TypeAlias

from fastgshare.node_manager.core.history import History
from fastgshare.node_manager.core.stage import Join, Leave, Rest, Stage, Workload, steady
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook, permille_of
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import NS_PER_US, PER_MILLE, US_PER_MS, US_PER_S

Figures: TypeAlias = "dict[str, float | dict[str, float]]"

CHUNKS = 16
WINDOW_US = 100 * US_PER_MS
TEN_WINDOWS_US = 10 * WINDOW_US
BATCH_US = 5 * US_PER_MS
JITTER_PERMILLE = 200
ALONE = (0.1, 0.2, 0.4, 0.5, 0.8)
PACKED = ((0.1, 0.4, 0.5), (0.2, 0.8), (0.5, 0.5), (0.1, 0.2, 0.2, 0.5))

# ResNet-50 on 24 % of a V100: 73.4 requests a second one by one (reference-results, a); here 4 of 16 chunks.
V100_BATCH_US = 13_624
DECISION_REPLICAS = 32
LOAD, LOAD_SEED = 0.7, 11


def measure(quick: bool = False) -> Figures:
    """All figures; `quick` looks at a few seconds of virtual time instead of a minute."""
    until_us = (3 if quick else 60) * US_PER_S
    errors = {f"alone_{quota:g}": quota_error_points([(quota, quota)], until_us) for quota in ALONE}
    for quotas in PACKED:
        name = "packed_" + "_".join(f"{quota:g}" for quota in quotas)
        errors[name] = quota_error_points([(quota, quota) for quota in quotas], until_us)
        errors[f"{name}_spare"] = quota_error_points([(quota, 1.0) for quota in quotas], until_us)
    errors["eight_95"] = eight_error_points(0.95, until_us)
    full = eight_error_points(1.0, until_us)
    return {
        "max_quota_error_points": max(errors.values()),
        "quota_error_points": errors,
        "eight_full_error_points": full,
        "overlap_violations": float(overlap_violations(until_us)),
        "isolation": isolation(until_us),
        "p95_ratio_q02": p95_ratio(until_us),
        "spare_time_used": spare_time_used(until_us),
        "decision_us": decision_us(2_000 if quick else 20_000),
    }


def headline(figures: Figures) -> dict[str, float]:
    """One number for each target: the worst of those it stands for."""

    def part(key: str, name: str) -> float:
        group = figures[key]
        assert isinstance(group, dict)
        return group[name]

    spare = figures["spare_time_used"]
    assert isinstance(spare, dict)
    plain = ("max_quota_error_points", "overlap_violations", "p95_ratio_q02")
    return {
        **{key: value for key in plain if isinstance(value := figures[key], float | int)},
        "isolation_drop": part("isolation", "beside_ratio"),
        "spare_time_used": min(spare.values()),
        "decision_us": max(part("decision_us", "equal_mean"), part("decision_us", "mixed_mean")),
    }


def quota_error_points(quotas: Sequence[tuple[float, float]], until_us: int) -> float:
    """Worst error of replicas on one chunk, each with work all the time."""
    shares = [Share(1, permille_of(request), permille_of(limit)) for request, limit in quotas]
    return _error_points(shares, [BATCH_US] * len(shares), until_us)


def eight(fill: float) -> list[Share]:
    """The published mix of eight replicas, rounded to 16 chunks, each promised `fill` of its quota."""
    narrow = [Share(0b11 << 2 * number, permille_of(0.4 * fill), PER_MILLE) for number in range(4)]
    middle = [Share(0b1111 << 8 + 4 * number, permille_of(0.4 * fill), PER_MILLE) for number in range(2)]
    wide = [Share(0xFF << 8 * number, permille_of(0.6 * fill), PER_MILLE) for number in range(2)]
    return [*narrow, *middle, *wide]


def eight_error_points(fill: float, until_us: int) -> float:
    """Worst error in the eight-replica mix."""
    return _error_points(eight(fill), [BATCH_US] * 4 + [BATCH_US * 6 // 5] * 2 + [BATCH_US * 4 // 5] * 2, until_us)


def isolation(until_us: int) -> dict[str, float]:
    """Experiment c: A (24 % of the SMs, 0.5/0.8) all the time, B (24 %, 0.5/0.5) for the middle half of it.

    A's requests a second without B, with B on chunks of its own, and with B on A's own chunks, where A is owed half.
    """
    a_share, others = Share(0b1111, 500, 800), {"beside": 0b11110000, "same_chunks": 0b1111}
    figures: dict[str, float] = {}
    for name, mask in others.items():
        stage, rng = Stage(CHUNKS, WINDOW_US), Random(name)
        a, b = ReplicaId("a"), ReplicaId("b")
        stage.at(0, Join(a, a_share, steady(V100_BATCH_US, _jitter(rng))))
        stage.at(until_us // 4, Join(b, Share(mask, 500, 500), steady(V100_BATCH_US, _jitter(rng))))
        stage.at(until_us * 3 // 4, Leave(b))
        history = stage.run_until(until_us)
        alone = _rps(history, a, 0, until_us // 4)
        beside = _rps(history, a, until_us // 4, until_us * 3 // 4)
        figures |= {f"{name}_a_alone_rps": alone, f"{name}_a_with_b_rps": beside, f"{name}_ratio": beside / alone}
    return figures


def overlap_violations(until_us: int) -> int:
    """Pairs of runs of the eight-replica mix, promised in full, that shared a chunk at the same time."""
    shares = eight(1.0)
    return len(_joined(shares, [BATCH_US] * len(shares), CHUNKS).run_until(until_us).overlaps())


def p95_ratio(until_us: int) -> float:
    """p95 at quota 0.2 over quota 1.0: the same Poisson arrivals, stretched to 70 % of what each can do."""
    p95 = {}
    for quota in (1.0, 0.2):
        rng = Random(LOAD_SEED)
        arrivals_us, time_us = [], 0.0
        while time_us < until_us / quota:
            time_us += rng.expovariate(LOAD) * BATCH_US / quota
            arrivals_us.append(round(time_us))
        stage, permille = Stage(1, WINDOW_US), permille_of(quota)
        work = Workload(lambda _mask: BATCH_US, _jitter(rng), is_backlogged=False, arrivals_us=arrivals_us)
        stage.at(0, Join(_name(0), Share(1, permille, permille), work))
        runs = stage.run_until(arrivals_us[-1] * 2).of(_name(0)).runs
        took_us = sorted(run.end_us - arrived_us for run, arrived_us in zip(runs, arrivals_us, strict=True))
        p95[quota] = took_us[len(took_us) * 95 // 100]
    return p95[0.2] / p95[1.0]


def spare_time_used(until_us: int) -> dict[str, float]:
    """How much of the time that idle owners leave the others use, on one chunk and in the eight-replica mix."""
    equal = [Share(1, 200, PER_MILLE), Share(1, 300, PER_MILLE), Share(1, 500, PER_MILLE)]
    mixed = eight(0.95)
    return {
        "one_chunk": _spare_used(equal, [2], 1, until_us),
        "mixed_wide_idle": _spare_used(mixed, [6, 7], CHUNKS, until_us),
        "mixed_narrow_idle": _spare_used(mixed, [0, 1, 2, 3, 4, 5], CHUNKS, until_us),
    }


def decision_us(decisions: int) -> dict[str, float]:
    """What one decision takes on this machine, with 32 replicas that all have work."""
    equal = [Share(1, 31, PER_MILLE)] * DECISION_REPLICAS
    narrow = [Share(0b11 << 2 * (number % 8), 100, PER_MILLE) for number in range(24)]
    mixed = [*narrow, *[Share(0xFFFF, 50, PER_MILLE)] * 8]
    figures: dict[str, float] = {}
    for name, shares in (("equal", equal), ("mixed", mixed)):
        taken_us = sorted(_decide(shares, decisions))
        figures[f"{name}_mean"] = sum(taken_us) / len(taken_us)
        figures[f"{name}_p50"] = taken_us[len(taken_us) // 2]
        figures[f"{name}_p99"] = taken_us[len(taken_us) * 99 // 100]
    return figures


class _Timed(TokenBook):
    """A book that notes how long its decisions take."""

    def __init__(self, chunks: int, window_us: int) -> None:
        super().__init__(chunks, window_us)
        self.taken_us: list[float] = []

    def end(self, replica: ReplicaId, used_us: int, now_us: int, again_us: int | None = None) -> list[ReplicaId]:
        """`TokenBook.end`, timed."""
        return self._timed(lambda: super(_Timed, self).end(replica, used_us, now_us, again_us))

    def _timed(self, decide: Callable[[], list[ReplicaId]]) -> list[ReplicaId]:
        started_ns = perf_counter_ns()
        granted = decide()
        self.taken_us.append((perf_counter_ns() - started_ns) / NS_PER_US)
        return granted


def _decide(shares: Sequence[Share], decisions: int) -> list[float]:
    stage = _joined(shares, [BATCH_US] * len(shares), CHUNKS)
    book = stage.book = _Timed(CHUNKS, WINDOW_US)
    while len(book.taken_us) < decisions:
        stage.run_until(stage.now_us + WINDOW_US)
    return book.taken_us


def _error_points(shares: Sequence[Share], batches_us: Sequence[int], until_us: int) -> float:
    history = _joined(shares, batches_us, CHUNKS).run_until(until_us)
    worst_us = 0
    for number, share in enumerate(shares):
        had_us = list(history.of(_name(number)).sliding_us(0, until_us, TEN_WINDOWS_US))
        lacked_us = TEN_WINDOWS_US * share.request_permille // PER_MILLE - min(had_us)
        beyond_us = max(had_us) - TEN_WINDOWS_US * share.limit_permille // PER_MILLE
        worst_us = max(worst_us, lacked_us, beyond_us)
    return 100 * worst_us / TEN_WINDOWS_US


def _spare_used(shares: Sequence[Share], idle: Sequence[int], chunks: int, until_us: int) -> float:
    stage = _joined(shares, [BATCH_US] * len(shares), chunks)
    for number in idle:
        stage.at(0, Rest(_name(number)))
    history = stage.run_until(until_us)
    busy = [share for number, share in enumerate(shares) if number not in idle]
    wanted_us = until_us * _covered(busy).bit_count()
    promised_us = sum(share.mask.bit_count() * share.request_permille for share in busy) * until_us // PER_MILLE
    return (history.chunk_us(WINDOW_US, until_us) * until_us // (until_us - WINDOW_US) - promised_us) / (
        wanted_us - promised_us
    )


def _joined(shares: Sequence[Share], batches_us: Sequence[int], chunks: int) -> Stage:
    stage, rng = Stage(chunks, WINDOW_US), Random(0)
    for number, (share, batch_us) in enumerate(zip(shares, batches_us, strict=True)):
        stage.at(0, Join(_name(number), share, steady(batch_us, _jitter(rng))))
    return stage


def _jitter(rng: Random) -> Callable[[int], int]:
    return lambda _number: rng.randint(PER_MILLE - JITTER_PERMILLE, PER_MILLE + JITTER_PERMILLE)


def _covered(shares: Sequence[Share]) -> int:
    mask = 0
    for share in shares:
        mask |= share.mask
    return mask


def _rps(history: History, replica: ReplicaId, start_us: int, end_us: int) -> float:
    return sum(start_us <= run.end_us < end_us for run in history.of(replica).runs) * US_PER_S / (end_us - start_us)


def _name(number: int) -> ReplicaId:
    return ReplicaId(f"r{number}")


if __name__ == "__main__":
    from json import dumps

    print(dumps(measure(), indent=2))
