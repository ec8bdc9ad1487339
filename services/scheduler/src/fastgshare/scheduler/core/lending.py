"""Slices on loan to profilers: spare room, given where nobody is disturbed and taken back when somebody needs it.

A loan is a placement of its own kind. It counts as a replica of no function and towards no chunk's time, and no
decision about functions depends on it: where only its memory is missing for a replica, it leaves first. Beside traffic
it stands only if a person waits for it.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from fastgshare.scheduler.core import traffic
from fastgshare.scheduler.core.books import Room
from fastgshare.scheduler.core.commands import AnswerWish, PlaceReplica
from fastgshare.scheduler.core.events import (
    DemandRaised,
    Event,
    FunctionDefined,
    FunctionRemoved,
    LoadReported,
    SliceWished,
    Ticked,
)
from fastgshare.scheduler.core.liveness import is_lost, occupies
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.records import AWAITS_LOAN, AWAITS_ROOM, FunctionState, Loan, Placed
from fastgshare.scheduler.core.state import State
from fastgshare.scheduler.core.windows import calmest, width
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import FunctionSpec, LoanReply, LoanState, LoanWish, Placement, Slice
from fastgshare.shared.units import US_PER_S

TELLING = (Ticked, LoadReported, DemandRaised, FunctionDefined, FunctionRemoved, SliceWished)
"""The events after which a loan may have to end; what others change shows at the next tick."""
LEAST_QUOTA = 0.001
"""Asked for because a slice has to ask for something; nodes promise a loan nothing."""


def decide(plan: Plan, event: Event) -> None:
    """Take back what cannot stay on loan, then answer the wish if `event` is one."""
    if isinstance(event, TELLING):
        _review(plan)
    if isinstance(event, SliceWished):
        plan.commands.append(AnswerWish(event.reply_to, _answer(plan, event.wish), plan.epoch))


def _review(plan: Plan) -> None:
    state = plan.state
    standing = [loan for loan in state.loans.values() if not loan.placed.leaving]
    if standing:
        busy = _busy(plan)
        for loan in standing:
            reason = _end_of(plan, loan, busy)
            if reason:
                plan.take_back(loan, reason)
        _free_crowded(plan)
    forgotten_us = plan.now_us - plan.settings.unasked_us
    for wish, told in list(state.taken_back.items()):
        if told.at_us < forgotten_us and state.loan_for(wish) is None:
            del state.taken_back[wish]


def _end_of(plan: Plan, loan: Loan, busy: Iterable[FunctionState]) -> str:
    """Why a loan has to end now; empty if it may stay."""
    placement = loan.placed.placement
    lent = placement.function
    function = plan.state.functions.get(lent.name)
    if function is None or function.spec is None:
        return "the function was deleted"
    if function.spec.model != lent.model:
        return "the function has another model now"
    if loan.placed.overtaken:
        return "an earlier leader wrote it after its term"
    if is_lost(plan.state, placement, plan.now_us, plan.settings):
        return f"lost with {placement.device}"
    if plan.now_us - loan.wished_us > plan.settings.unasked_us:
        return f"nobody asked for it for {plan.settings.unasked_us / US_PER_S:g} s"
    if loan.asked or not occupies(plan.state, loan.placed):
        return ""  # one that failed stands to say why, and disturbs nobody
    return _disturbed(plan.state, lent.name, placement.device, busy)


def _free_crowded(plan: Plan) -> None:
    """Where functions came to need more than they had, a replica that works again for one, their loans leave."""
    for room in plan.rooms():
        if room.lent and room.open_mib() < 0:
            for key in list(room.lent):
                plan.take_back(plan.state.loans[key], "its memory is needed by others")


def _busy(plan: Plan) -> list[FunctionState]:
    """The functions that had requests a moment ago."""
    functions = plan.state.functions.values()
    return [function for function in functions if traffic.is_busy(function.traffic, plan.now_us, plan.settings)]


def _disturbed(state: State, name: FunctionName, device: DeviceId, busy: Iterable[FunctionState]) -> str:
    """Whose requests a measurement of `name` on `device` would be beside; empty if nobody's."""
    for function in busy:
        if function.name == name:
            return f"requests for '{name}' arrived"
        if _is_on(state, function, device):
            return f"requests for '{function.name}' arrived on {device}"
    return ""


def _is_on(state: State, function: FunctionState, device: DeviceId) -> bool:
    """Whether a function has a replica there, or one that still finishes what it has."""
    if any(p.placement.device == device and occupies(state, p) for p in function.placed.values()):
        return True
    leaving = state.departing.values()
    return any((p.device, p.function.name, p.loan) == (device, function.name, "") for p in leaving)


