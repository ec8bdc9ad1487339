"""What a function's policy is asked, from what is believed, and how its answer is explained.

What to do is the policy's to decide; how much it hears of is told here: nothing of bursts where others lack what they
need, and the needs of a shorter while.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastgshare.scheduler.core import capacity, packing, scaling
from fastgshare.scheduler.core.liveness import Health
from fastgshare.scheduler.core.menu import Menu
from fastgshare.scheduler.core.policies.port import Answer, Demand, Member, Numbers, Policy, Question
from fastgshare.scheduler.core.policies.sets import preferred
from fastgshare.scheduler.core.records import ANYWHERE, FunctionState, Placed, Scale
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.units import PER_MILLE

ORDER = (Health.STUCK, Health.LOST, Health.PENDING, Health.READY)
"""Who goes first, where all else is equal."""
TENTHS = 10
"""Quotas on the menu are tenths."""
MOVES = 4
"""Replicas are replaced by better ones at most once in so many times `scale_down_us`."""
MOST_DOUBLINGS = 5
"""That is doubled as often as there was no room for the better ones, up to about an hour."""


@dataclass(slots=True)
class Case:
    """One function's question to its policy.

    `why`: the numbers behind it, for people. `beyond`: why the fixed policy finds `autoscale.max` too low.
    `pressing_rps`: what is needed without room for bursts, which nobody else has to give anything up for.
    """

    policy: Policy
    question: Question
    why: str
    beyond: str = ""
    pressing_rps: float = 0.0

    @property
    def kind(self) -> str:
        """Of which kind of device slices that come are; empty: of any."""
        menu = self.question.menu
        return menu.kind if menu is not None and not self.policy.is_fixed else ""

    def answer(self, scale: Scale) -> Answer:
        """The policy's. It is not asked again where the same members were enough for more and not too many for less."""
        before, asked = scale.calm, self.question
        if before is not None and asked.asks_no_more_than(before):
            return Answer(kind=self.kind)
        answer = self.policy.answer(asked)
        answer.kind, answer.beyond = self.kind, answer.beyond or self.beyond
        scale.calm = asked if answer.is_nothing and not self.policy.is_fixed else None
        return answer


