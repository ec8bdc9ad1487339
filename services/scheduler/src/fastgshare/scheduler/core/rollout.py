"""One function from where its replicas are to where they should be.

The generation that serves, the *base*, is the newest unless that failed for good; then it is the one before,
which stays, and the failed replicas stay placed as the record of why. A new generation is brought up beside the
old, and an older replica leaves only when ready newer ones cover the wanted number. A failed generation is not
tried again.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from fastgshare.scheduler.core import capacity, scaling
from fastgshare.scheduler.core.asking import Asking, Case
from fastgshare.scheduler.core.commands import Report
from fastgshare.scheduler.core.liveness import Health, health
from fastgshare.scheduler.core.plan import Offer, Plan, Wish
from fastgshare.scheduler.core.policies.pool import TIE, pooled_rps
from fastgshare.scheduler.core.policies.port import Answer
from fastgshare.scheduler.core.state import ANYWHERE, FunctionState, Placed
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec, Slice


@dataclass(slots=True)
class Member:
    """A placed replica that is to stay, as far as decided, and how it does.

    `outgrown`: it serves, but there is no time left where it is for the quota it should have; another takes over.
    """

    placed: Placed
    health: Health
    outgrown: bool = False

    @property
    def generation(self) -> int:
        """Which generation of its function it runs."""
        return self.placed.placement.function.generation


@dataclass(slots=True)
class Rollout:
    """One function's members, while its plan is made."""

    plan: Plan
    function: FunctionState
    spec: FunctionSpec
    members: list[Member]

    def of(self, generation: int) -> list[Member]:
        """The live members of a generation, oldest first, but for those that others are to take over from."""
        return [
            member
            for member in self.members
            if member.generation == generation and member.health is not Health.FAILED and not member.outgrown
        ]

    def ready(self, generation: int) -> int:
        """How many replicas of a generation can take requests."""
        return sum(member.health is Health.READY for member in self.of(generation))

    def live_generations(self) -> list[int]:
        """Generations with live members, newest first."""
        return sorted({m.generation for m in self.members if m.health is not Health.FAILED}, reverse=True)

    def remove(self, member: Member, reason: str) -> None:
        """Decide that a replica leaves."""
        self.plan.remove(member.placed, reason)
        self.members.remove(member)

    def place(
        self,
        built: FunctionSpec,
        reason: str,
        others: Sequence[Slice] = (),
        kind: str = "",
        elsewhere: Sequence[Offer] = (),
    ) -> bool:
        """Decide on one more replica; False where there is no room."""
        before = set(self.function.placed)
        done = self.plan.place(self.function, built, reason, others, kind, elsewhere)
        self._take_in(before)
        return done

    def place_together(self, built: FunctionSpec, wishes: Sequence[Wish], kind: str) -> bool:
        """Decide on several, if there is room for all of them as things are."""
        before = set(self.function.placed)
        done = self.plan.place_together(self.function, built, wishes, kind)
        self._take_in(before)
        return done

    def place_less(self, built: FunctionSpec, reason: str, slices: Sequence[Slice], kind: str) -> None:
        """Decide on one more replica with the first of these slices that fits, if any does."""
        before = set(self.function.placed)
        self.plan.place_less(self.function, built, slices, reason, kind)
        self._take_in(before)

    def _take_in(self, before: Container[str]) -> None:
        fresh = [p for key, p in self.function.placed.items() if key not in before and not p.is_understudy]
        self.members += [Member(placed, Health.PENDING) for placed in fresh]


def plan_function(plan: Plan, name: FunctionName) -> None:
    """Decide what to place and remove for one function now."""
    function = plan.state.functions.get(name)
    if function is None:
        return
    staying = sorted(
        (p for p in function.placed.values() if not p.leaving and not p.is_understudy), key=lambda placed: placed.age
    )
    if function.spec is None:
        for placed in staying:
            plan.remove(placed, "the function was deleted")
        plan.state.starve(name, ())
        if not function.placed:
            del plan.state.functions[name]
        return
    for placed in [placed for placed in staying if placed.overtaken]:
        plan.remove(placed, "an earlier leader wrote it after its term")
        staying.remove(placed)
    acting = [placed for placed in staying if not placed.is_understudy]
    members = [Member(p, health(plan.state, p, plan.now_us, plan.settings)) for p in acting]
    _decide(Rollout(plan, function, function.spec, members))


