"""Requests for tables: each stands until the tables of its function are there, or cannot be had.

A request is satisfied by a table, whoever measured it: one that ended after the request came, or one that was
complete before, unless that was cut short or everything was to be measured again. While it stands it is reported on
after each change and every two seconds, so silence means that the profiler that took it is gone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fastgshare.profiler.core.aim import Aim, aim_for, is_cut_short, is_due, is_terminal
from fastgshare.profiler.core.commands import Report
from fastgshare.profiler.core.fleet import Fleet
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.measuring import Limits, budgets_ms
from fastgshare.profiler.core.plan import Setting, Survey, largest_error
from fastgshare.profiler.core.points import setting_of
from fastgshare.profiler.core.work import Phase, Work
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, Profile, ProfileProgress, ProfileState
from fastgshare.shared.units import US_PER_S, us_to_s

REPORT_INTERVAL_US = 2 * US_PER_S
NO_DEVICE = "for a device to measure on"
NO_SLICE = "for a slice"


@dataclass(slots=True)
class Bound:
    """One table of a request: how far it was when it was asked for, how far it is, and what was spent on it before."""

    asked_version: int
    seen_version: int
    spent_us: int


@dataclass(slots=True)
class Ask:
    """One function somebody asked for."""

    function: FunctionName
    model: Digest
    waits_since_us: int
    again: bool = False
    grid: bool = False
    budget_us: int = 0
    tables: dict[TableKey, Bound] = field(default_factory=dict)
    reported: ProfileProgress | None = None
    reported_us: int = 0


@dataclass(slots=True)
class _Distance:
    """How far tables are, added up."""

    done: int = 0
    planned: int = 0
    left_ms: float = 0.0
    error: float = 0.0
    waits: str = ""
    is_measuring: bool = False


class Asks:
    """The standing requests, one a function; asking twice joins the first."""

    def __init__(self, fleet: Fleet, work_of: Callable[[TableKey], Work], limits: Limits) -> None:
        self._fleet = fleet
        self._work_of = work_of
        self._limits = limits
        self._standing: dict[FunctionName, Ask] = {}

    def take(
        self, function: FunctionName, now_us: int, again: bool = False, grid: bool = False, budget_us: int = 0
    ) -> ProfileProgress:
        """Begin or join a request; how far it is."""
        spec = self._fleet.functions.get(function)
        if spec is None:
            return _failed(function, f"there is no function '{function}'")
        ask = self._standing.get(function)
        if ask is None or (again and not ask.again) or (grid and not ask.grid):
            ask = Ask(function, spec.model.digest, now_us, again, grid, budget_us)
            self._standing[function] = ask
        elif not budget_us or (ask.budget_us and budget_us > ask.budget_us):
            ask.budget_us = budget_us
        progress = self._advance(ask, spec, now_us)
        ask.reported, ask.reported_us = progress, now_us
        return progress

    def wants(self, key: TableKey, now_us: int) -> bool:
        """Whether a request waits for this table: then it is measured beside traffic, and failed ones are too."""
        return any(not self._is_satisfied(ask, key, now_us) for ask in self._asking(key))

    def wants_renewal(self, key: TableKey, now_us: int) -> bool:
        """Whether a request waits for every point of this table to be measured again, and none is yet."""
        return any(self._renews(ask, key) and not self._is_satisfied(ask, key, now_us) for ask in self._asking(key))

    def wants_grid(self, key: TableKey, now_us: int) -> bool:
        """Whether a request waits for every point of the axes of this table."""
        return any(ask.grid and not self._is_satisfied(ask, key, now_us) for ask in self._asking(key))

    def budget_left_us(self, key: TableKey, now_us: int) -> int | None:
        """How much more time the requests give to this table; None: as much as it takes."""
        left_us = [
            ask.budget_us - (self._work_of(key).spent_us - ask.tables[key].spent_us) if ask.budget_us else None
            for ask in self._asking(key)
            if not self._is_satisfied(ask, key, now_us)
        ]
        bounds = [left for left in left_us if left is not None]
        return max(bounds) if bounds and len(bounds) == len(left_us) else None

    def settle(self, now_us: int) -> list[Report]:
        """Bind, report on and end what stands."""
        return [
            report for ask in list(self._standing.values()) if (report := self._settle_one(ask, now_us)) is not None
        ]

    def _asking(self, key: TableKey) -> list[Ask]:
        return [ask for ask in self._standing.values() if key in ask.tables]

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
            ask.model, ask.tables = spec.model.digest, {}
        if not ask.tables:
            for key in self._fleet.keys_of(spec, now_us):
                work = self._work_of(key)
                version = _version(work.stored)
                ask.tables[key] = Bound(version, version, work.spent_us)
        for key, bound in ask.tables.items():
            work = self._work_of(key)
            version = _version(work.stored)
            is_lent = work.loan is not None and work.loan.is_lent
            if version != bound.seen_version or (work.is_held and is_lent):
                bound.seen_version, ask.waits_since_us = version, now_us
            if version < bound.asked_version:
                bound.asked_version = version  # it was deleted

    def _progress(self, ask: Ask, spec: FunctionSpec, now_us: int) -> ProfileProgress:
        if ask.tables and all(self._is_satisfied(ask, key, now_us) for key in ask.tables):
            return self._end(ask)
        far = _Distance(waits="" if ask.tables else NO_DEVICE)
        for key in ask.tables:
            self._add(far, ask, key, now_us)
        if now_us - ask.waits_since_us >= self._limits.ready_wait_us:
            waited_s = us_to_s(self._limits.ready_wait_us)
            return _failed(ask.function, f"'{ask.function}' waited {waited_s:g} s {far.waits or NO_SLICE}")
        return ProfileProgress(
            function=ask.function,
            done=far.done,
            planned=far.planned,
            state=ProfileState.MEASURING,
            reason=f"waiting {far.waits}" if far.waits and not far.is_measuring else "",
            left_ms=round(far.left_ms),
            error=far.error,
        )

    def _add(self, far: _Distance, ask: Ask, key: TableKey, now_us: int) -> None:
        """One table's distance."""
        work = self._work_of(key)
        if self._is_satisfied(ask, key, now_us):
            done = len(work.stored.points) if work.stored is not None else 0
            far.done += done
            far.planned += done
            far.error = max(far.error, largest_error(work.stored.surface) if work.stored is not None else 0.0)
            return
        far.is_measuring = far.is_measuring or work.phase is Phase.MEASURING
        far.waits = far.waits or (_for(work.waits) if work.phase is not Phase.MEASURING else "")
        aim = self._aim(ask, key, now_us)
        if aim is None:
            far.waits = far.waits or NO_DEVICE
            return
        survey = work.survey(aim.plan, aim.renews)
        done = 0 if aim.renews else len(work.counted())
        far.done += done
        far.planned += max(survey.planned, done)
        far.left_ms += self._left_ms(work, survey, done)
        far.error = max(far.error, largest_error(survey.surface) if done else 0.0)

    def _aim(self, ask: Ask, key: TableKey, now_us: int) -> Aim | None:
        work = self._work_of(key)
        if work.is_held and work.aim is not None:
            return work.aim.whole_grid() if ask.grid else work.aim
        want = self._fleet.wants(now_us).get(key)
        return aim_for(want, work.stored, ask.grid, self._renews(ask, key)) if want is not None else None

    def _left_ms(self, work: Work, survey: Survey, done: int) -> float:
        """What is left takes as much of its budgets as what was measured did."""
        left = max(survey.planned - done, 0)
        timed = [point for point in work.counted() if point.wall_ms > 0] if done else []
        if not timed:
            return left * self._limits.point_ms
        expected = {Setting(point.sm_partition, point.quota, point.batch): point for point in survey.surface}

        def given_ms(settings: Iterable[Setting]) -> int:
            return sum(budgets_ms(at, expected.get(at), self._limits) for at in settings)

        took = sum(point.wall_ms for point in timed) / max(given_ms(map(setting_of, timed)), 1)
        due = survey.due[:left]
        untold_ms = (left - len(due)) * self._limits.point_ms
        return took * (given_ms(due) + untold_ms)

    def _end(self, ask: Ask) -> ProfileProgress:
        tables = [table for key in ask.tables if (table := self._work_of(key).stored) is not None]
        failed = [table for table in tables if table.state is ProfileState.FAILED]
        done = sum(len(table.points) for table in tables)
        error = max((largest_error(table.surface) for table in tables), default=0.0)
        return ProfileProgress(
            function=ask.function,
            done=done,
            planned=done,
            state=ProfileState.FAILED if failed else ProfileState.COMPLETE,
            reason="; ".join(table.reason for table in failed or tables if table.reason),
            error=error,
        )

    def _renews(self, ask: Ask, key: TableKey) -> bool:
        """Whether all of a table is to be measured again, and that has not begun."""
        work = self._work_of(key)
        stored = work.stored
        return (
            ask.again and not work.is_held and is_terminal(stored) and _version(stored) <= ask.tables[key].asked_version
        )

    def _is_satisfied(self, ask: Ask, key: TableKey, now_us: int) -> bool:
        stored = self._work_of(key).stored
        if stored is None or not is_terminal(stored):
            return False
        is_complete = stored.state is ProfileState.COMPLETE
        if ask.grid and is_complete and not stored.is_grid:
            return False
        if stored.table_version > ask.tables[key].asked_version:
            return True
        if ask.again or not is_complete or is_cut_short(stored):
            return False
        want = self._fleet.wants(now_us).get(key)
        return want is None or not is_due(want, stored)


def _version(table: Profile | None) -> int:
    return table.table_version if table is not None else 0


def _for(waits: str) -> str:
    return waits if not waits or waits.startswith("for ") else f"for a slice: {waits}"


def _failed(function: FunctionName, reason: str) -> ProfileProgress:
    return ProfileProgress(function=function, done=0, planned=0, state=ProfileState.FAILED, reason=reason)
