"""What others hear of a function's plan: people of its scale and its objective, functions of what it lacks. Pure."""

from fastgshare.scheduler.core import capacity
from fastgshare.scheduler.core.asking import Case
from fastgshare.scheduler.core.liveness import Health
from fastgshare.scheduler.core.members import Rollout
from fastgshare.scheduler.core.policies.pool import TIE, pooled_rps
from fastgshare.scheduler.core.policies.port import Answer
from fastgshare.scheduler.core.records import ANYWHERE


def _tell_beyond(rollout: Rollout, answer: Answer) -> None:
    """Tell once that there may not be as many replicas as demand needs, until it has let up for a while."""
    plan, scale = rollout.plan, rollout.function.scale
    if answer.beyond:
        if scale.beyond_us is None:
            plan.report("max_reached", rollout.function.name, answer.beyond)
        scale.beyond_us = plan.now_us
    elif scale.beyond_us is not None and plan.now_us - scale.beyond_us > plan.settings.scale_down_us:
        scale.beyond_us = None


def tell(rollout: Rollout, before: int, after: int, case: Case, answer: Answer) -> None:
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


def note_hunger(rollout: Rollout, base: int, case: Case, answer: Answer) -> None:
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
    members = [member for member in rollout.of(base) if member.health is not Health.LOST]
    menu = case.question.menu
    if menu is None or case.policy.is_fixed or len(members) < case.question.numbers.least:
        return True
    state, settings = rollout.plan.state, rollout.plan.settings
    held = [member.placed.placement for member in members]
    owns = [capacity.menu_of_device(state, placement, menu.spec, settings) for placement in held]
    options = [capacity.option_of(state, placement, own, menu) for placement, own in zip(held, owns, strict=True)]
    return pooled_rps(options) < case.pressing_rps - TIE