@dataclass(slots=True)
class Asking:
    """Where a question is put together: one function's base generation, `built` as it is, at one moment."""

    state: State
    function: FunctionState
    spec: FunctionSpec
    built: FunctionSpec
    now_us: int
    settings: Settings

    def case(self, members: Sequence[tuple[Placed, Health]], is_last_good: bool) -> Case:
        """The question about these members, oldest first; the last good generation keeps at least one."""
        menus = self._menus()
        policy = scaling.policy_of(self.spec, bool(menus), self.settings)
        ready = sum(health is Health.READY for _, health in members)
        kept = 1 if is_last_good else 0  # its placements are all that is left of the last good definition
        count, numbers, beyond, pressing_rps = 0, Numbers(0, 0), "", 0.0
        if policy.is_fixed:
            count, supply = self._count(len(members), ready)
            beyond = scaling.beyond(self.function, self.spec, supply, self.now_us, self.settings)
            why = scaling.explain(self.function, self.spec, supply, self.now_us, self.settings)
        else:
            self.function.scale.count = None
            numbers, demand = self._numbers(policy, ready)
            numbers = numbers._replace(least=max(numbers.least, kept), most=max(numbers.most, kept))
            pressing_rps = policy.demand_rps(demand._replace(burst_rps=0.0), self.settings.headroom)
            why = _explain(demand, numbers)
        held, headroom = self.built.slice, self.settings.headroom
        menu = preferred(menus, numbers.need_rps * (1 + headroom / 2), max(numbers.most, 1)) if menus else None
        views = tuple(self._member(number, *member, menu) for number, member in enumerate(members))
        question = Question(policy.name, views, menu, held, headroom, numbers, max(count, kept), menus)
        return Case(policy, question, why, beyond, pressing_rps)

    def is_still(self) -> bool:
        """Whether nothing follows from the time that passed: the question would be the last one, or ask for less.

        Only facts about replicas and nodes can change what else it says, and they have the function planned anew.
        """
        scale = self.function.scale
        before = scale.still
        if before is None or self._menus() != before.menus:
            return False
        policy = scaling.policy_of(self.spec, bool(before.menus), self.settings)
        ready = len(before.members)
        if policy.name != before.policy:
            return False
        if not policy.is_fixed:
            return self._numbers(policy, ready)[0].ask_no_more_than(before.numbers)
        told, grown_us = scale.count, scale.grown_us
        count, supply = self._count(ready, ready)
        beyond = scaling.beyond(self.function, self.spec, supply, self.now_us, self.settings)
        scale.count, scale.grown_us = told, grown_us  # a change is made, and told, when it is planned
        return count == before.count and not beyond and scale.beyond_us is None

    def _menus(self) -> tuple[Menu, ...]:
        if scaling.follows_slice(self.spec, self.settings):
            return ()
        return capacity.menus_for(self.state, self.built, self.settings)

    def _count(self, placed: int, ready: int) -> tuple[int, scaling.Supply]:
        """The number that the fixed policy wants, and of what it was made."""
        supply = scaling.Supply(placed, ready, capacity.replica_rps(self.state, self.function, self.spec))
        return scaling.wanted(self.function, self.spec, supply, self.now_us, self.settings), supply

    def _numbers(self, policy: Policy, ready: int) -> tuple[Numbers, Demand]:
        """Bounds and needs as they are now, and the demand behind them."""
        scale = self.function.scale
        least, most = scaling.bounds(self.function, self.spec, self.now_us, self.settings)
        demand = scaling.demand(self.function, self.spec, ready, self.now_us, self.settings)
        in_the_way = self._is_in_the_way()
        if in_the_way:  # room for bursts is not held where others lack what they need
            demand = demand._replace(burst_rps=0.0)
        need_rps = policy.demand_rps(demand, self.settings.headroom)
        lasting_rps = 0.0
        if most:
            lasting_rps = scaling.lasting_rps(scale, need_rps, self.now_us, self.settings, in_the_way)
        pause_us = MOVES * self.settings.scale_down_us << min(scale.misfits, MOST_DOUBLINGS)
        may_move = scale.moved_us is None or self.now_us - scale.moved_us >= pause_us
        return Numbers(least, most, need_rps, lasting_rps, may_move, bool(self.function.blocked)), demand

    def _is_in_the_way(self) -> bool:
        """Whether another function needs more of a device that this one is on."""
        others = [devices for name, devices in self.state.starving.items() if name != self.function.name]
        if not others:
            return False
        own = {ANYWHERE: True} | {placed.placement.device: True for placed in self.function.placed.values()}
        return any(device in own for devices in others for device in devices)

    def _member(self, number: int, placed: Placed, health: Health, menu: Menu | None) -> Member:
        placement = placed.placement
        option = own = None
        if menu is not None:
            own = capacity.menu_of_device(self.state, placement, self.built, self.settings)
            option = capacity.option_of(self.state, placement, own, menu)
        until_us = self.function.scale.cramped.get(placed.key, 0)
        return Member(
            key=placed.key,
            slice=placement.function.slice,
            option=option,
            is_ready=health is Health.READY,
            rank=(ORDER.index(health), -number),
            may_change=placed.confirmed and health in (Health.PENDING, Health.READY) and self.now_us >= until_us,
            menu=own,
            most_quota=self.most_quota(placed),
        )

    def most_quota(self, placed: Placed) -> float:
        """How much a replica can hold on its chunks, in tenths; what it has, where its device is away."""
        placement = placed.placement
        held = placement.function.slice.quota_request
        room = packing.books(self.state).rooms.get(placement.device)
        if room is None or placed.key not in room.held:
            return held
        loads = room.loads_without(placed.key)
        free = PER_MILLE - max(loads[chunk] for chunk in placement.chunks)
        return max(held, free * TENTHS // PER_MILLE / TENTHS)


def _explain(demand: Demand, numbers: Numbers) -> str:
    lately = f", {numbers.lasting_rps:.1f}/s lately" if numbers.lasting_rps > numbers.need_rps * 1.01 else ""
    bursts = f", bursts add {demand.burst_rps:.1f}/s" if demand.burst_rps else ""
    return (
        f"{demand.rate_rps:.1f} requests/s arrive, {demand.coming_rps:.1f}/s are expected{bursts},"
        f" {demand.waiting_rps:.1f}/s to catch up{lately}"
    )


def is_still(state: State, function: FunctionState, now_us: int, settings: Settings) -> bool:
    """Whether time alone changes nothing about a function's plan."""
    spec = function.spec
    return spec is not None and Asking(state, function, spec, spec, now_us, settings).is_still()
