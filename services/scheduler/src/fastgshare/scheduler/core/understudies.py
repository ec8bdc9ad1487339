"""Replicas that go to another device: an understudy comes up there, and takes over once it is ready.

Nobody is without a replica for it: the old one leaves when the understudy is ready. If that fails, is stuck or lost, or
what it stands for is wanted no longer, it goes and the old one stays. If it is the old one that is lost, the
understudy counts in its place. Where the device of the old one was away, who is ready first stays. Rollouts do not see
understudies.
"""

from fastgshare.scheduler.core import repacking
from fastgshare.scheduler.core.exodus import ATTEMPTS, calm_rooms, plan_exodus
from fastgshare.scheduler.core.liveness import Health, away_us, health
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.records import NEVER, Consolidation, FunctionState, Placed
from fastgshare.shared.ids import FunctionName

MAX_DOUBLINGS = 6
"""Of the rest between two exoduses, after failures."""


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
    """Empty a device into others, when nothing has changed on it for a while and nobody waits for room."""
    state, progress = plan.state, plan.state.consolidation
    if state.understudies or state.leaving:
        return
    if progress.transfers:
        _carry_on(plan, progress)
        return
    if progress.is_under_way:
        progress.is_under_way, progress.setbacks = False, 0
    victims = calm_rooms(state, plan.books, plan.now_us, plan.settings) if _is_time(plan, progress) else []
    if not victims:
        return
    progress.transfers = plan_exodus(state, plan.books, victims, progress.attempts, plan.now_us)
    progress.attempts += 1
    progress.sought_us, progress.version = plan.now_us, plan.books.version
    if progress.transfers:
        progress.began_us, progress.attempts, progress.is_under_way = plan.now_us, 0, True
        _carry_on(plan, progress)


def _is_time(plan: Plan, progress: Consolidation) -> bool:
    """Whether the last exodus was long ago, longer after each failure, and there is reason to try again."""
    state, settings, now_us = plan.state, plan.settings, plan.now_us
    rest_us = settings.rest_us << min(progress.setbacks, MAX_DOUBLINGS)
    if progress.began_us is not None and now_us - progress.began_us < rest_us:
        return False
    if progress.attempts >= ATTEMPTS and not _has_reason(plan, progress):
        return False
    return not any(one.blocked and not one.blocked.startswith(NEVER) for one in state.functions.values())


def _has_reason(plan: Plan, progress: Consolidation) -> bool:
    """Whether devices have changed, or have become calm, since all attempts were in vain; looked at now and then."""
    settings = plan.settings
    if plan.now_us - progress.sought_us < settings.consolidate_us:
        return False
    calm_us = max(plan.state.changed_us.values(), default=0) + settings.consolidate_us
    if progress.version == plan.books.version and calm_us <= progress.sought_us:
        return False
    progress.attempts = 0
    return True


def _carry_on(plan: Plan, progress: Consolidation) -> None:
    """Start the next transfer, so that the first that fails is the only one; if it has no room by now, give up."""
    state = plan.state
    key, device = progress.transfers[0]
    old, room = state.placed.get(key), plan.room(device)
    found = None
    if old is not None and room is not None and repacking.can_move(state, old, at_once=True):
        found = repacking.on_device(state, room, old, plan.effort)
    if old is None or found is None:
        progress.transfers, progress.is_under_way = (), False
        return
    for moved, chunks in found.moves:
        plan.move(moved, chunks, f"makes room for {old.placement.replica} on {device}")
    progress.transfers = progress.transfers[1:]
    plan.place_understudy(old, found.slot, f"takes over from {old.placement.replica}, so that a device is free")


def _settle(plan: Plan, function: FunctionState, understudy: Placed) -> None:
    old = plan.state.placed.get(understudy.replaces)
    unwanted = _unwanted(function, understudy, old)
    if unwanted:
        plan.remove(understudy, unwanted)
        return
    if old is None:
        plan.state.take_over(understudy)  # whoever took the old one away: its function's rollout sees what is wanted
        return
    state = health(plan.state, understudy, plan.now_us, plan.settings)
    is_late = plan.now_us - understudy.since_us >= plan.settings.patience_us
    if state in (Health.FAILED, Health.STUCK, Health.LOST) or (state is Health.PENDING and is_late):
        function.avoid_until_us[understudy.placement.device] = plan.now_us + plan.settings.patience_us
        plan.state.consolidation.fail(plan.now_us)
        plan.remove(understudy, f"it does not come up ({state.value}), and {old.placement.replica} goes on")
    elif state is Health.READY:
        plan.state.take_over(understudy)
        plan.remove(old, f"{understudy.placement.replica} took over")
    elif understudy.stands_in and health(plan.state, old, plan.now_us, plan.settings) is Health.READY:
        plan.remove(understudy, f"{old.placement.device} is back, and {old.placement.replica} with it")
    elif health(plan.state, old, plan.now_us, plan.settings) in (Health.LOST, Health.STUCK, Health.FAILED):
        plan.state.take_over(understudy)
        plan.remove(old, f"it is lost, and {understudy.placement.replica} is coming up in its place")


def _unwanted(function: FunctionState, understudy: Placed, old: Placed | None) -> str:
    """Why an understudy has nothing left to wait for; empty if it has."""
    spec = function.spec
    if spec is None:
        return "the function was deleted"
    if spec.generation != understudy.placement.function.generation:
        return f"superseded by generation {spec.generation}"
    if old is not None and old.leaving:
        return "the replica it was to take over from leaves"
    if old is not None and old.placement.function != understudy.placement.function and not understudy.stands_in:
        return f"{old.placement.replica} has another slice now"
    return ""
