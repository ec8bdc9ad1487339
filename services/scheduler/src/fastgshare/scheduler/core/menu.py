"""The slices a function may have on a kind of device, each with the load it takes within the objective. Pure.

Widths are whole chunks, quotas tenths of the time. A slice costs its true share of the device, `width / chunks` times
its quota; its RPR is the rate over the cost (FaST-GShare, ICPP 2023, section 4), and the slice with the highest is the
efficient one, `best`. Rates come in two measures: `rates` are what `queueing` says may arrive while the objective is
met, for one replica and for several that serve together (`POOLS`); `bare_rps` is what the table says is done in a
closed loop, where nobody waits. Device times are stretched by what neighbours on the rest of the device may cost, and
batches are those that the node runs: up to a fifth of the window, up to a tenth where others may share the chunks. An
objective that no slice meets leaves no tier, and `closest` says how near it is.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import NamedTuple

from fastgshare.scheduler.core.queueing import Batching, sustained, tail_of, turn_at
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.messages import FunctionSpec, Slice
from fastgshare.shared.tables import Answer, Table
from fastgshare.shared.units import US_PER_S, ms_to_us

QUOTAS = tuple(step / 10 for step in range(1, 11))
ALONE, SHARED = 5, 10
"""Batches take up to this part of the window (docs/decisions/0004)."""
P50, P95, P99 = 50.0, 95.0, 99.0
UNALIGNED = 1.03
"""Widths that are no power of two leave gaps when packed: they have to be this much cheaper."""
NEARLY = 1.02
LEAST_RPS = 1e-6
EQUAL = 1.1
"""Shapes that cost up to this much more may stand in for one that does not fit."""
MOST_OTHERS = 8
POOLS = (1, 2, 3, 4, 6, 8, 12, 16)
"""How many replicas of a size may serve together, as far as it makes a difference."""


class Option(NamedTuple):
    """A slice of a device: `share` of its SMs for `quota` of the time, `cost` the product of both.

    `rates`: requests a second within the objective, for each of `POOLS`. `pace_us`: what one input takes, its quota
    included. `least_us`: the latency at the objective's percentile when next to nothing arrives.
    """

    sm_partition: int
    share: float
    quota: float
    rates: tuple[float, ...]
    bare_rps: float
    pace_us: float
    batch: int
    least_us: float

    @property
    def cost(self) -> float:
        """Devices it takes."""
        return self.share * self.quota

    @property
    def rps(self) -> float:
        """What it takes alone."""
        return self.rates[0]

    @property
    def bare_rpr(self) -> float:
        """What it does in a closed loop for each device."""
        return self.bare_rps / self.cost


@dataclass(frozen=True, slots=True)
class Tier:
    """The choice where `pool` replicas serve together: the efficient slice, and who is cheapest for what it takes.

    `frontier` by rising cost and rate; `rates` are theirs.
    """

    pool: int
    best: Option
    frontier: tuple[Option, ...]
    rates: tuple[float, ...]

    def covering(self, rps: float) -> Option | None:
        """The cheapest slice that takes so much; None: none does."""
        at = bisect_left(self.rates, rps * (1 - 1e-9))
        return self.frontier[at] if at < len(self.frontier) else None


@dataclass(slots=True)
class Menu:
    """What there is to choose from; `menu_of` makes it.

    `options` by width, then quota. `tiers`: one for each of `POOLS`, none where the objective cannot be met. `rows`:
    the options of each width that can meet it, by rising quota.
    """

    table: Table
    spec: FunctionSpec
    chunks: int
    settings: Settings
    options: tuple[Option, ...]
    tiers: tuple[Tier, ...] = ()
    rows: dict[int, tuple[Option, ...]] = field(default_factory=dict)
    _known: dict[tuple[int, float, float], Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What follows from the options."""
        able = [option for option in self.options if option.rps > 0]
        if able:
            self.tiers = tuple(self._tier(number, able) for number in range(len(POOLS)))
        for option in able:
            self.rows[option.sm_partition] = (*self.rows.get(option.sm_partition, ()), option)

    @property
    def closest(self) -> Option:
        """The slice that is quickest, or a cheaper one that is nearly as quick."""
        least_us = min(option.least_us for option in self.options)
        return min((o for o in self.options if o.least_us <= least_us * NEARLY), key=lambda option: option.cost)

    @property
    def smallest(self) -> Option:
        """The cheapest slice that can meet the objective."""
        return self.tiers[0].frontier[0]

    def held(self, sm_partition: int, share: float, quota: float) -> Option:
        """Any slice, on the menu or not."""
        question = (sm_partition, share, quota)
        known = self._known.get(question)
        if known is None:
            known = self._known[question] = _option(_Row.of(self, sm_partition, share), quota)
        return known

    def others(self, option: Option) -> tuple[Option, ...]:
        """Other shapes that take as much at nearly the same cost, the cheapest first."""
        rows = [row for sm, row in self.rows.items() if sm != option.sm_partition]
        able = [next((o for o in row if o.rps >= option.rps), None) for row in rows]
        equal = [o for o in able if o is not None and o.cost <= option.cost * EQUAL]
        return tuple(sorted(equal, key=lambda o: (o.cost, o.sm_partition)))[:MOST_OTHERS]

    def lesser(self, option: Option) -> tuple[Option, ...]:
        """What takes less than this within the objective, the most first, and of equals the cheapest."""
        able = [other for row in self.rows.values() for other in row if other.rps < option.rps]
        return tuple(sorted(able, key=lambda other: (-other.rps, other.cost, other.sm_partition)))

    def weight(self, option: Option) -> float:
        """What an option costs, and something for a width that is awkward to pack."""
        width = round(option.share * self.chunks)
        return option.cost * (1.0 if width & (width - 1) == 0 or width == self.chunks else UNALIGNED)

    def _tier(self, number: int, able: Sequence[Option]) -> Tier:
        found: list[Option] = []
        for option in sorted(able, key=lambda o: (round(self.weight(o), 9), -o.rates[number], o.sm_partition)):
            if not found or option.rates[number] > found[-1].rates[number] * (1 + 1e-9):
                found.append(option)
        best = max(able, key=lambda option: (option.rates[number] / self.weight(option), -option.cost))
        return Tier(POOLS[number], best, tuple(found), tuple(option.rates[number] for option in found))


