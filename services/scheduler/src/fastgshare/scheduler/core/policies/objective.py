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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from fastgshare.scheduler.core.books import Key
from fastgshare.scheduler.core.menu import POOLS, Menu, Option, slice_of
from fastgshare.scheduler.core.policies.pool import TIE, Balance, Equals, Pool, listed, pooled_rps, weight
from fastgshare.scheduler.core.policies.port import Answer, Demand, Member, Question, beyond
from fastgshare.scheduler.core.policies.sets import cheapest, fresh, number_of, sets_of
from fastgshare.shared.messages import Slice
from fastgshare.shared.units import US_PER_MS

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
    answer = Answer(hold, leaving, [wanted] * max(0, question.numbers.least - len(kept)), infeasible=text)
    if question.numbers.is_cramped:  # it may be slower than that, if only it serves
        slower = sorted(menu.options, key=lambda other: (other.least_us, other.cost))
        answer.less[wanted] = tuple(slice_of(other, spec) for other in slower if other is not option)
    return answer


_Place = tuple[int, int, float]
"""Equal members: what they hold and what they may hold, as objects, and the most there is time for where they are."""


class _Step(NamedTuple):
    """A larger quota for one of a group, at `place`. `worth`: what it gains for its cost, or how little it costs."""

    is_enough: bool
    worth: float
    gain_rps: float
    after: Option
    place: _Place

    @classmethod
    def of(cls, before: Option, after: Option, number: int, missing_rps: float, place: _Place) -> "_Step":
        gain_rps, cost = after.rates[number] - before.rates[number], max(after.cost - before.cost, TIE)
        is_enough = gain_rps >= missing_rps - TIE
        return cls(is_enough, -cost if is_enough else gain_rps / cost, gain_rps, after, place)


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
    is_optional: bool = False

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
        add = [slice_of(option, spec) for option in self.added]
        answer = Answer(hold, self.dropped, add, is_move=self.is_move, is_optional=self.is_optional)
        answer.limited, answer.beyond = self.limited, self._beyond()
        for option in {id(option): option for option in self.added}.values():
            held = slice_of(option, spec)
            answer.others[held] = tuple(slice_of(other, spec) for other in self.menu.others(option))
            answer.elsewhere[held] = tuple(self._elsewhere(option))
            if self.question.numbers.is_cramped and not self.is_move:
                answer.less[held] = tuple(slice_of(other, spec) for other in self.menu.lesser(option))
        return answer

    def _elsewhere(self, option: Option) -> Iterator[tuple[str, Slice]]:
        """What takes as much on other kinds of device, or the most there is, where this kind has no room."""
        for menu in self.question.menus:
            if menu is not self.menu and menu.tiers:
                tier = menu.tiers[0]
                yield menu.kind, slice_of(tier.covering(option.rps) or tier.frontier[-1], menu.spec)

    def _beyond(self) -> str:
        """Why more was needed lately than all the replicas there may be can do, if so."""
        numbers = self.question.numbers
        if self.rps >= numbers.lasting_rps - TIE:
            return ""
        most_rps = Pool().with_all(cheapest(self.menu, numbers.lasting_rps, numbers.most)).rps
        return beyond(numbers.lasting_rps, numbers.most, most_rps)

    # Up

    def grow(self, target_rps: float) -> None:
        """Take so much: by larger quotas in place, new replicas, or both, whichever costs least.

        Where new ones found no room lately, larger quotas come first; where there may be no more, larger replicas.
        """
        grown = self._grown(target_rps)
        starts = [grown] if self.question.numbers.is_cramped else [{}, grown]
        ways = [(changed, self._extra({**self.held, **changed}, target_rps)) for changed in starts]
        changed, extra = min(ways, key=lambda way: self._price(way[0], way[1], target_rps))
        self.added = listed(extra)
        self.changed = changed
        self.held |= changed
        while self.count < self.question.numbers.least:
            self.added.append(self.menu.smallest)
        if self.rps < self.question.numbers.need_rps - TIE and self.count >= self.question.numbers.most:
            self._exchange(fresh(self.menu, target_rps, self.question.numbers.most))

    def _price(self, changed: dict[Key, Option], extra: list[Equals], target_rps: float) -> tuple[float, float, int]:
        """How much it falls short, then what it costs, then how many replicas it brings."""
        short_rps = target_rps - Pool({**self.held, **changed}.values()).with_all(extra).rps
        growth = sum(option.cost - self.held[key].cost for key, option in changed.items())
        return round(max(short_rps, 0.0), 6), round(growth + weight(extra, self.menu) * NEW, 9), number_of(extra)

    def _extra(self, held: dict[Key, Option], target_rps: float) -> list[Equals]:
        """The cheapest new replicas beside these; the more serve together, the more each of them takes."""
        room, there = self.question.numbers.most - len(held), Pool(held.values())
        if room < 1 or there.rps >= target_rps - TIE:
            return []
        sets = []
        for number in range(there.level, len(POOLS)):
            missing_rps = target_rps - there.rps_at(number)
            sets += sets_of(self.menu.tiers[number], max(missing_rps, 2 * TIE), room)

        def reach(extra: list[Equals]) -> tuple[float, float, int]:
            short_rps = target_rps - there.with_all(extra).rps
            return round(max(short_rps, 0.0), 6), round(weight(extra, self.menu), 9), number_of(extra)

        return min(sets, key=reach)

    def _grown(self, target_rps: float) -> dict[Key, Option]:
        """Larger quotas, where a request costs least first, until they are enough or there are no larger ones.

        Equal members take the same step together, up to where another step would be enough.
        """
        pool = Pool(self.held.values())
        number = pool.level
        changed: dict[Key, Option] = {}
        groups: dict[_Place, tuple[Option, tuple[Option, ...], list[Key]]] = {}
        for key, held in self.held.items():
            if self.members[key].may_change:
                place = id(held), id(self._row(key)), self.members[key].most_quota
                if place not in groups:
                    row = tuple(option for option in self._row(key) if option.quota <= place[2] + TIE)
                    groups[place] = held, row, []
                groups[place][2].append(key)
        while (missing_rps := target_rps - pool.rps) > TIE:
            steps = [
                _Step.of(before, option, number, missing_rps, place)
                for place, (before, row, _) in groups.items()
                for option in row
                if option.quota > before.quota + TIE and option.rates[number] - before.rates[number] > TIE
            ]
            if not steps:
                break
            step = max(steps, key=lambda one: (one.is_enough, one.worth))
            before, row, keys = groups[step.place]
            spare_rps = missing_rps - max(one.gain_rps for one in steps)
            many = max(min(int(spare_rps / step.gain_rps), len(keys)), 1)
            pool.swap(before, step.after, many)
            changed |= dict.fromkeys(keys[:many], step.after)
            groups.setdefault((id(step.after), *step.place[1:]), (step.after, row, []))[2].extend(keys[:many])
            del keys[:many]
            if not keys:
                del groups[step.place]
        return changed

    def _row(self, key: Key) -> tuple[Option, ...]:
        """The quotas that a member may take, on the kind of device that it is on."""
        member = self.members[key]
        return (member.menu or self.menu).rows.get(member.slice.sm_partition, ())

    def note_limits(self, need_rps: float) -> None:
        """Note who would hold more if there were time where it is, if what comes of all this is too little."""
        members = [self.changed.get(key, held) for key, held in self.held.items()]
        extra = [] if self.is_move else self.added
        if pooled_rps([*members, *extra]) >= need_rps - TIE:
            return
        for key in self.held:
            row = self._row(key)
            if row and row[-1].quota > self.members[key].most_quota + TIE:
                self.limited.append(key)

    def _exchange(self, wanted: list[Option]) -> None:
        """All the replicas there may be are too few: let larger ones take over, if there are any."""
        takes_more = pooled_rps(wanted) > self.rps * (1 + WORTH)
        if takes_more and not self.added and not self.is_waiting:
            self.added, self.is_move = self._missing(wanted), True

    def _missing(self, wanted: list[Option]) -> list[Option]:
        """Those of a set that no member holds yet on this kind of device."""
        here = (option for key, option in self.held.items() if self.members[key].menu in (None, self.menu))
        spare = Counter((option.sm_partition, option.quota) for option in here)
        coming = []
        for option in wanted:
            place = (option.sm_partition, option.quota)
            if spare[place]:
                spare[place] -= 1
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
        left, takes = dict(self.held), self._balance(self.held, target_rps)
        needed: set[tuple[int, bool]] = set()  # of these none can be missed

        def place_of(key: Key) -> tuple[int, bool]:
            return id(self.held[key]), self.members[key].is_ready

        for place, run in groupby(sorted(self.held, key=order), place_of):
            keys = list(run)[: max(len(left) - self.question.numbers.least, 0)]
            if not keys or place in needed:
                continue
            many = takes.spare(self.held[keys[0]], place[1], len(keys))
            for key in keys[:many]:
                del left[key]
            if many < len(keys):
                needed.add(place)
        return left

    def _balance(self, held: dict[Key, Option], target_rps: float) -> "Balance":
        """What `held` takes, which must stay at the target; what is ready of it, at what that took before."""
        before_rps = pooled_rps(self._ready(self.held))
        return Balance(Pool(held.values()), Pool(self._ready(held)), target_rps, min(before_rps, target_rps))

    def _ready(self, held: dict[Key, Option]) -> list[Option]:
        return [option for key, option in held.items() if self.members[key].is_ready]

    def _narrowed(self, held: dict[Key, Option], target_rps: float) -> dict[Key, Option]:
        """Smaller quotas for those that stay, the largest saving first; changes `held`, returns what changed."""
        changed: dict[Key, Option] = {}
        takes = self._balance(held, target_rps)
        needed: set[tuple[int, int, bool]] = set()
        for key in sorted(held, key=lambda key: (-held[key].cost, self.members[key].rank)):
            if not self.members[key].may_change:
                continue
            row, is_ready = self._row(key), self.members[key].is_ready
            place = (id(held[key]), id(row), is_ready)
            if place in needed:
                continue
            smaller = [option for option in row if option.quota < held[key].quota - TIE]
            fitting = next((option for option in smaller if takes.with_less(held[key], option, is_ready)), None)
            if fitting is None:
                needed.add(place)
            else:
                held[key] = changed[key] = fitting
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
            self.added, self.is_move, self.is_optional = coming, True, True


def _cost(options: Iterable[Option]) -> float:
    return sum(option.cost for option in options)