def _decide(rollout: Rollout) -> None:
    function, spec = rollout.function, rollout.spec
    decided = len(rollout.plan.commands)
    function.scale.still = None
    _check_revived(rollout)
    _note_failure(rollout)
    _clear_records(rollout)
    base = _base(rollout)
    if base is None:
        function.blocked = ""  # nothing is wanted, so nothing waits for room
        rollout.plan.state.starve(function.name, ())
        _settle(rollout)
        return
    built = _built(rollout, base)
    if scaling.follows_slice(spec, rollout.plan.settings):
        _resize(rollout, base, built)
    elif not function.is_sized:
        _limit(rollout, base, built)
    before = len(rollout.of(base))
    case, answer = _ask(rollout, base, built)
    function.is_sized = answer.kind != ""
    count = len(rollout.of(base)) - len(answer.drop) + len(answer.add)
    missing = _replace_stuck(rollout, base, answer)
    _shrink(rollout, base, answer.drop, f"{count} are enough: {case.why}")
    full = not (
        _move_lost(rollout, base, built, case, answer)
        and _grow(rollout, base, built, Growth(missing, count, case, answer))
        and (_improve if answer.is_optional else _grow)(rollout, base, built, Growth(answer.add, count, case, answer))
    )
    _tell(rollout, before, len(rollout.of(base)), case, answer)
    if not full:
        function.blocked = ""
    _note_hunger(rollout, base, case, answer)
    _retire(rollout, base, count, full)
    _settle(rollout)
    if len(rollout.plan.commands) == decided and _is_at_rest(rollout, base):
        function.scale.still = case.question


def _check_revived(rollout: Rollout) -> None:
    """What works after all, after its room was given to others, has to find another."""
    for member in [m for m in rollout.members if m.placed.revived and m.health is Health.READY]:
        member.placed.revived = False
        placement = member.placed.placement
        rooms = [room for room in rollout.plan.rooms() if room.device == placement.device]
        if any(room.is_crowded(placement) for room in rooms):
            rollout.remove(member, f"it works now, but {placement.device} is full")


def _note_failure(rollout: Rollout) -> None:
    """A generation of which a replica failed for good before any was ready does not work, until one is."""
    function = rollout.function
    for generation in function.proven:
        function.failed.pop(generation, None)
    for member in rollout.members:
        if member.health is not Health.FAILED or member.generation in function.failed:
            continue
        function.failed[member.generation] = True
        reason = rollout.plan.state.reported[member.placed.key].status.reason
        rollout.plan.report("generation_failed", function.name, f"generation {member.generation}: {reason}")


def _clear_records(rollout: Rollout) -> None:
    """Failed replicas of earlier generations have said what they had to say."""
    for member in list(rollout.members):
        if member.health is Health.FAILED and member.generation != rollout.spec.generation:
            rollout.remove(member, f"generation {rollout.spec.generation} replaces a failed one")


def _base(rollout: Rollout) -> int | None:
    """The generation to keep at the wanted number: the newest, or the last that works; None: none does."""
    function, spec = rollout.function, rollout.spec
    if spec.generation not in function.failed:
        return spec.generation
    others = [generation for generation in rollout.live_generations() if generation not in function.failed]
    proven = [generation for generation in others if generation in function.proven]
    return next(iter(proven or others), None)


def _built(rollout: Rollout, base: int) -> FunctionSpec:
    """What a replica of the base generation is built from, under today's scale and labels."""
    spec = rollout.spec
    if base == spec.generation:
        return spec
    earlier = rollout.of(base)[0].placed.placement.function
    return replace(earlier, replicas=spec.replicas, autoscale=spec.autoscale, labels=spec.labels)


def _ask(rollout: Rollout, base: int, built: FunctionSpec) -> tuple[Case, Answer]:
    """The policy's answer, with what it changes in place changed; where there is no time for that it is asked again."""
    plan, function = rollout.plan, rollout.function
    asking = Asking(plan.state, function, rollout.spec, built, plan.now_us, plan.settings)
    is_last_good = base != rollout.spec.generation
    for key, until_us in list(function.scale.cramped.items()):
        if key not in function.placed or until_us <= plan.now_us:
            del function.scale.cramped[key]
    before = function.scale.count
    while True:
        members = rollout.of(base)
        case = asking.case([(member.placed, member.health) for member in members], is_last_good)
        answer = case.answer(function.scale)
        if all(_change(rollout, asking, member, answer, case) for member in members):
            break
    after = function.scale.count
    if before is not None and after is not None and after != before:
        plan.report("scaled", function.name, f"from {before} to {after} replicas: {case.why}")
    return case, answer


