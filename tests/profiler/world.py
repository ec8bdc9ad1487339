"""Everything around the profiler's core, in plain synchronous code: a bucket, leases, a scheduler, workers and a clock.

`Shared` stands for what several profilers meet in; `World` carries one profiler's commands out at once, except for
measurements, which end when the test says so or, by default, after the time the fake worker says. What is stored and
what is lent, every profiler sees.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.keys import TableKey, key_of
from fastgshare.profiler.core.measuring import Limits
from fastgshare.profiler.core.plan import Setting
from fastgshare.profiler.core.points import setting_of
from fastgshare.profiler.core.profiler import Profiler
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import (
    DeviceStatus,
    FunctionSpec,
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    Profile,
    ProfilePoint,
    ProfileProgress,
    ReplicaState,
    ReplicaStatus,
)
from fastgshare.shared.units import US_PER_MS, US_PER_S
from tests.profiler.samples import device_status, function_spec, heartbeat, replica_status, setting_asked, times

TICK_US = 200 * US_PER_MS
Worker = Callable[[do.Measure], MeasureReply | None]
Scheduler = Callable[[LoanWish], LoanReply | None]


def steady(measure: do.Measure) -> MeasureReply | None:
    """A worker that always answers."""
    return times(measure)


def silent(measure: do.Measure) -> MeasureReply | None:
    """A worker whose answers the test gives."""
    return None


def lends(wish: LoanWish) -> LoanReply | None:
    """A scheduler that always has a slice."""
    return LoanReply(loan=wish.loan, state=LoanState.LENT)


def waits(wish: LoanWish) -> LoanReply | None:
    """A scheduler that never has one."""
    return LoanReply(loan=wish.loan, state=LoanState.WAITING, reason="echo has traffic")


@dataclass
class Shared:
    """The buckets: what is stored survives profilers, and a claim is one profiler's. `borrower` makes lent replicas."""

    tables: dict[TableKey, Profile] = field(default_factory=dict)
    history: list[Profile] = field(default_factory=list)
    claims: dict[TableKey, "World"] = field(default_factory=dict)
    loans: dict[str, ReplicaStatus] = field(default_factory=dict)
    worlds: list["World"] = field(default_factory=list)
    functions: dict[str, FunctionSpec] = field(default_factory=dict)
    lent: int = 0

    def tell(self, fact: facts.Fact, besides: "World | None" = None) -> None:
        for world in list(self.worlds):
            if world is not besides:
                world.tell(fact)


