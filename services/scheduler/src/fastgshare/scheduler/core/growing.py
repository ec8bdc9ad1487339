"""Replicas that come: in place of what does not come up or is lost, for more demand, and to be better. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fastgshare.scheduler.core import capacity
from fastgshare.scheduler.core.asking import Case
from fastgshare.scheduler.core.commands import Report
from fastgshare.scheduler.core.liveness import Health
from fastgshare.scheduler.core.members import Member, Rollout
from fastgshare.scheduler.core.plan import Offer
from fastgshare.scheduler.core.policies.port import Answer
from fastgshare.shared.messages import FunctionSpec, Slice


def replace_stuck(rollout: Rollout, base: int, answer: Answer) -> list[Slice]:
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


def move_lost(rollout: Rollout, base: int, built: FunctionSpec, case: Case, answer: Answer) -> bool:
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


def grow(rollout: Rollout, base: int, built: FunctionSpec, growth: Growth) -> bool:
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


def improve(rollout: Rollout, base: int, built: FunctionSpec, growth: Growth) -> bool:
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