def _change(rollout: Rollout, asking: Asking, member: Member, answer: Answer, case: Case) -> bool:
    """Have a member hold what it should; False where there is no time for that, which is remembered for a while."""
    placed = member.placed
    held, wanted = placed.placement.function.slice, answer.hold.get(placed.key)
    if wanted is None or wanted == held or case.policy.is_fixed:
        return True
    reason = f"its quota goes from {held.quota_request:g} to {wanted.quota_request:g}: {case.why}"
    if rollout.plan.resize(placed, replace(asking.built, slice=wanted), reason):
        return True
    if asking.most_quota(placed) < wanted.quota_request:
        return False  # one of its siblings took the time: it is asked again, and knows
    rollout.function.scale.cramped[placed.key] = rollout.plan.now_us + rollout.plan.settings.cramped_us
    return False


def _tell_beyond(rollout: Rollout, answer: Answer) -> None:
    """Tell once that there may not be as many replicas as demand needs, until it has let up for a while."""
    plan, scale = rollout.plan, rollout.function.scale
    if answer.beyond:
        if scale.beyond_us is None:
            plan.report("max_reached", rollout.function.name, answer.beyond)
        scale.beyond_us = plan.now_us
    elif scale.beyond_us is not None and plan.now_us - scale.beyond_us > plan.settings.scale_down_us:
        scale.beyond_us = None


def _tell(rollout: Rollout, before: int, after: int, case: Case, answer: Answer) -> None:
    """Tell what demand made of the number of replicas, and once that the objective cannot be met."""
    plan, function = rollout.plan, rollout.function
    scale, limits = function.scale, rollout.spec.autoscale
    _tell_beyond(rollout, answer)
    if case.policy.is_fixed:
        return
    if answer.is_move:
        scale.moved_us = plan.now_us
    if limits is not None:  # one more while it takes over from another is no other number
        before, after = min(before, limits.max), min(after, limits.max)
    if before != after:
        plan.report("scaled", function.name, f"from {before} to {after} replicas: {case.why}")
    if answer.infeasible and answer.infeasible != function.scale.told:
        plan.report("objective_infeasible", function.name, answer.infeasible)
    elif function.scale.told and not answer.infeasible:
        plan.report(
            "objective_feasible",
            function.name,
            f"p{rollout.spec.slo_percentile:g} within {rollout.spec.slo_ms:g} ms is to be had",
        )
    function.scale.told = answer.infeasible


def _resize(rollout: Rollout, base: int, built: FunctionSpec) -> None:
    """Quotas change in place; where a replica's chunks have no time left, another is placed before it leaves."""
    for member in rollout.of(base):
        held = member.placed.placement.function.slice
        if held == built.slice or not member.placed.confirmed:
            continue
        reason = (
            f"its quota goes from {held.quota_request:g} to {built.slice.quota_request:g},"
            f" its limit from {held.quota_limit:g} to {built.slice.quota_limit:g}"
        )
        member.outgrown = not rollout.plan.resize(member.placed, built, reason)


def _limit(rollout: Rollout, base: int, built: FunctionSpec) -> None:
    """The definition's limit is kept while no table says yet what replicas should hold; what they hold they keep."""
    for member in rollout.of(base):
        held = member.placed.placement.function.slice
        limit = max(built.slice.quota_limit, held.quota_request)
        if held.quota_limit == limit or not member.placed.confirmed:
            continue
        wanted = replace(built, slice=replace(held, quota_limit=limit))
        rollout.plan.resize(member.placed, wanted, f"its limit goes from {held.quota_limit:g} to {limit:g}")


