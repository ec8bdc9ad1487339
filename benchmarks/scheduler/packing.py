"""How well replicas are packed: all arrival orders of a known mix, and random mixes against the exact solver.

Everything goes through `Scheduler.step`, with nodes that do at once what they are told; nothing here packs by itself.
"""

import random
from collections.abc import Iterator, Sequence
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple

from fastgshare.scheduler.core import repacking
from fastgshare.scheduler.core.commands import MoveReplica
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.units import US_PER_S
from tests.scheduler.core.world import World, spec
from tests.scheduler.oracle_packing import Rectangle, fewest_devices

CHUNKS = 16
MEMORY_MIB = 16_000
DEFAULT = Settings()
IMPATIENT = Settings(consolidate_us=2 * US_PER_S, rest_us=2 * US_PER_S)
"""Devices are set free as usual, but without the long calm that comes before it otherwise."""
PATIENCE_TICKS = 40


class Kind(NamedTuple):
    """A replica of the mix: percent of the SMs, and of their time."""

    percent: int
    quota: float


EIGHT = (Kind(12, 0.4),) * 4 + (Kind(24, 0.4),) * 2 + (Kind(50, 0.6),) * 2
"""Four ResNet-50, two RNN-T, two BERT (FaST-GShare, section 5.4): exactly all of 16 chunks."""


def orders_placed(limit: int | None = None) -> dict[str, Any]:
    """How many of the 420 distinct arrival orders (or about `limit` of them) place all eight on one device."""
    orders = list(_orders(EIGHT))
    chosen = orders if limit is None else orders[:: max(1, len(orders) // limit)]
    began_s = perf_counter()
    with_moves = [_place_in_turn(order) for order in chosen]
    without = [_place_in_turn(order, effort=0) for order in chosen]
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


def _place_in_turn(order: Sequence[Kind], effort: int | None = None) -> tuple[int, int]:
    """How many found a place on one device, and how many moves it took."""
    kept = repacking.EFFORT
    repacking.EFFORT = kept if effort is None else effort
    try:
        world = _fleet(1)
        for number, kind in enumerate(order):
            world.define(spec(f"f{number}", sm=kind.percent, quota=kind.quota, memory_mib=100))
            world.tick()
        moves = sum(isinstance(command, MoveReplica) for command in world.commands)
        return len(world.placements), moves
    finally:
        repacking.EFFORT = kept


def _fleet(devices: int, settings: Settings = DEFAULT) -> World:
    world = World(settings)
    for number in range(devices):
        world.add_node(f"n{number:03d}", chunks=CHUNKS, memory_mib=MEMORY_MIB)
    world.lead()
    return world


def gap_to_optimal(count: int = 20, seed: int = 1, limit_s: float = 5.0) -> dict[str, Any]:
    """Devices in use for `count` random mixes, against the fewest by CP-SAT.

    A mix is 8 to 20 replicas in random order; percent from 6 to 100 (mostly below 50), quota in twentieths from 0.1 to
    1, memory up to a quarter of a device. The solver has `limit_s` for each; where it proves no optimum in that time
    its lower bound counts, which can only make the gap larger. Counted is what is in use once the scheduler has set
    free what it can by moving replicas (`devices_on_arrival`: before that).
    """
    source = random.Random(seed)
    began_s = perf_counter()
    gaps: list[float] = []
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
    return {
        "mixes": count,
        "gap_mean": round(fmean(gaps), 4),
        "gap_max": round(max(gaps), 4),
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
    """Devices in use when all are placed, and when no more of them can be set free."""
    world = _fleet(len(mix), IMPATIENT)
    for number, one in enumerate(mix):
        world.define(spec(f"f{number}", sm=one.percent, quota=one.share / 1000, memory_mib=one.memory_mib))
        world.tick()
    assert len(world.placements) == len(mix)
    first = _used(world)
    idle = 0
    while idle < PATIENCE_TICKS:
        idle = 0 if world.tick() else idle + 1
    return first, _used(world)


def _used(world: World) -> int:
    return len({placement.device for placement in world.placements.values()})