def menu_of(table: Table, spec: FunctionSpec, chunks: int, settings: Settings) -> Menu:
    """All slices of a device of so many chunks for a function with this model."""
    menu = Menu(table, spec, chunks, settings, ())
    options = []
    for width in range(1, chunks + 1):
        percent = percent_of(width, chunks)
        if -(-percent * chunks // 100) == width:  # else a percentage is too coarse for it
            row = _Row.of(menu, percent, width / chunks)
            options += [_option(row, quota) for quota in QUOTAS]
    return Menu(table, spec, chunks, settings, tuple(options))


def percent_of(width: int, chunks: int) -> int:
    """The `sm_partition` that takes so many chunks: rounded down, because packing rounds up."""
    return max(width * 100 // chunks, 1)


def slice_of(option: Option, spec: FunctionSpec) -> Slice:
    """The slice as a placement has it. It may use spare time: that harms nobody's request, and takes bursts."""
    return Slice(
        sm_partition=option.sm_partition,
        quota_request=option.quota,
        quota_limit=1.0,
        gpu_mem_mib=spec.slice.gpu_mem_mib,
    )


class _Row(NamedTuple):
    """One width: its batch sizes and their times, which no quota changes; neighbours lengthen them by `stretch`."""

    menu: Menu
    sm_partition: int
    share: float
    stretch: float
    times: tuple[tuple[int, Answer], ...]

    @classmethod
    def of(cls, menu: Menu, sm_partition: int, share: float) -> "_Row":
        table, most = menu.table, menu.spec.max_batch
        sizes = {1, *(batch for batch in table.batches if batch <= most)}
        if most <= table.batches[-1]:
            sizes.add(most)
        times = [(size, table.at(100 * share, 1.0, size)) for size in sorted(sizes)]
        return cls(menu, sm_partition, share, 1 + menu.settings.stretch * (1 - share), tuple(times))


def _option(row: _Row, quota: float) -> Option:
    """One slice of a width; one input is always a batch, more are where the node would run them."""
    spec, settings = row.menu.spec, row.menu.settings
    budget_us = settings.window_us // (SHARED if quota < 1 else ALONE)
    sizes = [(size, answer) for size, answer in row.times if size == 1 or answer.device_p95_us <= budget_us]
    tail = tail_of(spec.slo_percentile)
    batchings, bare_rps = [], 0.0
    for size, whole in sizes:
        answer = row.menu.table.at(100 * row.share, quota, size) if quota < 1 else whole
        device_us = max(answer.device_us, 1) * row.stretch
        spent_us = max(device_us / quota, size * US_PER_S / max(answer.throughput_rps, LEAST_RPS))
        batchings.append(Batching(size, device_us, spent_us, _waited_us(answer, spec, tail)))
        bare_rps = max(bare_rps, answer.throughput_rps)
    turn_us = turn_at(quota, settings.window_us)
    objective_us = ms_to_us(spec.slo_ms)
    taken = [sustained(batchings, objective_us, tail, turn_us, pool) for pool in POOLS]
    rates = tuple(one.rps for one in taken)
    pace_us = max(sizes[0][1].device_us, 1) / quota
    return Option(row.sm_partition, row.share, quota, rates, bare_rps, pace_us, taken[0].batch, taken[0].least_us)


def _waited_us(answer: Answer, spec: FunctionSpec, tail: float) -> float:
    """What was measured beyond device time, at the percentile at or above the objective's; 0: nothing."""
    if spec.slo_percentile <= P50:
        latency_us = answer.latency_p50_us
    elif spec.slo_percentile <= P95:
        latency_us = answer.latency_p95_us
    else:
        latency_us = answer.latency_p99_us
    beyond = log(tail) / log(1 - P99 / 100) if spec.slo_percentile > P99 else 1.0
    return max(latency_us - answer.device_us, 0) * beyond