def _replace_stuck(rollout: Rollout, base: int, answer: Answer) -> list[Slice]:
    """Take away what does not come up; returns the slices to place anew for it, rather elsewhere."""
    plan, function = rollout.plan, rollout.function
    missing = []
    for member in list(rollout.members):
        if member.health is not Health.STUCK:
            continue
        placement = member.placed.placement
        reported = plan.state.reported.get(member.placed.key)
        reason = reported.status.reason if reported else "its node has never reported it"
        rollout.remove(member, f"it does not come up: {reason}")
        if member.generation == base:
            function.retries += 1
            function.avoid_until_us[placement.device] = plan.now_us + plan.settings.patience_us
            if not member.outgrown and member.placed.key not in answer.drop:
                missing.append(_slice_for(member, answer))
    return missing


def _slice_for(member: Member, answer: Answer) -> Slice:
    """What a replica that takes the place of a member holds."""
    return answer.hold.get(member.placed.key, member.placed.placement.function.slice)


def _move_lost(rollout: Rollout, base: int, built: FunctionSpec, case: Case, answer: Answer) -> bool:
    """Place elsewhere what went with its node or device, if there is room; else it waits for their return."""
    for member in rollout.of(base):
        if member.health is not Health.LOST:
            continue
        placement = member.placed.placement
        wanted = replace(built, slice=_slice_for(member, answer))
        device = capacity.device_of(rollout.plan.state, placement)
        kind = device.kind if device is not None and answer.kind else answer.kind
        elsewhere = _elsewhere(rollout, base, wanted.slice, kind, case)
        reason = f"replaces {placement.replica}, lost with {placement.device}"
        if not rollout.place(wanted, reason, kind=kind, elsewhere=elsewhere):
            return False
        rollout.remove(member, f"lost with {placement.device}; placed elsewhere")
    return True


class Growth(NamedTuple):
    """Slices that come, towards `total` replicas in all, for a case; its `answer` has what may stand in for them."""

    slices: Sequence[Slice]
    total: int
    case: Case
    answer: Answer


def _grow(rollout: Rollout, base: int, built: FunctionSpec, growth: Growth) -> bool:
    """Place what is missing; False when there was no room for all, unless that was only to be better."""
    plan, function = rollout.plan, rollout.function
    for held in growth.slices:
        number = len(rollout.of(base)) + 1
        before, waiting = len(plan.commands), (function.blocked, function.told_us, function.told_wish)
        reason = f"replica {number} of {growth.total}: {growth.case.why}"
        answer, wanted = growth.answer, replace(built, slice=held)
        elsewhere = _elsewhere(rollout, base, held, answer.kind, growth.case, answer)
        if rollout.place(wanted, reason, answer.others.get(held, ()), answer.kind, elsewhere):
            continue
        if not growth.answer.is_move:
            rollout.place_less(built, reason, answer.less.get(held, ()), answer.kind)
            return False
        if all(isinstance(command, Report) for command in plan.commands[before:]):
            del plan.commands[before:]  # it can do without: nobody waits for room
            function.blocked, function.told_us, function.told_wish = waiting
    return True


def _improve(rollout: Rollout, base: int, built: FunctionSpec, growth: Growth) -> bool:
    """Bring up what is better, all of it and at nobody's cost; where that has no room it is tried later and later."""
    scale, answer = rollout.function.scale, growth.answer
    first = len(rollout.of(base)) + 1
    wishes = [
        ((held, *answer.others.get(held, ())), f"replica {number} of {growth.total}: {growth.case.why}")
        for number, held in enumerate(answer.add, first)
    ]
    scale.misfits = 0 if rollout.place_together(built, wishes, answer.kind) else scale.misfits + 1
    return True


def _elsewhere(
    rollout: Rollout, base: int, held: Slice, kind: str, case: Case, answer: Answer | None = None
) -> list[Offer]:
    """What may stand in for a slice on other kinds: nothing that counts for nothing, but for the least number."""
    if not kind:
        return []
    known = answer.elsewhere.get(held) if answer is not None else None
    able = [menu.kind for menu in case.question.menus if menu.kind != kind and menu.tiers]
    offers = list(known) if known is not None else [(other, held) for other in able]
    there = sum(member.health is not Health.LOST for member in rollout.of(base))
    return [*offers, ("", held)] if there < case.question.numbers.least else offers


