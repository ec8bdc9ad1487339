"""Objectives met with the fewest devices: our own policy.

Demand is the forecast with what bursts may add and what waits; what a slice takes is `queueing`'s rate within the
objective, so a slice that would keep requests waiting counts for what it can do in time. Where demand exceeds what
there is, quotas grow in place first (no replica has to be loaded for that), then the cheapest set of new slices covers
the rest with head-room. Where less was enough for a while, replicas go in ascending RPR or by size, whichever leaves
less, and quotas shrink; both only if that saves a tenth, so nothing moves back and forth over a trifle. Where fresh
slices would do the same for much less, they are brought up beside the old ones, which go when those are ready.
An objective that cannot be met is not chased: the quickest slice serves.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from fastgshare.scheduler.core.menu import Menu, Option, slice_of
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

    is_fixed = False

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """What is to come, with bursts, and those that wait."""
        return demand.coming_rps + demand.burst_rps + demand.waiting_rps

    def answer(self, question: Question) -> Answer:
        """Larger, smaller, more, fewer, or as it is."""
        menu = question.menu
        assert menu is not None
        if question.most == 0:
            return Answer(drop=[member.key for member in question.members])
        if menu.best is None:
            return _closest(question, menu)
        draft = _Draft(menu, question)
        ahead = 1 + question.headroom * HEADROOM
        if draft.rps < question.need_rps - TIE or draft.count < question.least:
            draft.grow(question.need_rps * ahead)
        elif draft.is_over():
            draft.dismiss()
        elif draft.rps > question.lasting_rps * ahead + TIE:
            draft.shrink(question.lasting_rps * ahead)
        if draft.is_as_it_was and question.may_move:
            draft.move(question.lasting_rps * ahead)
        return draft.answer()


def fresh(menu: Menu, rps: float, room: int) -> list[Option]:
    """The cheapest set of at most `room` slices that takes `rps`; the largest there are where none does."""
    best = menu.best
    if best is None or room < 1:
        return []
    if best.rps * room < rps:
        best = menu.covering(rps / room) or menu.frontier[-1]
    whole = min(int(rps / best.rps + TIE), room)
    sets = []
    for many in dict.fromkeys((whole, max(whole - 1, 0))):
        rest_rps = rps - many * best.rps
        rest = menu.covering(rest_rps) if rest_rps > TIE else None
        if rest_rps <= TIE:
            sets.append([best] * many)
        elif rest is not None and many < room:
            sets.append([best] * many + [rest])
    if not sets:
        return [best] * room
    return min(sets, key=lambda options: (round(_cost(options, menu), 9), len(options)))


def _cost(options: Iterable[Option], menu: Menu) -> float:
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
    leaving = [member.key for member in kept[max(question.least, 1) :]]
    hold = {
        m.key: wanted for m in kept[: question.least] if m.may_change and m.slice.sm_partition == option.sm_partition
    }
    return Answer(hold, leaving, [wanted] * max(0, question.least - len(kept)), infeasible=text)


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
    is_move: bool = False

    def __post_init__(self) -> None:
        for member in self.question.members:
            self.members[member.key] = member
            self.held[member.key] = member.option or self.menu.held(100, 1.0, 1.0)

    @property
    def rps(self) -> float:
        """What all of it takes, replicas that are on their way included."""
        return sum(option.rps for option in self.held.values()) + sum(option.rps for option in self.added)

    @property
    def count(self) -> int:
        """How many replicas there would be."""
        return len(self.held) + len(self.added)

    @property
    def is_as_it_was(self) -> bool:
        """Whether nothing was decided."""
        return not (self.changed or self.added or self.dropped)

    def answer(self) -> Answer:
        """The draft as an answer."""
        spec = self.menu.spec
        hold: dict[Key, Slice] = {key: slice_of(option, spec) for key, option in self.changed.items()}
        others = {
            slice_of(option, spec): tuple(slice_of(other, spec) for other in self.menu.others(option))
            for option in self.added
        }
        return Answer(hold, self.dropped, [slice_of(option, spec) for option in self.added], others, self.is_move)

    # Up

    def grow(self, target_rps: float) -> None:
        """Take so much: larger quotas in place, then new replicas, or larger ones where there may be no more."""
        while (missing_rps := target_rps - self.rps) > TIE:
            extra = fresh(self.menu, missing_rps, self.question.most - self.count)
            key, option = self._best_growth(missing_rps, extra)
            if option is None:
                self.added += extra
                break
            self.held[key] = self.changed[key] = option
        while self.count < self.question.least:
            self.added.append(self.menu.frontier[0])
        if self.rps < self.question.need_rps - TIE and self.count >= self.question.most:
            self._exchange(fresh(self.menu, target_rps, self.question.most))

    def _exchange(self, wanted: list[Option]) -> None:
        """All the replicas there may be are too few: let larger ones take over, if there are any."""
        takes_more = sum(option.rps for option in wanted) > self.rps * (1 + WORTH)
        if takes_more and not self.added and all(member.is_ready for member in self.members.values()):
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

    def _best_growth(self, missing_rps: float, extra: list[Option]) -> tuple[Key, Option | None]:
        """The member to grow now and to what; None where new replicas are the better way."""
        covering: tuple[float, Key, Option | None] = (inf, "", None)
        partial: tuple[float, Key, Option | None] = (-inf, "", None)
        for key, option in self._larger():
            gain, cost = option.rps - self.held[key].rps, option.cost - self.held[key].cost
            if gain >= missing_rps - TIE and cost < covering[0] - TIE:
                covering = (cost, key, option)
            elif TIE < gain < missing_rps - TIE and gain / cost > partial[0] + TIE:
                partial = (gain / cost, key, option)
        new_cost, new_rps = _cost(extra, self.menu), sum(option.rps for option in extra)
        falls_short = new_rps < missing_rps - TIE
        if covering[2] is not None and (falls_short or covering[0] <= new_cost * NEW):
            return covering[1], covering[2]
        if partial[2] is not None and (falls_short or partial[0] * NEW >= new_rps / new_cost):
            return partial[1], partial[2]
        return "", None

    def _larger(self) -> Iterator[tuple[Key, Option]]:
        for key, held in self.held.items():
            if self.members[key].may_change:
                for option in self.menu.rows.get(held.sm_partition, ()):
                    if option.quota > held.quota + TIE:
                        yield key, option

    # Down

    def is_over(self) -> bool:
        """Whether there are more than there may be, but for those that are to take over and are not ready yet."""
        return sum(member.is_ready or member.rank[0] < PENDING for member in self.members.values()) > self.question.most

    def dismiss(self) -> None:
        """Let those go that are more than there may be: who cannot come up first, then the smallest."""
        sized = sorted(
            self.held, key=lambda key: (self.members[key].is_ready, self.held[key].rps, self.members[key].rank)
        )
        able = [key for key in sized if self.members[key].is_ready or self.members[key].rank[0] < PENDING]
        self.dropped = able[: len(able) - self.question.most]
        for key in self.dropped:
            del self.held[key]

    def shrink(self, target_rps: float) -> None:
        """Let go of what is more than so much, where that is worth it."""
        orders: list[Callable[[Key], tuple[float, ...]]] = [self._by_rpr, self._by_size]
        sets = [self._left(order, target_rps) for order in orders]
        held = min(sets, key=lambda left: round(_plain_cost(left.values()), 9))
        changed = self._narrowed(held, target_rps)
        before, after = _plain_cost(self.held.values()), _plain_cost(held.values())
        if before - after < WORTH * before:
            return
        self.dropped = [key for key in self.held if key not in held]
        self.changed, self.held = changed, held

    def _by_rpr(self, key: Key) -> tuple[float, ...]:
        option, member = self.held[key], self.members[key]
        return (member.is_ready, round(option.rpr, 6), *member.rank)

    def _by_size(self, key: Key) -> tuple[float, ...]:
        option, member = self.held[key], self.members[key]
        return (member.is_ready, -option.cost, *member.rank)

    def _left(self, order: Callable[[Key], tuple[float, ...]], target_rps: float) -> dict[Key, Option]:
        """Who stays if members go in this order: what is ready has to do alone as much as it did, up to the target."""
        left = dict(self.held)
        for key in sorted(self.held, key=order):
            if len(left) <= self.question.least:
                break
            rest = {other: option for other, option in left.items() if other != key}
            if self._takes(rest, target_rps):
                left = rest
        return left

    def _takes(self, held: dict[Key, Option], target_rps: float) -> bool:
        ready_rps = sum(option.rps for key, option in held.items() if self.members[key].is_ready)
        all_ready_rps = sum(option.rps for key, option in self.held.items() if self.members[key].is_ready)
        all_rps = sum(option.rps for option in held.values())
        return all_rps >= target_rps - TIE and ready_rps >= min(all_ready_rps, target_rps) - TIE

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
        if not all(member.is_ready for member in self.members.values()):
            return
        wanted = fresh(self.menu, target_rps, self.question.most) or [self.menu.frontier[0]]
        wanted += [self.menu.frontier[0]] * (self.question.least - len(wanted))
        saves = _plain_cost(self.held.values()) - _plain_cost(wanted)
        coming = self._missing(wanted)
        if coming and saves > MOVE * _plain_cost(self.held.values()):
            self.added, self.is_move = coming, True


def _plain_cost(options: Iterable[Option]) -> float:
    return sum(option.cost for option in options)