def _answer(plan: Plan, wish: LoanWish) -> LoanReply:
    state = plan.state
    loan = state.loan_for(wish.loan)
    if wish.over:
        if loan is not None and not loan.placed.leaving:
            plan.take_back(loan, "the profiler is done")
        state.taken_back.pop(wish.loan, None)
        return _reply(wish, LoanState.WAITING, "it is over")
    told = state.taken_back.get(wish.loan)
    if told is not None:
        if loan is None:
            del state.taken_back[wish.loan]
        return _reply(wish, LoanState.WAITING, told.reason)
    if loan is not None and loan.placed.leaving:
        return _reply(wish, LoanState.WAITING, "it was over, and what was lent is on its way back")
    if loan is not None:
        return _reply(wish, LoanState.LENT, replica=loan.placed.placement.replica)
    function = state.functions.get(FunctionName(wish.function))
    spec = function.spec if function is not None else None
    problem = _problem(state, wish, spec)
    if problem or spec is None:
        return _reply(wish, LoanState.REFUSED, problem)
    return _grant(plan, wish, spec)


def _problem(state: State, wish: LoanWish, spec: FunctionSpec | None) -> str:
    """Why a wish can never be met; empty if it may be."""
    if not wish.loan:
        return "loan is empty, expected a name for it"
    if spec is None:
        return f"function is '{wish.function}', which is not deployed"
    if not 1 <= wish.sm_partition <= 100:
        return f"sm_partition is {wish.sm_partition}, expected 1 to 100 percent"
    kinds = sorted(state.kinds)
    if wish.device_kind not in kinds:
        return f"device_kind is '{wish.device_kind}', and the devices are {', '.join(kinds) or 'none'}"
    return ""


def _grant(plan: Plan, wish: LoanWish, spec: FunctionSpec) -> LoanReply:
    """Lend on the best device of the kind, or say what keeps from it there."""
    functions = plan.state.functions.values()
    awaited = next((function.name for function in functions if function.blocked in (AWAITS_LOAN, AWAITS_ROOM)), None)
    if awaited is not None:
        return _reply(wish, LoanState.WAITING, f"'{awaited}' waits for room")
    rooms = sorted(_rooms_of(plan, wish.device_kind), key=lambda room: _rank(room, spec))
    busy = [] if wish.asked else _busy(plan)
    obstacles = [_obstacle(plan.state, room, spec, busy) for room in rooms]
    for room, obstacle in zip(rooms, obstacles, strict=True):
        if not obstacle:
            return _lend(plan, wish, spec, room)
    return _reply(wish, LoanState.WAITING, obstacles[0] if obstacles else f"no {wish.device_kind} serves")


def _rooms_of(plan: Plan, kind: str) -> list[Room]:
    return [room for room in plan.rooms() if room.kind == kind]


def _rank(room: Room, spec: FunctionSpec) -> tuple[bool, float, str]:
    """Lower is better: where the weights are already, then where there is most spare time."""
    return not room.has_model(spec.model.digest), round(sum(room.loads()) / room.chunks, 9), room.device


def _obstacle(state: State, room: Room, spec: FunctionSpec, busy: Iterable[FunctionState]) -> str:
    """What keeps from lending on a device; empty if nothing does."""
    if room.lent or room.returning:
        return f"{room.device} has another loan"
    need_mib = spec.slice.gpu_mem_mib
    if need_mib > room.open_mib():
        free_mib = max(0, int(room.open_mib()))
        return f"it needs {need_mib} MiB, and {room.device} has {free_mib} of {room.memory_mib} MiB"
    return _disturbed(state, spec.name, room.device, busy)


def _lend(plan: Plan, wish: LoanWish, spec: FunctionSpec, room: Room) -> LoanReply:
    held = Slice(
        sm_partition=wish.sm_partition,
        quota_request=LEAST_QUOTA,
        quota_limit=1.0,
        gpu_mem_mib=spec.slice.gpu_mem_mib,
    )
    placement = Placement(
        replica=_new_id(plan, spec),
        node=room.node,
        device=room.device,
        chunks=calmest(room.loads(), width(wish.sm_partition, room.chunks)),
        epoch=plan.epoch,
        function=replace(spec, slice=held),
        reason="on loan to the profiler",
        loan=wish.loan,
    )
    placed = Placed(placement, since_us=plan.now_us, confirmed=False)
    plan.state.add_loan(Loan(placed, wished_us=plan.now_us, asked=wish.asked))
    plan.commands.append(PlaceReplica(placement, placement.reason))
    return _reply(wish, LoanState.LENT, replica=placement.replica)


def _new_id(plan: Plan, spec: FunctionSpec) -> ReplicaId:
    """Unique for ever by term and count within it, in a count of its own; what exists is skipped."""
    state = plan.state
    taken = {loan.placed.placement.replica for loan in state.loans.values()}
    while True:
        state.loans_named += 1
        replica = ReplicaId(f"{spec.name}-loan-{plan.epoch}-{state.loans_named}")
        if replica not in taken and not state.is_reported(replica):
            return replica


def _reply(wish: LoanWish, state: LoanState, reason: str = "", replica: str = "") -> LoanReply:
    return LoanReply(loan=wish.loan, state=state, replica=replica, reason=reason)
