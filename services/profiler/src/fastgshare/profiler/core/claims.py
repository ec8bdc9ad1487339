"""The life of a claim: a slice is wished for until it is lent, the points are measured on it, and both are given back.

Whatever interrupts (a loan taken back, a worker lost, a claim lost) leaves the table in state measuring, and whoever
claims it next goes on from its points. What the model itself is to blame for is tried three times and then believed: at
the whole device and batch 1 it ends the table as failed, elsewhere it only bounds what is measured. What nobody asked
for and came to nothing leaves a complete table as it is.
"""

from typing import Protocol

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.aim import SPENT, Aim
from fastgshare.profiler.core.arrivals import Luck
from fastgshare.profiler.core.drift import FIRST_PEACE_US
from fastgshare.profiler.core.fleet import Fleet
from fastgshare.profiler.core.keys import TableKey, key_of
from fastgshare.profiler.core.measuring import Limits, request_for, timeout_ms
from fastgshare.profiler.core.memory import Memory
from fastgshare.profiler.core.plan import Setting
from fastgshare.profiler.core.points import is_too_slow, point_from
from fastgshare.profiler.core.work import Loan, Phase, Run, Setback, Work, whole_device
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import LoanState, LoanWish, Profile, ReplicaState, ReplicaStatus
from fastgshare.shared.units import US_PER_MS, US_PER_S, us_to_s

CLAIM_RETRY_US = 500 * US_PER_MS
WISH_INTERVAL_US = 500 * US_PER_MS
LOADING_US = 300 * US_PER_S
BACKOFF_US = 500 * US_PER_MS
BACKOFF_DOUBLINGS = 3
POSTPONED_US = 5 * US_PER_S
POSTPONED_DOUBLINGS = 4
KILLED = "it kills its worker: "
HUNG = "slower than any budget, or it hangs: "
NO_SCHEDULER = "no scheduler answers"
PASSING = (
    ErrorCode.UNAVAILABLE,
    ErrorCode.OVERLOADED,
    ErrorCode.NOT_FOUND,
    ErrorCode.CONFLICT,
    ErrorCode.DEADLINE_EXCEEDED,
)


class Purpose(Protocol):
    """Why tables are measured, as a claim needs to know it."""

    def aim(self, key: TableKey, stored: Profile | None, now_us: int) -> Aim | None:
        """What a table shall become; None when nothing is due."""

    def why_renewed(self, key: TableKey) -> str:
        """What is wrong with the table as it is, if a renewal is due to that."""

    def is_asked(self, key: TableKey, now_us: int) -> bool:
        """Whether a person waits for it."""

    def wants_grid(self, key: TableKey, now_us: int) -> bool:
        """Whether a person waits for every point of the axes."""

    def budget_left_us(self, key: TableKey, now_us: int) -> int | None:
        """How much more time may be spent on it; None: no bound."""

    def gives_way(self, work: Work, now_us: int) -> bool:
        """Whether something more urgent waits for a device of the kind."""


