"""The slices a function may have on a kind of device, each with the load it takes within the objective. Pure.

Widths are whole chunks, quotas tenths of the time. A slice costs its true share of the device, `width / chunks * quota`;
its RPR is the rate over the cost (FaST-GShare, ICPP 2023, section 4), and the slice with the highest is the efficient
one, `best`. Rates come in two measures: `rps` is what `queueing` says may arrive while the objective is met, `bare_rps`
what the table says is done in a closed loop, where nobody ever waits. Device times are stretched by what neighbours on
the rest of the device may cost, and batches are those that the node runs: up to a fifth of the window, up to a tenth
where others may share the chunks. An objective that no slice meets leaves `best` None, and `closest` says how near it is.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log
from typing import NamedTuple

from fastgshare.scheduler.core.queueing import Batching, Sustained, sustained, tail_of, turn_at
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
EQUAL = 1.1
"""Shapes that cost up to this much more may stand in for one that does not fit."""
MOST_OTHERS = 8


class Option(NamedTuple):
    """A slice of a device: `share` of its SMs for `quota` of the time, `cost` the product of both.

    `least_us`: the latency at the objective's percentile when next to nothing arrives.
    """

    sm_partition: int
    share: float
    quota: float
    rps: float
    bare_rps: float
    batch: int
    least_us: float

    @property
    def cost(self) -> float:
        """Devices it takes."""
        return self.share * self.quota

    @property
    def rpr(self) -> float:
        """Requests a second for each device, within the objective."""
        return self.rps / self.cost


@dataclass(slots=True)
class Menu:
    """What there is to choose from; `menu_of` makes it.

    `options` by width, then quota. `frontier`: who is cheapest for what it takes, by rising cost and rate. `rows`: the
    options of each width, by rising quota.
    """

    table: Table
    spec: FunctionSpec
    chunks: int
    settings: Settings
    options: tuple[Option, ...]
    best: Option | None = None
    frontier: tuple[Option, ...] = ()
    rows: dict[int, tuple[Option, ...]] = field(default_factory=dict)
    _known: dict[tuple[int, float, float], Option] = field(default_factory=dict)
    _rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """What follows from the options."""
        able = [option for option in self.options if option.rps > 0]
        self.best = max(able, key=lambda option: (option.rps / self.weight(option), -option.cost), default=None)
        self.frontier = tuple(self._frontier(able))
        self._rates = tuple(option.rps for option in self.frontier)
        for option in able:
            self.rows[option.sm_partition] = (*self.rows.get(option.sm_partition, ()), option)

    @property
    def closest(self) -> Option:
        """The slice that is quickest, or a cheaper one that is nearly as quick."""
        least_us = min(option.least_us for option in self.options)
        return min((o for o in self.options if o.least_us <= least_us * 1.02), key=lambda option: option.cost)

    def covering(self, rps: float) -> Option | None:
        """The cheapest slice that takes so much; None: none does."""
        at = bisect_left(self._rates, rps * (1 - 1e-9))
        return self.frontier[at] if at < len(self.frontier) else None

    def held(self, sm_partition: int, share: float, quota: float) -> Option:
        """Any slice, on the menu or not."""
        question = (sm_partition, share, quota)
        known = self._known.get(question)
        if known is None:
            known = self._known[question] = _option(self.table, self.spec, self.settings, *question)
        return known

    def others(self, option: Option) -> tuple[Option, ...]:
        """Other shapes that take as much at nearly the same cost, the cheapest first."""
        rows = [row for sm, row in self.rows.items() if sm != option.sm_partition]
        able = [next((o for o in row if o.rps >= option.rps), None) for row in rows]
        equal = [o for o in able if o is not None and o.cost <= option.cost * EQUAL]
        return tuple(sorted(equal, key=lambda o: (o.cost, o.sm_partition)))[:MOST_OTHERS]

    def weight(self, option: Option) -> float:
        """What an option costs, and something for a width that is awkward to pack."""
        width = round(option.share * self.chunks)
        return option.cost * (1.0 if width & (width - 1) == 0 or width == self.chunks else UNALIGNED)

    def _frontier(self, able: Iterable[Option]) -> list[Option]:
        found: list[Option] = []
        for option in sorted(able, key=lambda o: (round(self.weight(o), 9), -o.rps, o.sm_partition)):
            if not found or option.rps > found[-1].rps * (1 + 1e-9):
                found.append(option)
        return found


def menu_of(table: Table, spec: FunctionSpec, chunks: int, settings: Settings) -> Menu:
    """All slices of a device of so many chunks for a function with this model."""
    options = [
        _option(table, spec, settings, percent_of(width, chunks), width / chunks, quota)
        for width in range(1, chunks + 1)
        if -(-percent_of(width, chunks) * chunks // 100) == width  # else a percentage is too coarse for it
        for quota in QUOTAS
    ]
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


def _option(
    table: Table, spec: FunctionSpec, settings: Settings, sm_partition: int, share: float, quota: float
) -> Option:
    told = _admitted(table, spec, settings, share, quota)
    stretch = 1 + settings.stretch * (1 - share)
    tail = tail_of(spec.slo_percentile)
    batchings = []
    for size, answer in told:
        device_us = max(answer.device_us, 1) * stretch
        spent_us = max(device_us / quota, size * US_PER_S / max(answer.throughput_rps, 1e-6))
        batchings.append(Batching(size, device_us, spent_us, _waited_us(answer, spec, tail)))
    turn_us = turn_at(quota, settings.window_us)
    taken: Sustained = sustained(batchings, ms_to_us(spec.slo_ms), tail, turn_us)
    bare_rps = max(answer.throughput_rps for _, answer in told)
    return Option(sm_partition, share, quota, taken.rps, bare_rps, taken.batch, taken.least_us)


def _admitted(
    table: Table, spec: FunctionSpec, settings: Settings, share: float, quota: float
) -> list[tuple[int, Answer]]:
    """The batch sizes that the node would run, with what the table says of them; one input always."""
    sizes = {1, *(batch for batch in table.batches if batch <= spec.max_batch)}
    if spec.max_batch <= table.batches[-1]:
        sizes.add(spec.max_batch)
    budget_us = settings.window_us // (SHARED if quota < 1 else ALONE)
    answers = [(size, table.at(100 * share, quota, size)) for size in sorted(sizes)]
    return [(size, answer) for size, answer in answers if size == 1 or answer.device_p95_us <= budget_us]


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
