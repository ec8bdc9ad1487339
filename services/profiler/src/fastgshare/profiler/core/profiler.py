"""The profiler's decisions: `step(now_us, fact) -> commands`.

A table is due for each model of a deployed function on each kind of device that is there, by itself while it has
not failed, and on request always; one that drifted from the truth is measured anew. A claim covers the table, so two
profilers never measure the same point; where and when there is room to measure is the scheduler's to say, who lends.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core import facts
from fastgshare.profiler.core.aim import Aim, aim_for, is_due, is_terminal
from fastgshare.profiler.core.arrivals import Luck
from fastgshare.profiler.core.asks import Asks
from fastgshare.profiler.core.claims import Claims
from fastgshare.profiler.core.drift import Drift
from fastgshare.profiler.core.fleet import Fleet
from fastgshare.profiler.core.keys import TableKey, key_for, key_of
from fastgshare.profiler.core.measuring import Limits
from fastgshare.profiler.core.plan import largest_error
from fastgshare.profiler.core.work import Phase, Work
from fastgshare.shared.messages import DeviceStatus, Profile, ProfileState


class Profiler:
    """Everything one profiler knows, and what it decides from it."""

    def __init__(self, limits: Limits, luck: Luck) -> None:
        self._fleet = Fleet()
        self._works: dict[TableKey, Work] = {}
        self._drift = Drift()
        self._asks = Asks(self._fleet, self._work, limits)
        self._purposes = Purposes(self._fleet, self._asks, self._drift, self._works)
        self._claims = Claims(limits, luck, self._fleet, self._purposes)
        self._takes: dict[type, Callable[[int, Any], list[do.Command]]] = {
            facts.FunctionChanged: self._function_changed,
            facts.ReplicaChanged: self._replica_changed,
            facts.NodeHeard: self._node_heard,
            facts.TableSeen: self._table_seen,
            facts.TableStored: self._table_stored,
            facts.ProfileAsked: self._asked,
            facts.Claimed: lambda now_us, fact: self._claims.claimed(self._work(fact.key), fact, now_us),
            facts.ClaimEnded: self._claim_ended,
            facts.LoanAnswered: lambda now_us, fact: self._claims.loan_answered(self._work(fact.key), fact, now_us),
            facts.LoanUnanswered: lambda now_us, fact: self._claims.loan_unanswered(self._work(fact.key), fact),
            facts.Measured: lambda now_us, fact: self._claims.measured(self._work(fact.key), fact, now_us),
            facts.MeasureUnanswered: lambda now_us, fact: self._claims.unanswered(self._work(fact.key), fact, now_us),
            facts.Ticked: self._ticked,
        }

    def step(self, now_us: int, fact: facts.Fact) -> list[do.Command]:
        """Take one fact in; what follows from it. `now_us` in Unix microseconds."""
        commands = self._takes[type(fact)](now_us, fact)
        if isinstance(fact, facts.NodeHeard):
            return commands  # frequent, and the next tick is soon enough
        return [*commands, *self._asks.settle(now_us), *self._claim(now_us)]

    # What the world tells

    def _function_changed(self, now_us: int, fact: facts.FunctionChanged) -> list[do.Command]:
        self._fleet.define(fact.function, fact.spec)
        return []

    def _replica_changed(self, now_us: int, fact: facts.ReplicaChanged) -> list[do.Command]:
        known = self._fleet.replicas.get(fact.replica)
        if known is not None and fact.status is None:
            self._drift.gone(key_of(known), fact.replica)
        self._fleet.update(fact.replica, fact.status)
        commands: list[do.Command] = []
        for work in self._works.values():
            loan = work.loan
            if loan is None:
                continue
            if fact.status is not None and fact.status.loan == loan.name:
                commands += self._claims.lent_changed(work, fact.status, now_us)
            elif loan.replica is not None and loan.replica.replica == fact.replica:
                commands += self._claims.lent_gone(work, now_us)
        return commands

    def _node_heard(self, now_us: int, fact: facts.NodeHeard) -> list[do.Command]:
        self._fleet.node_heard(fact.status, now_us)
        for device in fact.status.devices:
            self._note_drift(device, now_us)
        return []

    def _note_drift(self, device: DeviceStatus, now_us: int) -> None:
        for name, use in device.use.items():
            replica = self._fleet.replicas.get(name)
            if replica is not None and not replica.loan:
                self._drift.heard(key_for(replica.model_digest, device.kind), name, use.drift, now_us)

    def _table_seen(self, now_us: int, fact: facts.TableSeen) -> list[do.Command]:
        work = self._work(fact.key)
        if fact.table is None or work.is_newer(fact.table):
            work.stored = fact.table
            self._drift.table_changed(fact.key, fact.table, now_us)
        return []

    def _table_stored(self, now_us: int, fact: facts.TableStored) -> list[do.Command]:
        work, table = self._work(fact.key), fact.table
        work.stored = table
        verdict = self._drift.table_changed(fact.key, table, now_us)
        commands: list[do.Command] = []
        if table.state is ProfileState.FAILED:
            commands.append(self._claims.tell(work, "profile_failed", table.reason))
        if table.state is ProfileState.COMPLETE:
            commands.append(self._claims.tell(work, "profile_complete", _summary(table)))
        if verdict:
            commands.append(self._claims.tell(work, "profile_drift", verdict))
        return commands

    def _asked(self, now_us: int, fact: facts.ProfileAsked) -> list[do.Command]:
        progress = self._asks.take(fact.function, now_us, fact.again, fact.grid, fact.budget_us)
        return [do.Answer(fact.reply_to, progress)]

    def _claim_ended(self, now_us: int, fact: facts.ClaimEnded) -> list[do.Command]:
        self._claims.ended(self._work(fact.key), now_us)
        return []

    def _ticked(self, now_us: int, fact: facts.Ticked) -> list[do.Command]:
        return [command for work in self._works.values() for command in self._claims.ticked(work, now_us)]

    # What to do next

    def _claim(self, now_us: int) -> list[do.Command]:
        """Claim what is due, requested tables first; by themselves no more than there are devices to measure on."""
        wants = self._fleet.wants(now_us)
        busy = Counter(want.device_kind for want in wants.values() if self._work(want.key).phase is not Phase.IDLE)
        commands: list[do.Command] = []
        asked = {key for key in wants if self._asks.wants(key, now_us)}
        for want in sorted(wants.values(), key=lambda want: (want.key not in asked, want.key)):
            work = self._work(want.key)
            if work.phase is not Phase.IDLE or now_us < work.not_before_us:
                continue
            if want.key not in asked and (busy[want.device_kind] >= want.devices or now_us < work.resting_until_us):
                continue
            if self._purposes.aim(want.key, work.stored, now_us) is not None:
                work.phase = Phase.CLAIMING
                busy[want.device_kind] += 1
                commands.append(do.Claim(want.key))
        return commands

    def _work(self, key: TableKey) -> Work:
        return self._works.setdefault(key, Work(key))


class Purposes:
    """Why tables are measured: what functions want, what people ask for, and what drifted."""

    def __init__(self, fleet: Fleet, asks: Asks, drift: Drift, works: dict[TableKey, Work]) -> None:
        self._fleet = fleet
        self._asks = asks
        self._drift = drift
        self._works = works

    def aim(self, key: TableKey, stored: Profile | None, now_us: int) -> Aim | None:
        """What a table shall become; None when nothing is due."""
        want = self._fleet.wants(now_us).get(key)
        if want is None:
            return None
        renews = is_terminal(stored) and (bool(self.why_renewed(key)) or self._asks.wants_renewal(key, now_us))
        if not (renews or is_due(want, stored) or self._asks.wants(key, now_us)):
            return None
        is_drifted = renews and not self._asks.wants_renewal(key, now_us)
        stays_grid = is_drifted and stored is not None and stored.is_grid
        return aim_for(want, stored, self._asks.wants_grid(key, now_us) or stays_grid, renews)

    def why_renewed(self, key: TableKey) -> str:
        """What is wrong with the table as it is, if a renewal is due to that."""
        return self._drift.why(key)

    def is_asked(self, key: TableKey, now_us: int) -> bool:
        """Whether a person waits for it."""
        return self._asks.wants(key, now_us)

    def wants_grid(self, key: TableKey, now_us: int) -> bool:
        """Whether a person waits for every point of the axes."""
        return self._asks.wants_grid(key, now_us)

    def budget_left_us(self, key: TableKey, now_us: int) -> int | None:
        """How much more time may be spent on it; None: no bound."""
        return self._asks.budget_left_us(key, now_us)

    def gives_way(self, work: Work, now_us: int) -> bool:
        """Whether an asked for table waits for a device of the kind while nobody asks for this one."""
        wants = self._fleet.wants(now_us)
        if work.key not in wants or self.is_asked(work.key, now_us):
            return False
        kind = wants[work.key].device_kind
        return any(
            want.device_kind == kind and self.is_asked(want.key, now_us) and not self._has_slice(want.key)
            for want in wants.values()
        )

    def _has_slice(self, key: TableKey) -> bool:
        work = self._works.get(key)
        return work is not None and work.loan is not None and work.loan.is_lent


def _summary(table: Profile) -> str:
    best_rps = max((point.throughput_rps for point in table.points), default=0.0)
    error = largest_error(table.surface)
    reason = f"; {table.reason}" if table.reason else ""
    return f"{len(table.points)} points measured, at best {best_rps:.0f} inputs/s, known within {error:.0%}{reason}"
