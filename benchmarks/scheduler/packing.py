"""How well replicas are packed: all arrival orders of a known mix, and random mixes against the exact solver.

Everything goes through `Scheduler.step`, with nodes that do at once what they are told; nothing here packs by itself.

The gap is told twice. *On arrival*: where replicas were put as they came, under the settings as they are live. *After
consolidation*: once devices were set free by moving replicas. For that alone the scheduler is less patient than live
(`IMPATIENT`: 2 s of calm instead of 60 s, 2 s between two devices instead of 300 s): the same moves, sooner.
"""

import random
from collections.abc import Iterator, Sequence
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.scheduler.exact import Rectangle, fewest_devices
from benchmarks.scheduler.obedient import Fleet
from fastgshare.scheduler.core.commands import MoveReplica
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.units import US_PER_S, us_to_s

CHUNKS = 16
MEMORY_MIB = 16_000
IMPATIENT = Settings(consolidate_us=2 * US_PER_S, rest_us=2 * US_PER_S)
"""Devices are set free as usual, but without the long calm that comes before it live."""
PATIENCE_TICKS = 40


class Kind(NamedTuple):
    """A replica of the mix: percent of the SMs, and of their time."""

    percent: int
    quota: float


EIGHT = (Kind(12, 0.4),) * 4 + (Kind(24, 0.4),) * 2 + (Kind(50, 0.6),) * 2
"""Four ResNet-50, two RNN-T, two BERT (FaST-GShare, section 5.4): exactly all of 16 chunks."""


def orders_placed(limit: int | None = None) -> dict[str, Any]:
    """How many of the 420 distinct arrival orders (or about `limit` of them) place all eight on one device.

    Without repacking: the same on a node that did not report its replicas yet, so that none may be moved.
    """
    orders = list(_orders(EIGHT))
    chosen = orders if limit is None else orders[:: max(1, len(orders) // limit)]
    began_s = perf_counter()
    with_moves = [_place_in_turn(order) for order in chosen]
    without = [_place_in_turn(order, may_move=False) for order in chosen]
    moves = [moved for _, moved in with_moves]
    return {
        "orders": len(chosen),
        "orders_placed": sum(placed == len(EIGHT) for placed, _ in with_moves),
        "orders_placed_without_repacking": sum(placed == len(EIGHT) for placed, _ in without),
        "moves_mean": round(fmean(moves), 2),
        "moves_max": max(moves),
        "took_s": round(perf_counter() - began_s, 2),
    }


def _orders(left: Sequence[Kind]) -> Iterator[tuple[Kind, ...]]:
    """Every order in which these can come, those of one kind being alike."""
    if not left:
        yield ()
        return
    for kind in dict.fromkeys(left):
        rest = list(left)
        rest.remove(kind)
        for order in _orders(rest):
            yield (kind, *order)


def _place_in_turn(order: Sequence[Kind], may_move: bool = True) -> tuple[int, int]:
    """How many found a place on one device, and how many moves it took."""
    fleet = Fleet(1, CHUNKS, MEMORY_MIB, silent=not may_move)
    for number, kind in enumerate(order):
        fleet.define(f"f{number}", kind.percent, kind.quota, memory_mib=100)
        fleet.tick()
    moves = sum(isinstance(command, MoveReplica) for command in fleet.commands)
    return len(fleet.placements), moves


def gap_to_optimal(count: int = 20, seed: int = 1, limit_s: float = 5.0) -> dict[str, Any]:
    """Devices in use for `count` random mixes, against the fewest by CP-SAT.

    A mix is 8 to 20 replicas in random order; percent from 6 to 100 (mostly below 50), quota in twentieths from 0.1 to
    1, memory up to a quarter of a device. The solver has `limit_s` for each; where it proves no optimum in that time
    its lower bound counts, which can only make the gap larger. `gap_mean` and `gap_max` are of what is in use once the
    scheduler, impatient, has set free what it can by moving replicas; `..._on_arrival` before that.
    """
    source = random.Random(seed)
    began_s = perf_counter()
    gaps: list[float] = []
    arrival_gaps: list[float] = []
    proven = arrival_sum = used_sum = best_sum = 0
    for _ in range(count):
        mix = _random_mix(source)
        first, used = _devices_used(mix)
        fewest = fewest_devices(
            [Rectangle(one.wide, one.share, one.memory_mib) for one in mix], CHUNKS, MEMORY_MIB, limit_s, used
        )
        proven += fewest.is_proven
        arrival_sum += first
        used_sum, best_sum = used_sum + used, best_sum + fewest.devices
        gaps.append(used / fewest.devices - 1)
        arrival_gaps.append(first / fewest.devices - 1)
    return {
        "mixes": count,
        "gap_mean": round(fmean(gaps), 4),
        "gap_max": round(max(gaps), 4),
        "gap_mean_on_arrival": round(fmean(arrival_gaps), 4),
        "gap_max_on_arrival": round(max(arrival_gaps), 4),
        "consolidate_s": us_to_s(IMPATIENT.consolidate_us),
        "rest_s": us_to_s(IMPATIENT.rest_us),
        "devices_on_arrival": arrival_sum,
        "devices": used_sum,
        "devices_optimal": best_sum,
        "proven": proven,
        "took_s": round(perf_counter() - began_s, 2),
    }


class _Drawn(NamedTuple):
    percent: int
    wide: int
    share: int
    memory_mib: int


def _random_mix(source: random.Random) -> list[_Drawn]:
    drawn = []
    for _ in range(source.randint(8, 20)):
        percent = source.choice((6, 12, 12, 24, 24, 36, 50, 50, 75, 100))
        share = source.randrange(100, 1001, 50)
        memory_mib = source.randrange(500, MEMORY_MIB // 4, 100)
        drawn.append(_Drawn(percent, -(-percent * CHUNKS // 100), share, memory_mib))
    return drawn


def _devices_used(mix: Sequence[_Drawn]) -> tuple[int, int]:
    """Devices in use when all are placed under the settings as they are live, and when, under `IMPATIENT`, no more of
    them can be set free."""
    first = _filled(mix, Settings()).used
    fleet = _filled(mix, IMPATIENT)
    idle = 0
    while idle < PATIENCE_TICKS:
        idle = 0 if fleet.tick() else idle + 1
    return first, fleet.used


def _filled(mix: Sequence[_Drawn], settings: Settings) -> Fleet:
    fleet = Fleet(len(mix), CHUNKS, MEMORY_MIB, settings)
    for number, one in enumerate(mix):
        fleet.define(f"f{number}", one.percent, one.share / 1000, one.memory_mib)
        fleet.tick()
    assert len(fleet.placements) == len(mix)
    return fleet