class World:
    """One profiler with everything around it. `worker` answers measurements; None leaves them unanswered."""

    def __init__(
        self,
        shared: Shared | None = None,
        worker: Worker = steady,
        limits: Limits | None = None,
        scheduler: Scheduler = lends,
    ) -> None:
        self.now_us = 1_000 * US_PER_S
        self.shared = shared or Shared()
        self.shared.worlds.append(self)
        self.worker = worker
        self.scheduler = scheduler
        self.devices: tuple[DeviceStatus, ...] = (device_status(),)
        self.lent_state = ReplicaState.READY
        self.lent_max_batch: int | None = None
        self.core = Profiler(limits or Limits())
        self.measured: list[do.Measure] = []
        self.wishes: list[LoanWish] = []
        self.answers: list[ProfileProgress] = []
        self.reports: list[ProfileProgress] = []
        self.told: list[do.Tell] = []
        self.pending: list[do.Measure] = []
        self._facts: deque[facts.Fact] = deque()
        self._claims = 0
        for key, table in self.shared.tables.items():
            self.tell(facts.TableSeen(key, table))
        for spec in self.shared.functions.values():
            self.tell(facts.FunctionChanged(spec.name, spec))

    # What the tests do

    def deploy(self, spec: FunctionSpec | None = None) -> None:
        spec = spec or function_spec()
        self.shared.functions[spec.name] = spec
        self.shared.tell(facts.FunctionChanged(spec.name, spec))

    def report(self, status: ReplicaStatus) -> None:
        if status.loan:
            self.shared.loans[status.loan] = status
        self.shared.tell(facts.ReplicaChanged(status.replica, status))

    def lose(self, replica: str) -> None:
        self.shared.loans = {loan: lent for loan, lent in self.shared.loans.items() if lent.replica != replica}
        self.shared.tell(facts.ReplicaChanged(ReplicaId(replica), None))

    def ask(
        self, function: str = "echo", again: bool = False, grid: bool = False, budget_s: float = 0
    ) -> ProfileProgress:
        budget_us = round(budget_s * US_PER_S)
        self.tell(facts.ProfileAsked(FunctionName(function), "inbox", again, grid, budget_us))
        return self.answers[-1]

    def run(self, seconds: float = 10.0) -> None:
        """Let time pass, with heartbeats and ticks."""
        for _ in range(round(seconds * US_PER_S / TICK_US)):
            self.now_us += TICK_US
            self.beat()
            self.tell(facts.Ticked())

    def beat(self) -> None:
        self.tell(facts.NodeHeard(heartbeat(self.now_us, self.devices)))

    def kill(self) -> None:
        """This profiler is no more: its leases and loans run out."""
        self.shared.worlds.remove(self)
        for key in [key for key, owner in self.shared.claims.items() if owner is self]:
            del self.shared.claims[key]
        for loan in [wish.loan for wish in self.wishes]:
            self._give_back(loan)

    def table(self, status: ReplicaStatus | None = None) -> Profile:
        return self.shared.tables[key_of(status or replica_status())]

    def points(self) -> dict[Setting, ProfilePoint]:
        return {setting_of(point): point for point in self.table().points}

    def settings(self) -> list[Setting]:
        return [setting_asked(measure.request) for measure in self.measured]

    def lent(self) -> ReplicaStatus:
        """The one slice that is lent now."""
        (status,) = self.shared.loans.values()
        return status

    def answer(self, reply: MeasureReply) -> None:
        """The worker answers the oldest measurement under way."""
        measure = self.pending.pop(0)
        self.tell(facts.Measured(measure.key, measure.ticket, reply))

    def answer_well(self) -> Setting:
        """The worker answers the oldest measurement under way as it should."""
        at = setting_asked(self.pending[0].request)
        self.answer(times(at))
        return at

    def lose_claim(self) -> None:
        """The lease ran out, for whatever reason."""
        (key,) = [key for key, owner in self.shared.claims.items() if owner is self]
        self.pending.clear()
        self._end_claim(key)

    # What surrounds the core

    def tell(self, fact: facts.Fact) -> None:
        """Facts that follow from commands come after all commands, as they do on the bus."""
        self._facts.append(fact)
        if len(self._facts) > 1:
            return
        while self._facts:
            for command in self.core.step(self.now_us, self._facts[0]):
                self._carry_out(command)
            self._facts.popleft()

    def _carry_out(self, command: do.Command) -> None:
        match command:
            case do.Claim(key):
                self._claim(key)
            case do.Wish(key, wish):
                self._wish(key, wish)
            case do.Release(key):
                self.pending = [measure for measure in self.pending if measure.key != key]
                if self.shared.claims.get(key) is self:  # else its end is being told this moment
                    self._end_claim(key)
            case do.StoreTable(key, table):
                self._store(key, table)
            case do.Measure():
                self._measure(command)
            case do.Answer(_, progress):
                self.answers.append(progress)
            case do.Report(progress):
                self.reports.append(progress)
            case do.Tell():
                self.told.append(command)

    def _claim(self, key: TableKey) -> None:
        if key in self.shared.claims:
            self.tell(facts.ClaimEnded(key))
            return
        self.shared.claims[key] = self
        self._claims += 1
        loan = f"{id(self)}.{self._claims}.{key}"
        self.tell(facts.Claimed(key, self.shared.tables.get(key), loan))

    def _end_claim(self, key: TableKey) -> None:
        del self.shared.claims[key]
        self.tell(facts.ClaimEnded(key))
        for loan in [loan for loan in self.shared.loans if loan.startswith(f"{id(self)}.") and loan.endswith(key)]:
            self._give_back(loan)

    def _give_back(self, loan: str) -> None:
        lent = self.shared.loans.pop(loan, None)
        if lent is not None:
            self.shared.tell(facts.ReplicaChanged(lent.replica, None))

    def _store(self, key: TableKey, table: Profile) -> None:
        assert self.shared.claims[key] is self, "a table is stored by who holds the claim"
        assert table.table_version > (self.shared.tables[key].table_version if key in self.shared.tables else 0)
        self.shared.tables[key] = table
        self.shared.history.append(table)
        self.tell(facts.TableStored(key, table))
        self.shared.tell(facts.TableSeen(key, table), besides=self)

    def _wish(self, key: TableKey, wish: LoanWish) -> None:
        self.wishes.append(wish)
        reply = self.scheduler(wish)
        if reply is None:
            self.tell(facts.LoanUnanswered(key, wish.loan, "no_responders"))
            return
        self.tell(facts.LoanAnswered(key, reply))
        if reply.state is LoanState.LENT and wish.loan not in self.shared.loans:
            self._lend(wish)

    def _lend(self, wish: LoanWish) -> None:
        self.shared.lent += 1
        spec = self.shared.functions[wish.function]
        status = replica_status(
            f"{wish.function}-loan-1-{self.shared.lent}",
            wish.function,
            spec.model.digest,
            max_batch=self.lent_max_batch or spec.max_batch,
            device_kind=wish.device_kind,
            loan=wish.loan,
            state=self.lent_state,
            generation=spec.generation,
        )
        self.report(status)

    def change_lent(self, **changes: object) -> None:
        """The slice that is lent is another now."""
        self.report(replace(self.lent(), **changes))

    def _measure(self, measure: do.Measure) -> None:
        self.measured.append(measure)
        reply = self.worker(measure)
        if reply is None:
            self.pending.append(measure)
            return
        self.now_us += sum(reply.execute_us)
        self.tell(facts.Measured(measure.key, measure.ticket, reply))
