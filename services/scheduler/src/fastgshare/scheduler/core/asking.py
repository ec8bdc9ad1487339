"""What a function's policy is asked, from what is believed, and how its answer is explained. No decision of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastgshare.scheduler.core import capacity, scaling
from fastgshare.scheduler.core.liveness import Health
from fastgshare.scheduler.core.menu import Menu
from fastgshare.scheduler.core.policies.port import Answer, Demand, Member, Policy, Question
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import FunctionState, Placed, Scale, State
from fastgshare.shared.messages import FunctionSpec

ORDER = (Health.STUCK, Health.LOST, Health.PENDING, Health.READY)
"""Who goes first, where all else is equal."""
MOVES = 4
"""Replicas are replaced by better ones at most once in so many times `scale_down_us`."""


@dataclass(slots=True)
class Case:
    """One function's question to its policy. `why`: the numbers behind it, for people."""

    policy: Policy
    question: Question
    why: str

    def answer(self, scale: Scale) -> Answer:
        """The policy's. Where the same members were enough for more and not too many for less, nobody is asked again."""
        before, asked = scale.calm, self.question
        if before is not None and asked.asks_no_more_than(before):
            return Answer()
        answer = self.policy.answer(asked)
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
        menu = None
        if not scaling.follows_slice(self.spec, self.settings):
            menu = capacity.menu_for(self.state, self.built, self.settings)
        policy = scaling.policy_of(self.spec, menu, self.settings)
        views = [self._member(number, *member, menu) for number, member in enumerate(members)]
        if policy.is_fixed or menu is None:
            return self._fixed(policy, views, is_last_good)
        return self._elastic(policy, menu, views, is_last_good)

    def _fixed(self, policy: Policy, views: Sequence[Member], is_last_good: bool) -> Case:
        each_rps = capacity.replica_rps(self.state, self.function, self.spec)
        supply = scaling.Supply(len(views), sum(view.is_ready for view in views), each_rps)
        count = scaling.wanted(self.function, self.spec, supply, self.now_us, self.settings)
        why = scaling.explain(self.function, self.spec, supply, self.now_us, self.settings)
        if is_last_good:
            count = max(1, count)  # its placements are all that is left of the last good definition
        held = self.built.slice
        return Case(policy, Question(tuple(views), None, held, count, count, count, 0.0, 0.0, 0.0), why)

    def _elastic(self, policy: Policy, menu: Menu, views: Sequence[Member], is_last_good: bool) -> Case:
        scale = self.function.scale
        scale.count = None
        least, most = scaling.bounds(self.function, self.spec, self.now_us, self.settings)
        if is_last_good:
            least, most = max(least, 1), max(most, 1)
        ready = sum(view.is_ready for view in views)
        demand = scaling.demand(self.function, self.spec, ready, self.now_us, self.settings)
        need_rps = policy.demand_rps(demand, self.settings.headroom)
        lasting_rps = scaling.lasting_rps(scale, need_rps, self.now_us, self.settings) if most else 0.0
        may_move = scale.moved_us is None or self.now_us - scale.moved_us >= MOVES * self.settings.scale_down_us
        question = Question(
            members=tuple(views),
            menu=menu,
            given=self.built.slice,
            count=0,
            least=least,
            most=most,
            need_rps=need_rps,
            lasting_rps=lasting_rps,
            headroom=self.settings.headroom,
            may_move=may_move,
            is_cramped=bool(self.function.blocked),
        )
        return Case(policy, question, _explain(demand, need_rps, lasting_rps))

    def _member(self, number: int, placed: Placed, health: Health, menu: Menu | None) -> Member:
        placement = placed.placement
        option = None
        if menu is not None:
            option = capacity.option_of(self.state, placement, self.built, menu, self.settings)
        until_us = self.function.scale.cramped.get(placed.key, 0)
        return Member(
            key=placed.key,
            slice=placement.function.slice,
            option=option,
            is_ready=health is Health.READY,
            rank=(ORDER.index(health), -number),
            may_change=placed.confirmed and health in (Health.PENDING, Health.READY) and self.now_us >= until_us,
        )


def _explain(demand: Demand, need_rps: float, lasting_rps: float) -> str:
    lately = f", {lasting_rps:.1f}/s lately" if lasting_rps > need_rps * 1.01 else ""
    bursts = f", bursts add {demand.burst_rps:.1f}/s" if demand.burst_rps else ""
    return (
        f"{demand.rate_rps:.1f} requests/s arrive, {demand.coming_rps:.1f}/s are expected{bursts},"
        f" {demand.waiting_rps:.1f}/s to catch up{lately}"
    )
