"""Requests for tables: each stands until the tables of its function are there, or cannot be had.

A request is satisfied by a table, whoever measured it: one that ended after the request came, or one that was
complete before unless everything was to be measured again. While it stands it is reported on after each
change and every two seconds, so silence means that the profiler that took it is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastgshare.profiler.core.commands import Report
from fastgshare.profiler.core.fleet import Fleet
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.plan import Plan
from fastgshare.profiler.core.work import Work, is_terminal
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, ProfilePoint, ProfileProgress, ProfileState
from fastgshare.shared.units import US_PER_S, ms_to_us, us_to_s

REPORT_INTERVAL_US = 2 * US_PER_S
WAITING = "waiting for a ready replica"


@dataclass(slots=True)
class Ask:
    """One function somebody asked for. `versions`: its tables, and how far each was when it was asked for."""

    function: FunctionName
    model: Digest
    again: bool
    waits_since_us: int
    versions: dict[TableKey, int] = field(default_factory=dict)
    reported: ProfileProgress | None = None
    reported_us: int = 0


class Asks:
    """The standing requests, one a function; asking twice joins the first."""

    def __init__(self, fleet: Fleet, work_of: Callable[[TableKey], Work], ready_wait_us: int, budget_ms: int) -> None:
        self._fleet = fleet
        self._work_of = work_of
        self._ready_wait_us = ready_wait_us
        self._budget_ms = budget_ms
        self._standing: dict[FunctionName, Ask] = {}

    def take(self, function: FunctionName, again: bool, now_us: int) -> ProfileProgress:
        """Begin or join a request; how far it is."""
        spec = self._fleet.functions.get(function)
        if spec is None:
            return _failed(function, f"there is no function '{function}'")
        ask = self._standing.get(function)
        if ask is None or (again and not ask.again):
            ask = Ask(function, spec.model.digest, again, waits_since_us=now_us)
            self._standing[function] = ask
        progress = self._advance(ask, spec, now_us)
        ask.reported, ask.reported_us = progress, now_us
        return progress

    def wants(self, key: TableKey, now_us: int) -> bool:
        """Whether a request waits for this table: then busy functions and failed tables are measured too."""
        return any(key in ask.versions and not self._is_satisfied(ask, key, now_us) for ask in self._standing.values())

    def wants_renewal(self, key: TableKey, now_us: int) -> bool:
        """Whether a request waits for this table that wants every point measured again, and none is yet."""
        return any(
            key in ask.versions and self._renews(ask, key) and not self._is_satisfied(ask, key, now_us)
            for ask in self._standing.values()
        )

    def settle(self, now_us: int) -> list[Report]:
        """Bind, report on and end what stands."""
        return [
            report for ask in list(self._standing.values()) if (report := self._settle_one(ask, now_us)) is not None
        ]

    def _settle_one(self, ask: Ask, now_us: int) -> Report | None:
        spec = self._fleet.functions.get(ask.function)
        if spec is None:
            del self._standing[ask.function]
            return Report(_failed(ask.function, "the function was deleted"))
        progress = self._advance(ask, spec, now_us)
        if progress == ask.reported and now_us - ask.reported_us < REPORT_INTERVAL_US:
            return None
        ask.reported, ask.reported_us = progress, now_us
        return Report(progress)

    def _advance(self, ask: Ask, spec: FunctionSpec, now_us: int) -> ProfileProgress:
        """How far a request is; ends it when it has come to its end."""
        self._bind(ask, spec, now_us)
        progress = self._progress(ask, spec, now_us)
        if progress.state is not ProfileState.MEASURING:
            del self._standing[ask.function]
        return progress

    def _bind(self, ask: Ask, spec: FunctionSpec, now_us: int) -> None:
        if ask.model != spec.model.digest:
            ask.model, ask.versions = spec.model.digest, {}
        if not ask.versions:
            for key in self._fleet.ready_keys(spec, now_us):
                stored = self._work_of(key).stored
                ask.versions[key] = stored.table_version if stored is not None else 0
        if any(self._fleet.ready(key, now_us) for key in ask.versions):
            ask.waits_since_us = now_us

    def _progress(self, ask: Ask, spec: FunctionSpec, now_us: int) -> ProfileProgress:
        waited_us = now_us - ask.waits_since_us
        unsatisfied = [key for key in ask.versions if not self._is_satisfied(ask, key, now_us)]
        if ask.versions and not unsatisfied:
            return self._end(ask)
        if waited_us >= self._ready_wait_us:
            return _failed(ask.function, self._why_none_is_ready(ask.function))
        done = planned = left_ms = 0
        for key in ask.versions:
            counted, due, key_left_ms = self._distance(ask, key, spec, now_us)
            done += len(counted)
            planned += len(counted) + len(due)
            left_ms += key_left_ms
        if not ask.versions:
            plan = _plan_of(spec)
            planned, left_ms = len(plan.batches()), plan.left_ms((), self._budget_ms)
        return ProfileProgress(
            function=ask.function,
            done=done,
            planned=planned,
            state=ProfileState.MEASURING,
            reason=WAITING if waited_us > 0 or not ask.versions else "",
            left_ms=left_ms,
        )

    def _end(self, ask: Ask) -> ProfileProgress:
        tables = [table for key in ask.versions if (table := self._work_of(key).stored) is not None]
        failed = [table for table in tables if table.state is ProfileState.FAILED]
        done = sum(len(table.points) for table in tables)
        return ProfileProgress(
            function=ask.function,
            done=done,
            planned=done,
            state=ProfileState.FAILED if failed else ProfileState.COMPLETE,
            reason="; ".join(table.reason for table in failed),
        )

    def _distance(
        self, ask: Ask, key: TableKey, spec: FunctionSpec, now_us: int
    ) -> tuple[tuple[ProfilePoint, ...], tuple[int, ...], int]:
        """The points that count for a request, the sizes it still waits for, and about how long they take."""
        work = self._work_of(key)
        if work.stored is not None and self._is_satisfied(ask, key, now_us):
            return work.stored.points, (), 0
        counted = () if self._renews(ask, key) else work.counted()
        ready = self._fleet.ready(key, now_us)
        plan = self._fleet.plan(ready) if ready else _plan_of(spec)
        return counted, plan.due(counted), plan.left_ms(counted, self._budget_ms)

    def _renews(self, ask: Ask, key: TableKey) -> bool:
        work = self._work_of(key)
        return ask.again and work.renewed is None and is_terminal(work.newest)

    def _is_satisfied(self, ask: Ask, key: TableKey, now_us: int) -> bool:
        stored = self._work_of(key).stored
        if stored is None:
            ask.versions[key] = 0
            return False
        if not is_terminal(stored):
            return False
        if stored.table_version > ask.versions[key]:
            return True
        if ask.again or stored.state is ProfileState.FAILED:
            return False
        ready = self._fleet.ready(key, now_us)
        return not ready or not self._fleet.plan(ready).due(stored.points)

    def _why_none_is_ready(self, function: FunctionName) -> str:
        failure = self._fleet.failure_of(function)
        because = f": {failure}" if failure else ""
        waited_s = us_to_s(self._ready_wait_us)
        return f"no replica of '{function}' was ready within {waited_s:g} s{because}"


def _plan_of(spec: FunctionSpec) -> Plan:
    return Plan(spec.max_batch, ms_to_us(spec.slo_ms))


def _failed(function: FunctionName, reason: str) -> ProfileProgress:
    return ProfileProgress(function=function, done=0, planned=0, state=ProfileState.FAILED, reason=reason)