class Claims:
    """What to do about each work while its claim is this profiler's. Every method returns what follows."""

    def __init__(self, limits: Limits, luck: Luck, fleet: Fleet, purpose: Purpose) -> None:
        self._limits = limits
        self._luck = luck
        self._fleet = fleet
        self._purpose = purpose
        self._tickets = 0

    # The claim

    def claimed(self, work: Work, fact: facts.Claimed, now_us: int) -> list[do.Command]:
        """The key is ours: find out what is due, and wish for a slice if that takes measuring."""
        if work.phase is not Phase.CLAIMING:
            return [do.Release(work.key)]
        aim = self._purpose.aim(work.key, fact.table, now_us)
        if aim is None:
            work.stored = fact.table
            return self.release(work, now_us + CLAIM_RETRY_US)
        work.phase = Phase.BORROWING
        work.take_up(aim, fact.table)
        work.loan = Loan(fact.loan, aim.want.function, since_us=now_us, wished_us=now_us)
        if work.counted() and work.next_setting() is None:
            return self._finish(work, now_us)
        work.waits = work.waits or "for a slice"
        return [self._wish(work, now_us)]

    def ended(self, work: Work, now_us: int) -> None:
        """The claim was refused, lost or given back."""
        if work.phase is not Phase.RELEASING:
            if work.phase is Phase.CLAIMING:
                work.waits = "another profiler has it"
            work.not_before_us = max(work.not_before_us, now_us + CLAIM_RETRY_US)
        work.settle_idle()

    def release(self, work: Work, not_before_us: int = 0) -> list[do.Command]:
        """Give the claim back, and leave the table alone until then."""
        work.phase, work.run = Phase.RELEASING, None
        work.not_before_us = not_before_us
        return [do.Release(work.key)]

    def _postpone(self, work: Work, now_us: int) -> list[do.Command]:
        """No slice for now: later, and each time a little later, unless somebody asks."""
        work.resting_until_us = now_us + (POSTPONED_US << min(work.postponed, POSTPONED_DOUBLINGS))
        work.postponed += 1
        return self.release(work, now_us + CLAIM_RETRY_US)

    # The loan

    def ticked(self, work: Work, now_us: int) -> list[do.Command]:
        """Time passed: repeat the wish, or give it up."""
        loan = work.loan
        if not work.is_held or loan is None:
            return []
        if work.key not in self._fleet.wants(now_us) or loan.function not in self._fleet.functions:
            return self.release(work, now_us + CLAIM_RETRY_US)
        if work.phase is Phase.BORROWING:
            if loan.is_lent and now_us - loan.since_us >= LOADING_US:
                text = f"the lent replica was not ready within {us_to_s(LOADING_US):.0f} s"
                return self._set_back(work, Setback.UNAVAILABLE, text, now_us)
            if not loan.is_lent and not self._purpose.is_asked(work.key, now_us):
                is_patient = now_us - loan.since_us < self._limits.patience_us
                if not is_patient or self._purpose.gives_way(work, now_us):
                    return self._postpone(work, now_us)
        if now_us - loan.wished_us < WISH_INTERVAL_US:
            return []
        return [self._wish(work, now_us)]

    def _wish(self, work: Work, now_us: int) -> do.Wish:
        assert work.loan is not None
        assert work.aim is not None
        work.loan.wished_us = now_us
        wish = LoanWish(
            loan=work.loan.name,
            function=work.loan.function,
            device_kind=work.aim.want.device_kind,
            asked=self._purpose.is_asked(work.key, now_us),
        )
        return do.Wish(work.key, wish)

    def loan_answered(self, work: Work, fact: facts.LoanAnswered, now_us: int) -> list[do.Command]:
        """The scheduler lends, does not now, or never will."""
        loan, reply = work.loan, fact.reply
        if not work.is_held or loan is None or loan.name != reply.loan:
            return []
        if reply.state is LoanState.LENT:
            if not loan.is_lent:
                loan.is_lent, loan.since_us, work.waits = True, now_us, ""
            return []
        if loan.is_lent:
            work.waits = reply.reason
            return self._postpone(work, now_us)
        if reply.state is LoanState.REFUSED:
            return self._set_back(work, Setback.DENIED, f"there is no slice for it: {reply.reason}", now_us)
        work.waits = reply.reason or "for a slice"
        return []

    def loan_unanswered(self, work: Work, fact: facts.LoanUnanswered) -> list[do.Command]:
        """Nobody answered: what was lent stands for as long as its replica does."""
        if work.phase is Phase.BORROWING and work.loan is not None and not work.loan.is_lent:
            work.waits = NO_SCHEDULER
        return []

    def lent_changed(self, work: Work, status: ReplicaStatus, now_us: int) -> list[do.Command]:
        """The lent replica is as its node says now."""
        loan = work.loan
        if not work.is_held or loan is None:
            return []
        before, loan.replica = loan.replica, status
        if not loan.is_lent:
            loan.is_lent, loan.since_us, work.waits = True, now_us, ""
        if status.state is ReplicaState.DRAINING:
            work.waits = "its slice was taken back"
            return self._postpone(work, now_us)
        if work.phase is Phase.MEASURING:
            is_same = before is not None and before.incarnation == status.incarnation
            if is_same and status.state is ReplicaState.READY:
                return []
            because = f": {status.reason}" if status.reason else ""
            return self._set_back(work, Setback.LOST, f"replica {status.replica} was lost{because}", now_us)
        if status.state is ReplicaState.FAILED:
            setback = Setback.UNAVAILABLE if status.transient else Setback.REFUSED
            return self._set_back(work, setback, f"it does not load: {status.reason}", now_us)
        return self._start(work, status, now_us) if status.state is ReplicaState.READY else []

    def lent_gone(self, work: Work, now_us: int) -> list[do.Command]:
        """The lent replica is no more: the scheduler took it back, or its node is lost."""
        if not work.is_held:
            return []
        work.waits = "its slice was taken back"
        return self._postpone(work, now_us)

    # Measuring

    def _start(self, work: Work, replica: ReplicaStatus, now_us: int) -> list[do.Command]:
        if key_of(replica) != work.key:  # the function was given another model meanwhile
            return self.release(work, now_us + CLAIM_RETRY_US)
        work.phase, work.waits = Phase.MEASURING, ""
        work.memory = Memory()
        why = self._purpose.why_renewed(work.key) if work.aim is not None and work.aim.renews else ""
        self._fit_batches(work, replica)
        table = work.begin(now_us)
        commands: list[do.Command] = [do.StoreTable(work.key, table)] if table is not None else []
        if why:
            commands.append(self.tell(work, "profile_drift", f"{why}: it is measured anew"))
        if not work.announced:
            work.announced = True
            commands.append(self.tell(work, "profile_started", f"measuring on {replica.device}"))
        return [*commands, *self._go_on(work, None, now_us)]

    def _fit_batches(self, work: Work, replica: ReplicaStatus) -> None:
        assert work.aim is not None
        spec = self._fleet.functions.get(replica.function)
        if replica.max_batch < work.aim.plan.axes.batches[-1]:
            is_models = spec is not None and spec.generation == replica.generation
            inputs = "one input" if replica.max_batch == 1 else f"at most {replica.max_batch} inputs"
            work.limit_batches(replica.max_batch, f"the model takes {inputs} at a time" if is_models else "")

    def _go_on(self, work: Work, table: Profile | None, now_us: int) -> list[do.Command]:
        """After a point: store it, and measure the next, close the table, or give way."""
        if work.aim is not None and self._purpose.wants_grid(work.key, now_us):
            work.aim = work.aim.whole_grid()  # asked for since the claim
        at = work.next_setting()
        if at is None:
            return self._finish(work, now_us)
        left_us = self._purpose.budget_left_us(work.key, now_us)
        if left_us is not None and left_us <= 0 and work.counted():
            return self._finish(work, now_us, SPENT)
        stored: list[do.Command] = [do.StoreTable(work.key, table)] if table is not None else []
        if self._purpose.gives_way(work, now_us):
            return [*stored, *self._postpone(work, now_us)]
        return [*stored, self._measure(work, at, now_us)]

    def _measure(self, work: Work, at: Setting, now_us: int) -> do.Measure:
        assert work.loan is not None
        assert work.loan.replica is not None
        replica = work.loan.replica
        surface = work.table.surface if work.table is not None else ()
        self._tickets += 1
        request = request_for(work.key, at, replica, self._fleet.chunks_of(replica.device), self._limits, surface)
        work.run = Run(self._tickets, at, now_us, request.seed)
        return do.Measure(work.key, self._tickets, replica.replica, request, timeout_ms(request, surface, at))

    def measured(self, work: Work, fact: facts.Measured, now_us: int) -> list[do.Command]:
        """A worker answered."""
        run, reply = work.run, fact.reply
        if run is None or run.ticket != fact.ticket:
            return []
        work.spent_us += max(now_us - run.began_us, 0)
        if reply.error is not None:
            setback = Setback.UNAVAILABLE if reply.error.code in PASSING else Setback.REFUSED
            return self._set_back(work, setback, f"{reply.error.code.value}: {reply.error.message}", now_us)
        if not reply.execute_us:
            return self._set_back(work, Setback.REFUSED, "the worker answered without a run", now_us)
        work.run = None
        point = point_from(run.setting, reply, max(now_us - run.began_us, 0), self._limits.slowest_ms)
        table = work.record(self._luck.even_out(point, run.seed), now_us)
        work.memory.measured(point.batch, reply.memory_mib, reply.memory_grown_mib)
        leak = work.memory.leak()
        if leak:
            return self._fail(work, leak, now_us)
        assert work.aim is not None
        if is_too_slow(point) and run.setting == whole_device(work.aim.plan):
            return self._fail(work, f"slower than any budget: {point.note}", now_us)
        return self._go_on(work, table, now_us)

    def unanswered(self, work: Work, fact: facts.MeasureUnanswered, now_us: int) -> list[do.Command]:
        """No answer came."""
        if work.run is None or work.run.ticket != fact.ticket:
            return []
        work.spent_us += max(now_us - work.run.began_us, 0)
        return self._set_back(work, Setback.HUNG if fact.hung else Setback.UNAVAILABLE, fact.reason, now_us)

    # What goes wrong

    def _set_back(self, work: Work, setback: Setback, reason: str, now_us: int) -> list[do.Command]:
        work.setbacks[setback] += 1
        count = work.setbacks[setback]
        run = work.run
        if run is not None and setback is Setback.REFUSED:  # the slice is none the worse for it
            if count < setback.limit:
                return [self._measure(work, run.setting, now_us)]
            return self._believe(work, run.setting, reason, now_us)
        if count >= setback.limit:
            assert work.aim is not None
            if setback is Setback.LOST and run is not None and run.setting != whole_device(work.aim.plan):
                table = self._bound(work, run.setting, f"{describe(run.setting)} kills its worker: {reason}", now_us)
                return [do.StoreTable(work.key, table), *self.release(work, now_us + CLAIM_RETRY_US)]
            killed = KILLED if setback is Setback.LOST else HUNG if setback is Setback.HUNG else ""
            what = f"{describe(run.setting)} could not be measured in {count} attempts: " if run is not None else ""
            return self._fail(work, f"{killed}{what}{reason}", now_us)
        work.waits = reason
        return self.release(work, now_us + (BACKOFF_US << min(count - 1, BACKOFF_DOUBLINGS)))

    def _believe(self, work: Work, at: Setting, reason: str, now_us: int) -> list[do.Command]:
        """The model fails there, and would again."""
        assert work.aim is not None
        if at == whole_device(work.aim.plan):
            return self._fail(work, f"the model fails on its samples: {reason}", now_us)
        table = self._bound(work, at, f"{describe(at)} failed: {reason}", now_us)
        return self._go_on(work, table, now_us)

    def _bound(self, work: Work, at: Setting, note: str, now_us: int) -> Profile:
        """Nothing is measured there, nor where it is harder: the table with the note that says so."""
        assert work.aim is not None
        work.setbacks.clear()
        work.run = None
        if at.batch == 1 or any(point.batch == at.batch for point in work.counted()):
            work.hopeless.append(at)
            work.note(note)
        else:
            smaller = [batch for batch in work.aim.plan.axes.batches if batch < at.batch]
            work.limit_batches(smaller[-1], f"no batches of {at.batch} and more: {note}")
        return work.again(now_us)

    def _fail(self, work: Work, reason: str, now_us: int) -> list[do.Command]:
        if work.is_untouched and not self._purpose.is_asked(work.key, now_us):
            return self._leave(work, reason, now_us)
        return [do.StoreTable(work.key, work.fail(reason, now_us)), *self.release(work)]

    def _leave(self, work: Work, reason: str, now_us: int) -> list[do.Command]:
        """Nothing is wrong with the table that is there: it stays, and is left alone for as long as after drift."""
        peace_min = us_to_s(FIRST_PEACE_US) / 60
        text = f"{reason}; the table stays as it is, and is not measured again for {peace_min:.0f} min"
        told = self.tell(work, "profile_kept", text)
        work.forget_troubles()
        work.resting_until_us = now_us + FIRST_PEACE_US
        return [told, *self.release(work)]

    def _finish(self, work: Work, now_us: int, reason: str = "") -> list[do.Command]:
        return [do.StoreTable(work.key, work.finish(now_us, reason)), *self.release(work)]

    # What is told

    def tell(self, work: Work, kind: str, text: str) -> do.Tell:
        """An event about a work's table."""
        table = work.newest
        function = work.loan.function if work.loan is not None else FunctionName("")
        fields: dict[str, str | int | float] = {}
        if table is not None:
            fields = {"model": table.model_digest, "device_kind": table.device_kind, "points": len(table.points)}
        return do.Tell(kind, function, text, fields)


def describe(at: Setting) -> str:
    """A setting for people."""
    return f"batch {at.batch} on {at.sm_partition} % of the SMs for {at.quota:.0%} of the time"
