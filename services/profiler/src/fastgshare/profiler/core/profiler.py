"""The profiler's decisions: `step(now_us, fact) -> commands`.

A table is due when a deployed function has a ready replica and its plan names a size that was not measured:
by itself while the function is quiet and the table has not failed, on request always. One claim covers the
table and the device, so a device measures one thing at a time and two profilers never measure the same point.
Whatever interrupts (a replica lost, traffic, a lost claim) leaves the table in state measuring, and it is
continued from its points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.asks import Asks
from fastgshare.profiler.core.fleet import Fleet, Traffic
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.points import point_from
from fastgshare.profiler.core.work import Phase, Run, Setback, Work, is_terminal
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import DeviceId, FunctionName
from fastgshare.shared.messages import Profile, ProfileState, ReplicaState, ReplicaStatus
from fastgshare.shared.units import US_PER_MS

CLAIM_RETRY_US = 500 * US_PER_MS
BACKOFF_US = 500 * US_PER_MS
BACKOFF_DOUBLINGS = 3
PASSING = (
    ErrorCode.UNAVAILABLE,
    ErrorCode.OVERLOADED,
    ErrorCode.NOT_FOUND,
    ErrorCode.CONFLICT,
    ErrorCode.DEADLINE_EXCEEDED,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a point is measured, and how long a request waits for a ready replica."""

    budget_ms: int = 1_000
    ready_wait_us: int = 60_000 * US_PER_MS


@dataclass(frozen=True, slots=True)
class Goal:
    """What to do next for a table: measure `batch` on `replica`, or close it when nothing is left."""

    replica: ReplicaStatus
    batch: int | None


