"""Objectives met with the fewest devices: our own policy.

Demand is the forecast with what bursts may add and what waits; what a slice takes is `queueing`'s rate within the
objective, so a slice that would keep requests waiting counts for what it can do in time. Where demand exceeds what
there is, quotas grow in place first (no replica has to be loaded for that), then the cheapest set of new slices covers
the rest with head-room. Where less was enough for a while, replicas go in ascending RPR or by size, whichever leaves
less, and quotas shrink; both only if that saves a tenth, so nothing moves back and forth over a trifle. Where fresh
slices would do the same for much less, they are brought up beside the old ones, which go when those are ready.
Where a device has no time left for all of it, a quota grows as far as there is some, and a smaller replica is better
than none. An objective that cannot be met is not chased: the quickest slice serves.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from fastgshare.scheduler.core.menu import POOLS, Menu, Option, Tier, slice_of
from fastgshare.scheduler.core.policies.port import Answer, Demand, Key, Member, Question
from fastgshare.shared.messages import Slice
from fastgshare.shared.units import US_PER_MS

TIE = 1e-6
HEADROOM = 0.5
"""Of the head-room that fixed slices need, as waiting, trends and bursts are in the numbers already."""
NEW = 1.1
"""A new replica has to be this much cheaper than a larger quota for one that runs."""
WORTH = 0.1
"""A saving below this share of the cost is not worth a change."""
MOVE = 0.25
"""Above this share replicas are replaced by a cheaper set."""
PENDING = 2
"""The `rank` of members that are on their way; below that something keeps them from coming up."""


class Objective:
    """Finds the cheapest slices that keep the objective."""

    name = "objective"
    is_fixed = False

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """What is to come, with bursts, and those that wait."""
        return demand.coming_rps + demand.burst_rps + demand.waiting_rps

    def answer(self, question: Question) -> Answer:
        """Larger, smaller, more, fewer, or as it is."""
        menu = question.menu
        assert menu is not None
        if question.numbers.most == 0:
            return Answer(drop=[member.key for member in question.members])
        if not menu.tiers:
            return _closest(question, menu)
        draft = _Draft(menu, question)
        ahead = 1 + question.headroom * HEADROOM
        if draft.is_over():
            draft.dismiss()
        elif draft.count > question.numbers.most:
            pass  # larger ones are to take over, and are not ready yet
        elif draft.rps < question.numbers.need_rps - TIE or draft.count < question.numbers.least:
            draft.grow(question.numbers.need_rps * ahead)
            draft.note_limits(question.numbers.need_rps)
        elif draft.rps > question.numbers.lasting_rps * ahead + TIE and not draft.is_waiting:
            draft.shrink(question.numbers.lasting_rps * ahead)
        if draft.is_as_it_was and question.numbers.may_move and not draft.is_waiting:
            draft.move(question.numbers.lasting_rps * ahead)
        return draft.answer()


def fresh(menu: Menu, rps: float, room: int) -> list[Option]:
    """The cheapest set of at most `room` slices that takes `rps`; the largest there are where none does."""
    sets = [options for tier in menu.tiers if tier.pool <= room for options in _sets(tier, rps, room)]
    able = [options for options in sets if pooled_rps(options) >= rps - TIE]
    if able:
        return min(able, key=lambda options: (round(_weight(options, menu), 9), len(options)))
    return max(sets, key=pooled_rps, default=[])


def pooled_rps(options: Collection[Option]) -> float:
    """What replicas take together. One that is much larger than the others gains little from them."""
    number = level(options)
    return sum(option.rates[number] for option in options)


def level(options: Collection[Option]) -> int:
    """Which of `POOLS` they come up to: how many of the largest they would make, rounded down."""
    largest = max((option.bare_rps for option in options), default=0.0)
    many = sum(option.bare_rps for option in options) / largest if largest > 0 else 1.0
    return max(bisect_right(POOLS, many + TIE) - 1, 0)


def _sets(tier: Tier, rps: float, room: int) -> list[list[Option]]:
    """What would cover a rate with slices of a tier: as many efficient ones as go into it, or one less, and a rest."""
    best, number = tier.best, POOLS.index(tier.pool)
    if best.rates[number] * room < rps:
        best = tier.covering(rps / room) or tier.frontier[-1]
    each_rps = best.rates[number]
    whole = min(int(rps / each_rps + TIE), room)
    sets = [[best] * min(whole + 1, room)]
    for many in dict.fromkeys((whole, max(whole - 1, 0))):
        rest_rps = rps - many * each_rps
        rest = tier.covering(rest_rps) if rest_rps > TIE else None
        if rest_rps <= TIE:
            sets.append([best] * many)
        elif rest is not None and many < room:
            sets.append([*[best] * many, rest])
    return sets


def _weight(options: Iterable[Option], menu: Menu) -> float:
    return sum(map(menu.weight, options))


def _closest(question: Question, menu: Menu) -> Answer:
    """As many of the quickest slice as there must be."""
    option = menu.closest
    wanted = slice_of(option, menu.spec)
    spec = menu.spec
    text = (
        f"p{spec.slo_percentile:g} within {spec.slo_ms:g} ms is not to be had: the quickest slice,"
        f" {option.sm_partition}% of the SMs for {option.quota:.0%} of the time,"
        f" takes {option.least_us / US_PER_MS:.1f} ms for a request that waits for no other"
    )
    kept = sorted(question.members, key=lambda member: (member.slice != wanted, -member.rank[0], -member.rank[1]))
    leaving = [member.key for member in kept[max(question.numbers.least, 1) :]]
    row = [other for other in menu.options if other.sm_partition == option.sm_partition and other.quota <= option.quota]
    hold: dict[Key, Slice] = {}
    for member in kept[: question.numbers.least]:
        able = [other for other in row if other.quota <= member.most_quota + TIE]
        if able and member.may_change and member.slice.sm_partition == option.sm_partition:
            hold[member.key] = slice_of(able[-1], spec)
    return Answer(hold, leaving, [wanted] * max(0, question.numbers.least - len(kept)), infeasible=text)


@dataclass(slots=True)
class _Draft:
    """The members as they would be, and what would come."""

    menu: Menu
    question: Question
    held: dict[Key, Option] = field(default_factory=dict)
    members: dict[Key, Member] = field(default_factory=dict)
    changed: dict[Key, Option] = field(default_factory=dict)
    added: list[Option] = field(default_factory=list)
    dropped: list[Key] = field(default_factory=list)
    limited: list[Key] = field(default_factory=list)
    is_move: bool = False

    def __post_init__(self) -> None:
        for member in self.question.members:
            self.members[member.key] = member
            self.held[member.key] = member.option or self.menu.held(100, 1.0, 1.0)

    @property
    def rps(self) -> float:
        """What all of it takes, replicas that are on their way included."""
        return pooled_rps([*self.held.values(), *self.added])

    @property
    def count(self) -> int:
        """How many replicas there would be."""
        return len(self.held) + len(self.added)

    @property
    def is_as_it_was(self) -> bool:
        """Whether nothing was decided."""
        return not (self.changed or self.added or self.dropped)

    @property
    def is_waiting(self) -> bool:
        """Whether some are on their way: what they are to take over from has to stay, and so do they."""
        return any(not member.is_ready and member.rank[0] >= PENDING for member in self.members.values())

    def answer(self) -> Answer:
        """The draft as an answer."""
        spec = self.menu.spec
        hold: dict[Key, Slice] = {key: slice_of(option, spec) for key, option in self.changed.items()}
        others = {
            slice_of(option, spec): tuple(slice_of(other, spec) for other in self.menu.others(option))
            for option in self.added
        }
        added = [slice_of(option, spec) for option in self.added]
        answer = Answer(hold, self.dropped, added, others, self.is_move, limited=self.limited)
        if self.question.numbers.is_cramped and not self.is_move:
            for option in dict.fromkeys(self.added):
                lesser = self.menu.lesser(option)
                answer.less[slice_of(option, spec)] = tuple(slice_of(other, spec) for other in lesser)
        return answer

    # Up

    def grow(self, target_rps: float) -> None:
        """Take so much: by larger quotas in place, new replicas, or both, whichever costs least.

        Where new ones found no room lately, larger quotas come first; where there may be no more, larger replicas.
        """
        grown = self._grown(target_rps)
        starts = [grown] if self.question.numbers.is_cramped else [{}, grown]
        ways = [(changed, self._extra({**self.held, **changed}, target_rps)) for changed in starts]
        changed, self.added = min(ways, key=lambda way: self._price(way[0], way[1], target_rps))
        self.changed = changed
        self.held |= changed
        while self.count < self.question.numbers.least:
            self.added.append(self.menu.smallest)
        if self.rps < self.question.numbers.need_rps - TIE and self.count >= self.question.numbers.most:
            self._exchange(fresh(self.menu, target_rps, self.question.numbers.most))

    def _price(self, changed: dict[Key, Option], extra: list[Option], target_rps: float) -> tuple[float, float, int]:
        """How much it falls short, then what it costs, then how many replicas it brings."""
        short_rps = target_rps - pooled_rps([*{**self.held, **changed}.values(), *extra])
        growth = sum(option.cost - self.held[key].cost for key, option in changed.items())
        return round(max(short_rps, 0.0), 6), round(growth + _weight(extra, self.menu) * NEW, 9), len(extra)

    def _extra(self, held: dict[Key, Option], target_rps: float) -> list[Option]:
        """The cheapest new replicas beside these; the more serve together, the more each of them takes."""
        room = self.question.numbers.most - len(held)
        if room < 1 or pooled_rps(held.values()) >= target_rps - TIE:
            return []
        sets = []
        for number in range(level(held.values()), len(POOLS)):
            missing_rps = target_rps - sum(option.rates[number] for option in held.values())
            sets += _sets(self.menu.tiers[number], max(missing_rps, 2 * TIE), room)
        return min(sets, key=lambda extra: self._reach(held, extra, target_rps))

    def _reach(self, held: dict[Key, Option], extra: list[Option], target_rps: float) -> tuple[float, float, int]:
        short_rps = target_rps - pooled_rps([*held.values(), *extra])
        return round(max(short_rps, 0.0), 6), round(_weight(extra, self.menu), 9), len(extra)

    def _grown(self, target_rps: float) -> dict[Key, Option]:
        """Larger quotas, where a request costs least first, until they are enough or there are no larger ones."""
        number = level(self.held.values())
        changed: dict[Key, Option] = {}
        while (missing_rps := target_rps - pooled_rps({**self.held, **changed}.values())) > TIE:
            steps = [
                (gain >= missing_rps - TIE, -cost if gain >= missing_rps - TIE else gain / cost, key, option)
                for key, option in self._larger(changed)
                for gain, cost in [self._step(changed.get(key, self.held[key]), option, number)]
                if gain > TIE
            ]
            if not steps:
                break
            _, _, key, option = max(steps, key=lambda step: step[:2])
            changed[key] = option
        return changed

    def _step(self, before: Option, after: Option, number: int) -> tuple[float, float]:
        return after.rates[number] - before.rates[number], max(after.cost - before.cost, TIE)

    def _larger(self, changed: dict[Key, Option]) -> Iterator[tuple[Key, Option]]:
        for key, held in self.held.items():
            if self.members[key].may_change:
                for option in self.menu.rows.get(held.sm_partition, ()):
                    room = self.members[key].most_quota + TIE
                    if changed.get(key, held).quota + TIE < option.quota <= room:
                        yield key, option

    def note_limits(self, need_rps: float) -> None:
        """Note who would hold more if there were time where it is, if what comes of all this is too little."""
        members = [self.changed.get(key, held) for key, held in self.held.items()]
        extra = [] if self.is_move else self.added
        if pooled_rps([*members, *extra]) >= need_rps - TIE:
            return
        for key, held in self.held.items():
            row = self.menu.rows.get(held.sm_partition, ())
            if row and row[-1].quota > self.members[key].most_quota + TIE:
                self.limited.append(key)

    def _exchange(self, wanted: list[Option]) -> None:
        """All the replicas there may be are too few: let larger ones take over, if there are any."""
        takes_more = pooled_rps(wanted) > self.rps * (1 + WORTH)
        if takes_more and not self.added and not self.is_waiting:
            self.added, self.is_move = self._missing(wanted), True

    def _missing(self, wanted: list[Option]) -> list[Option]:
        """Those of a set that no member holds yet."""
        spare = [(option.sm_partition, option.quota) for option in self.held.values()]
        coming = []
        for option in wanted:
            if (option.sm_partition, option.quota) in spare:
                spare.remove((option.sm_partition, option.quota))
            else:
                coming.append(option)
        return coming

    # Down

    def is_over(self) -> bool:
        """Whether there are more than there may be, but for those that are to take over and are not ready yet."""
        return (
            sum(member.is_ready or member.rank[0] < PENDING for member in self.members.values())
            > self.question.numbers.most
        )

    def dismiss(self) -> None:
        """Let those go that are more than there may be: who cannot come up first, then the smallest."""
        sized = sorted(
            self.held, key=lambda key: (self.members[key].is_ready, self.held[key].rps, self.members[key].rank)
        )
        able = [key for key in sized if self.members[key].is_ready or self.members[key].rank[0] < PENDING]
        self.dropped = able[: len(able) - self.question.numbers.most]
        for key in self.dropped:
            del self.held[key]

    def shrink(self, target_rps: float) -> None:
        """Let go of what is more than so much, where that is worth it."""
        orders: list[Callable[[Key], tuple[float, ...]]] = [self._by_rpr, self._by_size]
        sets = [self._left(order, target_rps) for order in orders]
        held = min(sets, key=lambda left: round(_cost(left.values()), 9))
        changed = self._narrowed(held, target_rps)
        before, after = _cost(self.held.values()), _cost(held.values())
        if before - after < WORTH * before:
            return
        self.dropped = [key for key in self.held if key not in held]
        self.changed, self.held = changed, held

    def _by_rpr(self, key: Key) -> tuple[float, ...]:
        option, member = self.held[key], self.members[key]
        return (member.is_ready, round(option.rps / option.cost, 6), *member.rank)

    def _by_size(self, key: Key) -> tuple[float, ...]:
        option, member = self.held[key], self.members[key]
        return (member.is_ready, -option.cost, *member.rank)

    def _left(self, order: Callable[[Key], tuple[float, ...]], target_rps: float) -> dict[Key, Option]:
        """Who stays if members go in this order: what is ready has to do alone as much as it did, up to the target."""
        left = dict(self.held)
        for key in sorted(self.held, key=order):
            if len(left) <= self.question.numbers.least:
                break
            rest = {other: option for other, option in left.items() if other != key}
            if self._takes(rest, target_rps):
                left = rest
        return left

    def _takes(self, held: dict[Key, Option], target_rps: float) -> bool:
        """Whether they do, and those that are ready do as much of it as before."""
        ready_rps = pooled_rps(self._ready(held))
        return (
            pooled_rps(held.values()) >= target_rps - TIE
            and ready_rps >= min(pooled_rps(self._ready(self.held)), target_rps) - TIE
        )

    def _ready(self, held: dict[Key, Option]) -> list[Option]:
        return [option for key, option in held.items() if self.members[key].is_ready]

    def _narrowed(self, held: dict[Key, Option], target_rps: float) -> dict[Key, Option]:
        """Smaller quotas for those that stay, the largest saving first; changes `held`, returns what changed."""
        changed: dict[Key, Option] = {}
        for key in sorted(held, key=lambda key: (-held[key].cost, self.members[key].rank)):
            if not self.members[key].may_change:
                continue
            for option in self.menu.rows.get(held[key].sm_partition, ()):
                if option.quota < held[key].quota - TIE and self._takes({**held, key: option}, target_rps):
                    held[key] = changed[key] = option
                    break
        return changed

    # Elsewhere

    def move(self, target_rps: float) -> None:
        """Bring a much cheaper set up beside what there is, which goes when that is ready."""
        wanted = fresh(self.menu, target_rps, self.question.numbers.most) or [self.menu.smallest]
        wanted += [self.menu.smallest] * (self.question.numbers.least - len(wanted))
        if pooled_rps(wanted) < min(target_rps, self.rps) - TIE:
            return
        saves = _cost(self.held.values()) - _cost(wanted)
        coming = self._missing(wanted)
        if coming and saves > MOVE * _cost(self.held.values()):
            self.added, self.is_move = coming, True


def _cost(options: Iterable[Option]) -> float:
    return sum(option.cost for option in options)