def _note_hunger(rollout: Rollout, base: int, case: Case, answer: Answer) -> None:
    """Note the devices of which it needs more than it can have, so that others give up what they can do without.

    Room for bursts is no such need: two that took it from each other would go on doing so.
    """
    plan, function = rollout.plan, rollout.function
    limited = [m.placed.placement for m in rollout.of(base) if m.placed.key in answer.limited]
    if limited and not function.blocked:
        text = f"{limited[0].replica} can hold no more on {limited[0].device} ({case.why})"
        plan.wait(function, f"g{base}", limited[0].replica, text)
    devices = {placement.device: True for placement in limited}
    if function.blocked == f"g{base}" and not limited:
        devices[ANYWHERE] = True
    if devices and not _is_pressed(rollout, base, case):
        devices.clear()
    plan.state.starve(function.name, tuple(devices))


def _is_pressed(rollout: Rollout, base: int, case: Case) -> bool:
    """Whether its replicas, with those on their way, take less than what arrives and waits; or are too few."""
    members, menu = rollout.of(base), case.question.menu
    if menu is None or case.policy.is_fixed or len(members) < case.question.numbers.least:
        return True
    state, settings = rollout.plan.state, rollout.plan.settings
    held = [member.placed.placement for member in members]
    owns = [capacity.menu_of_device(state, placement, menu.spec, settings) for placement in held]
    options = [capacity.option_of(state, placement, own, menu) for placement, own in zip(held, owns, strict=True)]
    return pooled_rps(options) < case.pressing_rps - TIE


def _shrink(rollout: Rollout, base: int, dropped: Sequence[str], reason: str) -> None:
    """Remove what the policy lets go."""
    for member in [member for member in rollout.of(base) if member.placed.key in dropped]:
        rollout.remove(member, reason)


def _retire(rollout: Rollout, base: int, count: int, full: bool) -> None:
    """Let older generations go as far as newer ones are ready, and superseded attempts at once."""
    _drop_superseded(rollout, base)
    covered = rollout.ready(base)
    for member in [member for member in rollout.members if member.outgrown and covered >= count]:
        rollout.remove(member, f"{covered} replicas with its new quota are ready, {count} are wanted")
    for generation in [g for g in rollout.live_generations() if g != base]:
        if generation == rollout.spec.generation:
            continue
        if covered >= count:
            for member in rollout.of(generation):
                rollout.remove(member, f"{covered} newer replicas are ready, {count} are wanted")
        covered += rollout.ready(generation)
    if full and rollout.ready(base) and covered > count:
        _make_room(rollout, base)


def _drop_superseded(rollout: Rollout, base: int) -> None:
    """Of older generations never seen ready, keep at most what may be the last good one."""
    others = [g for g in rollout.live_generations() if g not in (base, rollout.spec.generation)]
    unproven = [generation for generation in others if generation not in rollout.function.proven]
    keeps_serving = len(unproven) < len(others) or base != rollout.spec.generation
    for generation in unproven if keeps_serving else unproven[:-1]:
        for member in rollout.of(generation):
            rollout.remove(member, f"never ready, and superseded by generation {rollout.spec.generation}")


def _make_room(rollout: Rollout, base: int) -> None:
    """An update that fits only step by step: one old replica goes for each new one that is ready."""
    for generation in reversed(rollout.live_generations()):
        if generation not in (base, rollout.spec.generation):
            rollout.remove(rollout.of(generation)[0], "makes room for the new generation")
            return


def _settle(rollout: Rollout) -> None:
    """Note whether only a new fact can change this function's plan."""
    function = rollout.function
    steady = all(member.health in (Health.READY, Health.FAILED) for member in rollout.members)
    function.settled = steady and rollout.spec.autoscale is None and not function.blocked
    if len(rollout.of(rollout.spec.generation)) == len(rollout.members):
        _forget_earlier(function.proven, rollout.spec)
        _forget_earlier(function.failed, rollout.spec)


def _is_at_rest(rollout: Rollout, base: int) -> bool:
    """Whether all replicas are ready and of the newest generation, and nothing waits for time to pass."""
    function = rollout.function
    is_plain = base == rollout.spec.generation and not function.blocked and not function.scale.cramped
    return is_plain and all(
        member.health is Health.READY and member.generation == base and not member.outgrown and member.placed.confirmed
        for member in rollout.members
    )


def _forget_earlier(generations: dict[int, bool], spec: FunctionSpec) -> None:
    for generation in [generation for generation in generations if generation != spec.generation]:
        del generations[generation]
