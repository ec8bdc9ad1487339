"""Replicas that go to another device: an understudy comes up there, and takes over once it is ready.

Nobody is without a replica for it: the old one leaves when the understudy is ready. If that fails, is stuck or lost, or
what it stands for is wanted no longer, it goes and the old one stays. If it is the old one that is lost, the
understudy counts in its place. Where the device of the old one was away, who is ready first stays. Rollouts do not see
understudies.
"""

from fastgshare.scheduler.core import repacking
from fastgshare.scheduler.core.exodus import ATTEMPTS, plan_exodus
from fastgshare.scheduler.core.liveness import Health, away_us, health
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.state import FunctionState, Placed
from fastgshare.shared.ids import FunctionName


def settle(plan: Plan, name: FunctionName) -> None:
    """Decide on the understudies of one function; before its rollout, so that this counts on what comes of it."""
    function = plan.state.functions.get(name)
    if function is None or not plan.state.understudies:
        return
    for placed in [placed for placed in function.placed.values() if placed.is_understudy and not placed.leaving]:
        _settle(plan, function, placed)


def stand_in(plan: Plan, name: FunctionName) -> None:
    """Bring up others for what is on a device that is away and may come back, as far as there is room at once."""
    function = plan.state.functions.get(name)
    if function is None or function.spec is None:
        return
    covered = {placed.replaces for placed in function.placed.values() if placed.is_understudy and not placed.leaving}
    for placed in list(function.placed.values()):
        gone_us = away_us(plan.state, placed.placement, plan.now_us)
        if gone_us is None or gone_us < plan.settings.stand_in_us or placed.key in covered:
            continue
        is_current = placed.placement.function.generation == function.spec.generation and not placed.is_understudy
        if not is_current or not placed.confirmed or placed.leaving:
            continue
        is_pending = health(plan.state, placed, plan.now_us, plan.settings) is Health.PENDING
        if is_pending and not plan.stand_in(function, placed):
            return


def stay_restless(plan: Plan, name: FunctionName) -> None:
    """A function with an understudy is reviewed at every tick."""
    function = plan.state.functions.get(name)
    if function is not None and any(placed.is_understudy for placed in function.placed.values()):
        function.settled = False


def consolidate(plan: Plan) -> None:
    """Empty a device into others, when nothing has changed for a while and nobody waits for room."""
    state = plan.state
    if state.understudies or state.leaving:
        return
    if state.exodus:
        _carry_on(plan)
        return
    if not _is_time(plan):
        return
    state.exodus = plan_exodus(state, plan.books, state.attempts)
    state.attempts += 1
    if state.exodus:
        state.consolidated_us, state.attempts = plan.now_us, 0
        _carry_on(plan)


def _is_time(plan: Plan) -> bool:
    """Whether all is calm, the last exodus was long ago, and there is an attempt left since the last change."""
    state, settings = plan.state, plan.settings
    if plan.now_us - state.changed_us < settings.consolidate_us:
        state.attempts = 0
        return False
    rested = state.consolidated_us is None or plan.now_us - state.consolidated_us >= settings.rest_us
    return rested and state.attempts < ATTEMPTS and not any(one.blocked for one in state.functions.values())


def _carry_on(plan: Plan) -> None:
    """Start as many of the transfers that are left as find room by now; if none does, things have changed: give up."""
    state = plan.state
    while state.exodus:
        key, device = state.exodus[0]
        old, room = state.placed.get(key), plan.room(device)
        if old is None or room is None or not repacking.can_move(state, old, at_once=True):
            state.exodus = ()
            return
        found = repacking.on_device(state, room, old, plan.effort)
        if found is None:
            state.exodus = state.exodus if state.understudies else ()
            return
        for moved, chunks in found.moves:
            plan.move(moved, chunks, f"makes room for {old.placement.replica} on {device}")
        state.exodus = state.exodus[1:]
        plan.place_understudy(old, found.slot, f"takes over from {old.placement.replica}, so that a device is free")


def _settle(plan: Plan, function: FunctionState, understudy: Placed) -> None:
    old = plan.state.placed.get(understudy.replaces)
    unwanted = _unwanted(plan, function, understudy, old)
    if unwanted or old is None:
        plan.remove(understudy, unwanted)
        return
    state = health(plan.state, understudy, plan.now_us, plan.settings)
    if state in (Health.FAILED, Health.STUCK, Health.LOST):
        function.avoid_until_us[understudy.placement.device] = plan.now_us + plan.settings.patience_us
        plan.remove(understudy, f"it does not come up ({state.value}), and {old.placement.replica} goes on")
    elif state is Health.READY:
        plan.state.take_over(understudy)
        plan.remove(old, f"{understudy.placement.replica} took over")
    elif understudy.stands_in and health(plan.state, old, plan.now_us, plan.settings) is Health.READY:
        plan.remove(understudy, f"{old.placement.device} is back, and {old.placement.replica} with it")
    elif health(plan.state, old, plan.now_us, plan.settings) in (Health.LOST, Health.STUCK, Health.FAILED):
        plan.state.take_over(understudy)
        plan.remove(old, f"it is lost, and {understudy.placement.replica} is coming up in its place")


def _unwanted(plan: Plan, function: FunctionState, understudy: Placed, old: Placed | None) -> str:
    """Why an understudy has nothing left to wait for; empty if it has."""
    spec = function.spec
    if spec is None:
        return "the function was deleted"
    if old is None or old.leaving:
        return "the replica it was to take over from is gone"
    if spec.generation != understudy.placement.function.generation:
        return f"superseded by generation {spec.generation}"
    if old.placement.function != understudy.placement.function and not understudy.stands_in:
        return f"{old.placement.replica} has another slice now"
    return ""
