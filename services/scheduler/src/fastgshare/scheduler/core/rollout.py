"""One function from where its replicas are to where they should be.

The generation that serves, the *base*, is the newest unless that failed for good; then it is the one before,
which stays, and the failed replicas stay placed as the record of why. A new generation is brought up beside the
old, and an older replica leaves only when ready newer ones cover the wanted number. A failed generation is not
tried again.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from fastgshare.scheduler.core import scaling
from fastgshare.scheduler.core.asking import Asking, Case
from fastgshare.scheduler.core.growing import Growth, grow, improve, move_lost, replace_stuck
from fastgshare.scheduler.core.liveness import Health, health
from fastgshare.scheduler.core.members import Member, Rollout
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.policies.port import Answer
from fastgshare.scheduler.core.retiring import retire, shrink
from fastgshare.scheduler.core.telling import note_hunger, tell
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec, Slice


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
        _resize(rollout, base, built, lambda _: built.slice)
    elif not function.is_sized:
        _resize(rollout, base, built, partial(_limited, built))
    before = len(rollout.of(base))
    case, answer = _ask(rollout, base, built)
    function.is_sized = answer.kind != ""
    count = len(rollout.of(base)) - len(answer.drop) + len(answer.add)
    missing = replace_stuck(rollout, base, answer)
    shrink(rollout, base, answer.drop, f"{count} are enough: {case.why}")
    full = not (
        move_lost(rollout, base, built, case, answer)
        and grow(rollout, base, built, Growth(missing, count, case, answer))
        and (improve if answer.is_optional else grow)(rollout, base, built, Growth(answer.add, count, case, answer))
    )
    tell(rollout, before, len(rollout.of(base)), case, answer)
    if not full:
        function.blocked = ""
    note_hunger(rollout, base, case, answer)
    retire(rollout, base, count, full)
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


def _resize(rollout: Rollout, base: int, built: FunctionSpec, wanted: Callable[[Slice], Slice]) -> None:
    """Slices change in place; where a replica's chunks have no time left, another is placed before it leaves."""
    for member in rollout.of(base):
        held = member.placed.placement.function.slice
        after = wanted(held)
        if held == after or not member.placed.confirmed:
            continue
        is_done = rollout.plan.resize(member.placed, replace(built, slice=after), _difference(held, after))
        is_more_than_limit = after != replace(held, quota_limit=after.quota_limit)  # which takes nothing of the device
        member.outgrown = is_more_than_limit and not is_done


def _limited(built: FunctionSpec, held: Slice) -> Slice:
    """The definition's limit is kept while no table says yet what replicas should hold; what they hold they keep."""
    return replace(held, quota_limit=max(built.slice.quota_limit, held.quota_request))


def _difference(before: Slice, after: Slice) -> str:
    """What changes, for people."""
    changes = [
        ("quota", before.quota_request, after.quota_request),
        ("limit", before.quota_limit, after.quota_limit),
        ("share of the SMs", before.sm_partition, after.sm_partition),
        ("memory", before.gpu_mem_mib, after.gpu_mem_mib),
    ]
    return ", ".join(f"its {what} goes from {old:g} to {new:g}" for what, old, new in changes if old != new)


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