class Profiler:
    """Everything one profiler knows, and what it decides from it."""

    def __init__(self, limits: Limits, started_us: int) -> None:
        self._limits = limits
        self._fleet = Fleet()
        self._traffic = Traffic(started_us)
        self._works: dict[TableKey, Work] = {}
        self._asks = Asks(self._fleet, self._work, limits.ready_wait_us, limits.budget_ms)
        self._tickets = 0
        self._takes: dict[type, Callable[[int, Any], list[do.Command]]] = {
            facts.FunctionChanged: self._function_changed,
            facts.ReplicaChanged: self._replica_changed,
            facts.NodeHeard: self._node_heard,
            facts.LoadHeard: self._load_heard,
            facts.TableSeen: self._table_seen,
            facts.TableStored: self._table_stored,
            facts.ProfileAsked: self._asked,
            facts.Claimed: self._claimed,
            facts.ClaimEnded: self._claim_ended,
            facts.Measured: self._measured,
            facts.MeasureUnanswered: self._unanswered,
            facts.Ticked: self._ticked,
        }

    def step(self, now_us: int, fact: facts.Fact) -> list[do.Command]:
        """Take one fact in; what follows from it. `now_us` in Unix microseconds."""
        commands = self._takes[type(fact)](now_us, fact)
        if isinstance(fact, facts.NodeHeard | facts.LoadHeard):
            return commands  # frequent, and the next tick is soon enough
        return [*commands, *self._asks.settle(now_us), *self._claims(now_us)]

    # What the world tells

    def _function_changed(self, now_us: int, fact: facts.FunctionChanged) -> list[do.Command]:
        self._fleet.define(fact.function, fact.spec)
        return []

    def _replica_changed(self, now_us: int, fact: facts.ReplicaChanged) -> list[do.Command]:
        self._fleet.update(fact.replica, fact.status)
        lost = [
            work
            for work in self._works.values()
            if work.run is not None
            and work.run.replica.replica == fact.replica
            and not self._fleet.is_same_life(work.run.replica)
        ]
        return [command for work in lost for command in self._run_lost(work, now_us)]

    def _node_heard(self, now_us: int, fact: facts.NodeHeard) -> list[do.Command]:
        self._fleet.node_heard(fact.status, now_us)
        return []

    def _load_heard(self, now_us: int, fact: facts.LoadHeard) -> list[do.Command]:
        self._traffic.heard(fact.load, now_us)
        return []

    def _table_seen(self, now_us: int, fact: facts.TableSeen) -> list[do.Command]:
        work = self._work(fact.key)
        if fact.table is None or work.is_newer(fact.table):
            work.stored = fact.table
        return []

    def _table_stored(self, now_us: int, fact: facts.TableStored) -> list[do.Command]:
        work, table = self._work(fact.key), fact.table
        work.stored = table
        if table.state is ProfileState.FAILED:
            return [_tell(work, table, "profile_failed", table.reason)]
        if table.state is ProfileState.COMPLETE:
            best_rps = max((point.throughput_rps for point in table.points), default=0.0)
            text = f"{len(table.points)} batch sizes measured, at best {best_rps:.0f} inputs/s"
            return [_tell(work, table, "profile_complete", text)]
        return []

    def _asked(self, now_us: int, fact: facts.ProfileAsked) -> list[do.Command]:
        return [do.Answer(fact.reply_to, self._asks.take(fact.function, fact.again, now_us))]

    def _ticked(self, now_us: int, fact: facts.Ticked) -> list[do.Command]:
        return []

    # The life of a claim

    def _claims(self, now_us: int) -> list[do.Command]:
        """Claim what is due, requested tables first."""
        commands: list[do.Command] = []
        keys = sorted(self._fleet.keys(), key=lambda key: (not self._asks.wants(key, now_us), key))
        for work in map(self._work, keys):
            if work.phase is not Phase.IDLE or now_us < work.not_before_us:
                continue
            goal = self._goal(work, now_us)
            if goal is not None:
                work.phase, work.device = Phase.CLAIMING, goal.replica.device
                commands.append(do.Claim(work.key, goal.replica.device))
        return commands

    def _claimed(self, now_us: int, fact: facts.Claimed) -> list[do.Command]:
        work = self._work(fact.key)
        if work.phase is not Phase.CLAIMING:
            return [do.Release(fact.key)]
        work.stored = work.table = fact.table
        work.phase = Phase.HELD
        goal = self._goal(work, now_us)
        if goal is None:
            return self._release(work, now_us + CLAIM_RETRY_US)
        work.function = goal.replica.function
        if is_terminal(work.stored):
            work.renewed = {} if self._asks.wants_renewal(work.key, now_us) else None
        if goal.batch is None:
            return self._finish(work, goal.replica, now_us)
        return [
            *self._begin(work, goal.replica, goal.batch, now_us),
            self._measure(work, goal.replica, goal.batch, now_us),
        ]

    def _begin(self, work: Work, replica: ReplicaStatus, batch: int, now_us: int) -> list[do.Command]:
        """Store that measuring goes on, and tell of it once, however often it is interrupted."""
        table = work.begin(replica, now_us)
        commands: list[do.Command] = [do.StoreTable(work.key, table)] if table is not work.stored else []
        if not work.announced:
            work.announced = True
            text = f"measuring on {replica.replica} from batch {batch}"
            commands.append(_tell(work, table, "profile_started", text))
        return commands

    def _claim_ended(self, now_us: int, fact: facts.ClaimEnded) -> list[do.Command]:
        work = self._work(fact.key)
        given_back = work.phase is Phase.RELEASING
        work.settle_idle(now_us if given_back else now_us + CLAIM_RETRY_US)
        return []

    def _release(self, work: Work, not_before_us: int = 0) -> list[do.Command]:
        work.phase, work.run, work.doubtful = Phase.RELEASING, None, None
        work.not_before_us = not_before_us
        return [do.Release(work.key)]

    # The life of a measurement

    def _measure(self, work: Work, replica: ReplicaStatus, batch: int, began_us: int) -> do.Measure:
        self._tickets += 1
        work.run = Run(self._tickets, batch, replica, began_us)
        plan = self._fleet.plan([replica])
        request = plan.request(batch, self._limits.budget_ms)
        timeout_ms = plan.timeout_ms(work.newest.points if work.newest is not None else (), request)
        return do.Measure(work.key, self._tickets, replica.replica, request, timeout_ms)

    def _measured(self, now_us: int, fact: facts.Measured) -> list[do.Command]:
        work = self._work(fact.key)
        run = work.run
        if run is None or run.ticket != fact.ticket:
            return []
        error = fact.reply.error
        if error is not None:
            setback = Setback.UNAVAILABLE if error.code in PASSING else Setback.REFUSED
            return self._set_back(work, run, setback, f"{error.code.value}: {error.message}", now_us)
        if not fact.reply.execute_us:
            return self._set_back(work, run, Setback.REFUSED, "the worker answered without a run", now_us)
        point = work.best_of_two(point_from(run.batch, fact.reply))
        if point is None:
            return [self._measure(work, run.replica, run.batch, run.began_us)]
        work.run = None
        return self._go_on(work, work.record(run, point, now_us), now_us)

    def _go_on(self, work: Work, table: Profile, now_us: int) -> list[do.Command]:
        """After a point: store it, and measure the next, close the table, or give way."""
        goal = self._goal(work, now_us)
        if goal is None:
            return [do.StoreTable(work.key, table), *self._release(work)]
        if goal.batch is None:
            return self._finish(work, goal.replica, now_us)
        return [do.StoreTable(work.key, table), self._measure(work, goal.replica, goal.batch, now_us)]

    def _unanswered(self, now_us: int, fact: facts.MeasureUnanswered) -> list[do.Command]:
        work = self._work(fact.key)
        if work.run is None or work.run.ticket != fact.ticket:
            return []
        setback = Setback.LOST if fact.hung else Setback.UNAVAILABLE
        return self._set_back(work, work.run, setback, fact.reason, now_us)

    def _run_lost(self, work: Work, now_us: int) -> list[do.Command]:
        """The replica under measurement is no longer what it was; leaving as told is nobody's fault."""
        if work.run is None:
            return []
        replica = work.run.replica.replica
        if self._fleet.state_of(replica) is ReplicaState.DRAINING:
            return self._release(work)
        return self._set_back(work, work.run, Setback.LOST, f"replica {replica} was lost", now_us)

    def _set_back(self, work: Work, run: Run, setback: Setback, reason: str, now_us: int) -> list[do.Command]:
        work.setbacks[setback] += 1
        count = work.setbacks[setback]
        if count >= setback.limit:
            text = f"batch {run.batch} could not be measured in {count} attempts: {reason}"
            table = work.fail(run.replica, text, now_us)
            return [do.StoreTable(work.key, table), *self._release(work)]
        return self._release(work, now_us + (BACKOFF_US << min(count - 1, BACKOFF_DOUBLINGS)))

    def _finish(self, work: Work, replica: ReplicaStatus, now_us: int) -> list[do.Command]:
        return [do.StoreTable(work.key, work.finish(replica, now_us)), *self._release(work)]

    # What to do next

    def _goal(self, work: Work, now_us: int) -> Goal | None:
        """What `work` needs and some replica may do now; None when there is nothing, or nobody for it."""
        asked = self._asks.wants(work.key, now_us)
        newest = work.newest
        state = newest.state if newest is not None else None
        if state is ProfileState.FAILED and not asked:
            return None
        ready = self._fleet.ready(work.key, now_us)
        if not ready:
            return None
        renews = is_terminal(newest) and self._asks.wants_renewal(work.key, now_us)
        due = self._fleet.plan(ready).due(() if renews else work.counted())
        if not due and state is ProfileState.COMPLETE:
            return None
        fit = [status for status in ready if not due or status.max_batch >= due[0]]
        replica = self._choose(work, fit, asked, now_us)
        return None if replica is None else Goal(replica, due[0] if due else None)

    def _choose(self, work: Work, fit: list[ReplicaStatus], asked: bool, now_us: int) -> ReplicaStatus | None:
        """A replica that may be measured on: of the slice size begun with if there is one, and at leisure."""
        alike = [status for status in fit if len(status.chunks) == work.chunks] or fit
        in_use = self._devices_in_use(work)
        for status in alike:
            if status.device in in_use or (work.phase is Phase.HELD and status.device != work.device):
                continue
            if asked or self._traffic.is_quiet(status.function, now_us):
                return status
        return None

    def _devices_in_use(self, besides: Work) -> set[DeviceId]:
        return {work.device for work in self._works.values() if work is not besides and work.device is not None}

    def _work(self, key: TableKey) -> Work:
        return self._works.setdefault(key, Work(key))


def _tell(work: Work, table: Profile, kind: str, text: str) -> do.Tell:
    fields: dict[str, str | int | float] = {
        "model": table.model_digest,
        "device_kind": table.device_kind,
        "points": len(table.points),
    }
    return do.Tell(kind, work.function or FunctionName(""), text, fields)
