"""Everything around the profiler's core, in plain synchronous code: a bucket, leases, workers and a clock.

`Shared` stands for what several profilers meet in; `World` carries one profiler's commands out at once, except for
measurements, which end when the test says so or, by default, after the time the fake worker says.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.keys import TableKey, key_of
from fastgshare.profiler.core.profiler import Limits, Profiler
from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId, ReplicaId
from fastgshare.shared.messages import (
    FunctionLoad,
    FunctionSpec,
    GatewayLoad,
    MeasureReply,
    Profile,
    ProfileProgress,
    ReplicaStatus,
)
from fastgshare.shared.units import US_PER_MS, US_PER_S
from tests.profiler.samples import function_spec, heartbeat, replica_status, times

TICK_US = 200 * US_PER_MS
Worker = Callable[[do.Measure], MeasureReply | None]


def steady(measure: do.Measure) -> MeasureReply | None:
    """A worker that always answers."""
    return times(measure.request.batch)


def silent(measure: do.Measure) -> MeasureReply | None:
    """A worker whose answers the test gives."""
    return None


@dataclass
class Shared:
    """The buckets: what is stored survives profilers, and a claim is one profiler's."""

    tables: dict[TableKey, Profile] = field(default_factory=dict)
    history: list[Profile] = field(default_factory=list)
    claims: dict[TableKey | DeviceId, "World"] = field(default_factory=dict)


class World:
    """One profiler with everything around it. `worker` answers measurements; None leaves them unanswered."""

    def __init__(self, shared: Shared | None = None, worker: Worker = steady, limits: Limits | None = None) -> None:
        self.now_us = 1_000 * US_PER_S
        self.shared = shared or Shared()
        self.worker = worker
        self.core = Profiler(limits or Limits(), self.now_us)
        self.measured: list[do.Measure] = []
        self.answers: list[ProfileProgress] = []
        self.reports: list[ProfileProgress] = []
        self.told: list[do.Tell] = []
        self.pending: list[do.Measure] = []
        self._facts: deque[facts.Fact] = deque()
        self._devices: dict[TableKey, DeviceId] = {}
        for key, table in self.shared.tables.items():
            self.tell(facts.TableSeen(key, table))

    # What the tests do

    def deploy(self, spec: FunctionSpec | None = None) -> None:
        spec = spec or function_spec()
        self.tell(facts.FunctionChanged(spec.name, spec))

    def report(self, status: ReplicaStatus | None = None) -> None:
        status = status or replica_status()
        self.tell(facts.ReplicaChanged(status.replica, status))

    def lose(self, replica: str) -> None:
        self.tell(facts.ReplicaChanged(ReplicaId(replica), None))

    def ask(self, function: str = "echo", again: bool = False) -> ProfileProgress:
        self.tell(facts.ProfileAsked(FunctionName(function), again, "inbox"))
        return self.answers[-1]

    def traffic(self, arrived: int, function: str = "echo", incarnation: str = "one") -> None:
        load = {FunctionName(function): FunctionLoad(arrived=arrived)}
        self.tell(
            facts.LoadHeard(GatewayLoad(gateway=GatewayId("g"), incarnation=incarnation, at_us=0, functions=load))
        )

    def run(self, seconds: float = 10.0) -> None:
        """Let time pass, with heartbeats and ticks."""
        for _ in range(round(seconds * US_PER_S / TICK_US)):
            self.now_us += TICK_US
            self.tell(facts.NodeHeard(heartbeat(self.now_us)))
            self.tell(facts.Ticked())

    def table(self, status: ReplicaStatus | None = None) -> Profile:
        return self.shared.tables[key_of(status or replica_status())]

    def batches(self) -> list[int]:
        return [measure.request.batch for measure in self.measured]

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

    def answer(self, reply: MeasureReply) -> None:
        """The worker answers the oldest measurement under way."""
        measure = self.pending.pop(0)
        self.tell(facts.Measured(measure.key, measure.ticket, reply))

    def _carry_out(self, command: do.Command) -> None:
        match command:
            case do.Claim(key, device):
                self._claim(key, device)
            case do.Release(key):
                self.pending = [measure for measure in self.pending if measure.key != key]
                self._end_claim(key)
            case do.StoreTable(key, table):
                assert self.shared.claims[key] is self, "a table is stored by who holds the claim"
                assert table.table_version > (self.shared.tables[key].table_version if key in self.shared.tables else 0)
                self.shared.tables[key] = table
                self.shared.history.append(table)
                self.tell(facts.TableStored(key, table))
            case do.Measure():
                self._measure(command)
            case do.Answer(_, progress):
                self.answers.append(progress)
            case do.Report(progress):
                self.reports.append(progress)
            case do.Tell():
                self.told.append(command)

    def _claim(self, key: TableKey, device: DeviceId) -> None:
        if key in self.shared.claims or device in self.shared.claims:
            self.tell(facts.ClaimEnded(key))
            return
        self.shared.claims[key] = self.shared.claims[device] = self
        self._devices[key] = device
        self.tell(facts.Claimed(key, self.shared.tables.get(key)))

    def _end_claim(self, key: TableKey) -> None:
        del self.shared.claims[key], self.shared.claims[self._devices.pop(key)]
        self.tell(facts.ClaimEnded(key))

    def lose_claim(self) -> None:
        """The leases ran out, for whatever reason."""
        key = next(measure.key for measure in self.pending)
        self.pending.clear()
        self._end_claim(key)

    def _measure(self, measure: do.Measure) -> None:
        self.measured.append(measure)
        reply = self.worker(measure)
        if reply is None:
            self.pending.append(measure)
            return
        self.now_us += sum(reply.execute_us)
        self.tell(facts.Measured(measure.key, measure.ticket, reply))
