"""One table's way to completion, as one profiler sees it.

A table grows version by version and its points are never taken away while it does: a renewed point replaces the old
one at its setting, and what was not renewed goes when the table is complete. What is stored is all that anybody needs
to go on: which points count, which need a second try, which are to be renewed. While a table is renewed it keeps the
surface it had, for that tells more than a few new points.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from msgspec.structs import replace

from fastgshare.profiler.core.aim import Aim, is_renewing, with_batches
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.memory import Memory
from fastgshare.profiler.core.plan import MOST_POINT_US, RUNS_A_POINT, Plan, Setting, Survey
from fastgshare.profiler.core.points import (
    better,
    earlier,
    is_disturbed,
    is_earlier,
    is_final,
    is_too_slow,
    setting_of,
)
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState, ReplicaStatus
from fastgshare.shared.units import us_to_s

NOTES = "; "


class Phase(Enum):
    """Where a claim stands."""

    IDLE = "idle"
    CLAIMING = "claiming"
    BORROWING = "borrowing"
    MEASURING = "measuring"
    RELEASING = "releasing"


class Setback(Enum):
    """Why a point could not be measured, with the number in a row that is believed."""

    REFUSED = ("refused", 3)  # by model, handler or device
    DENIED = ("denied", 8)  # by the scheduler, which may not have heard of the function or the device yet
    LOST = ("lost", 3)  # the worker died of it, or of something else
    HUNG = ("hung", 3)  # the worker took longer than anything that may be measured
    UNAVAILABLE = ("unavailable", 10)  # not now: draining, busy, the bus was away

    @property
    def limit(self) -> int:
        """How many in a row are one too many."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement under way; its arrivals are drawn from `seed`."""

    ticket: int
    setting: Setting
    began_us: int
    seed: int


@dataclass(slots=True)
class Loan:
    """What is wished for since `since_us`, or, once it `is_lent`, borrowed since then; `replica` once that is seen."""

    name: str
    function: FunctionName
    since_us: int
    wished_us: int
    is_lent: bool = False
    replica: ReplicaStatus | None = None


@dataclass(slots=True)
class Work:
    """What is known of one table and what this profiler does about it.

    `stored` is the table as it stands in the bucket; `table`, while this profiler holds the claim, what it will be once
    its writes are through. `waits` tells people why it does not go on. `spent_us` is the time this profiler has spent
    measuring for it. `hopeless` (what is no easier is not tried) and `largest_batch` (0: no bound) hold from claim to
    claim, until the table is done.
    """

    key: TableKey
    stored: Profile | None = None
    table: Profile | None = None
    phase: Phase = Phase.IDLE
    aim: Aim | None = None
    loan: Loan | None = None
    run: Run | None = None
    memory: Memory = field(default_factory=Memory)
    hopeless: list[Setting] = field(default_factory=list)
    largest_batch: int = 0
    notes: list[str] = field(default_factory=list)
    waits: str = ""
    announced: bool = False
    not_before_us: int = 0
    resting_until_us: int = 0
    postponed: int = 0
    spent_us: int = 0
    setbacks: Counter[Setback] = field(default_factory=Counter)
    _has_written: bool = False
    _surveyed: tuple[ProfilePoint, ...] = ()
    _surveys: dict[Plan, Survey] = field(default_factory=dict)

    @property
    def newest(self) -> Profile | None:
        """The table with everything this profiler knows of."""
        return self.table if self.is_held else self.stored

    @property
    def is_held(self) -> bool:
        """Whether the claim is this profiler's."""
        return self.phase in (Phase.BORROWING, Phase.MEASURING)

    @property
    def is_untouched(self) -> bool:
        """Whether the complete table that the claim found is still what is stored, and to be stored."""
        return self.stored is not None and self.stored.state is ProfileState.COMPLETE and not self._has_written

    def is_newer(self, table: Profile) -> bool:
        """Whether `table` is no late, older version of what is known; a deleted table starts over at 1."""
        known = self.stored
        return known is None or table.table_version > known.table_version or table.measured_at_us > known.measured_at_us

    def counted(self) -> tuple[ProfilePoint, ...]:
        """The points that count: measured, and not to be renewed."""
        if self.newest is None or (self.aim is not None and self.aim.renews):
            return ()
        return tuple(point for point in self.newest.points if not is_earlier(point))

    def survey(self, plan: Plan, renews: bool = False) -> Survey:
        """What the points that count leave to do, and tell; worked out once for each set of points and plan.

        None counts where all are to be measured again (`renews`).
        """
        if renews:
            return plan.survey(())
        if self._surveyed != self.counted():
            self._surveyed, self._surveys = self.counted(), {}
        if plan not in self._surveys:
            axes = plan.axes
            points = [
                point
                for point in self._surveyed
                if point.sm_partition in axes.sm_partitions
                and point.quota in axes.quotas
                and point.batch in axes.batches
            ]
            self._surveys[plan] = plan.survey(points)
        return self._surveys[plan]

    def next_setting(self) -> Setting | None:
        """What to measure next; None: nothing is left.

        The whole device at batch 1 comes first: it tells whether the model works at all, and how slow it is at best.
        """
        assert self.aim is not None
        points = {setting_of(point): point for point in self.counted()}
        whole = whole_device(self.aim.plan)
        if whole not in points:
            return whole
        doubtful = [at for at, point in points.items() if not is_final(point) and self._may_try(at)]
        for at in doubtful:
            if not is_disturbed(points[at]):
                return at
        due = (at for at in self.survey(self.aim.plan).due if at not in points and self._may_try(at))
        return next(due, doubtful[0] if doubtful else None)

    def _may_try(self, at: Setting) -> bool:
        """Whether no larger slice was too slow, or failed, at this batch or a smaller one."""
        slow = (setting_of(point) for point in self.counted() if is_too_slow(point))
        assert self.aim is not None
        return at.batch <= self.aim.plan.axes.batches[-1] and not any(
            at.sm_partition <= than.sm_partition and at.quota <= than.quota and at.batch >= than.batch
            for than in (*slow, *self.hopeless)
        )

    def take_up(self, aim: Aim, table: Profile | None) -> None:
        """The claim is this profiler's: what the table is now, and what it shall become."""
        self.stored = self.table = table
        self.aim = aim
        self._has_written = False
        is_continued = table is not None and table.state is ProfileState.MEASURING and not aim.renews
        if not is_continued:
            self.hopeless.clear()
            self.largest_batch = 0
        if self.largest_batch and self.largest_batch < aim.plan.axes.batches[-1]:
            self._bound_plan(self.largest_batch)
        self.notes = table.reason.split(NOTES) if is_continued and table is not None and table.reason else []

    def begin(self, now_us: int) -> Profile | None:
        """Measuring starts: the table to store; None if it is in that state already.

        A complete table stays until there is a point of the new one.
        """
        assert self.aim is not None
        was_complete = self.is_untouched
        table = self._begun(now_us)
        self._has_written = not was_complete
        return None if was_complete else table

    def _begun(self, now_us: int) -> Profile | None:
        assert self.aim is not None
        if self.aim.renews:
            points = tuple(map(earlier, self.table.points)) if self.table is not None else ()
            self.aim = self.aim.begun()
            # Nothing of it will be from elsewhere.
            self.table = replace(self.table, wall_ms=0.0, source="") if self.table is not None else None
            return self._write(ProfileState.MEASURING, points, now_us)
        if self.table is not None and self.table.state is ProfileState.MEASURING:
            return None
        return self._write(ProfileState.MEASURING, self._points(), now_us)

    def limit_batches(self, largest: int, note: str = "") -> None:
        """No batches beyond `largest`; `note` says why the model takes none, where that is the reason."""
        assert self.aim is not None
        self._bound_plan(largest)
        if note:
            self.note(note)
            self.largest_batch = largest
        else:  # what there is beyond is still to be found out
            self.aim = dataclasses.replace(self.aim, want=dataclasses.replace(self.aim.want, max_batch=largest))

    def _bound_plan(self, largest: int) -> None:
        assert self.aim is not None
        plan = self.aim.plan
        plan = Plan(with_batches(plan.axes, largest), plan.objective_us, plan.is_grid)
        self.aim = dataclasses.replace(self.aim, plan=plan)

    def note(self, text: str) -> None:
        """Something that people should know about the table."""
        if text not in self.notes:
            self.notes.append(text)

    def again(self, now_us: int) -> Profile:
        """The table with what was noted of it since."""
        return self._write(ProfileState.MEASURING, self._points(), now_us)

    def record(self, point: ProfilePoint, now_us: int) -> Profile:
        """The table with a measured point; of two tries at one setting it has the better."""
        at, wall_ms = setting_of(point), self._table().wall_ms + point.wall_ms
        points = {setting_of(old): old for old in self._points()}
        first = points.get(at)
        if first is not None and not is_earlier(first):
            point = better(first, point)
        points[at] = point
        self.setbacks.clear()
        self.postponed = 0
        self.table = replace(self._table(), wall_ms=wall_ms)
        return self._write(ProfileState.MEASURING, points.values(), now_us)

    def finish(self, now_us: int, reason: str = "") -> Profile:
        """The complete table: only what counted."""
        assert self.aim is not None
        if self.aim.plan.is_grid and (left_out := self.survey(self.aim.plan).left_out):
            self.note(too_long(left_out))
        if reason:
            self.note(reason)
        return self._end(ProfileState.COMPLETE, self.counted(), now_us, NOTES.join(self.notes))

    def fail(self, reason: str, now_us: int) -> Profile:
        """The table given up, with the points it has."""
        return self._end(ProfileState.FAILED, self._points(), now_us, reason)

    def settle_idle(self) -> None:
        """The claim is gone."""
        self.phase = Phase.IDLE
        self.run = self.loan = self.table = self.aim = None

    def _end(self, state: ProfileState, points: Iterable[ProfilePoint], now_us: int, reason: str) -> Profile:
        table = self._write(state, points, now_us, reason)
        self.forget_troubles()
        return table

    def forget_troubles(self) -> None:
        """This attempt is over."""
        self.announced = False
        self.waits = ""
        self.notes.clear()
        self.hopeless.clear()
        self.largest_batch = 0
        self.setbacks.clear()

    def _points(self) -> tuple[ProfilePoint, ...]:
        return self.table.points if self.table is not None else ()

    def _table(self) -> Profile:
        assert self.aim is not None
        want = self.aim.want
        empty = Profile(
            model_digest=want.digest, device_kind=want.device_kind, state=ProfileState.MEASURING, table_version=0
        )
        return self.table or empty

    def _write(
        self, state: ProfileState, points: Iterable[ProfilePoint], now_us: int, reason: str | None = None
    ) -> Profile:
        assert self.aim is not None
        self._has_written = True
        old = self._table()
        self.table = replace(
            old,
            state=state,
            points=tuple(sorted(points, key=setting_of)),
            table_version=old.table_version + 1,
            reason=NOTES.join(self.notes) if reason is None else reason,
            measured_at_us=now_us,
            is_grid=self.aim.plan.is_grid,
        )
        if not (is_renewing(self.table) or self.aim.renews):
            survey = self.survey(self.aim.plan)
            self.table = replace(self.table, axes=survey.axes, surface=survey.surface)
        if state is not ProfileState.MEASURING:
            want = self.aim.want
            self.table = replace(self.table, max_batch=want.max_batch, objective_us=want.objective_us)
        return self.table


def too_long(points: int) -> str:
    """Why a grid lacks so many of its points."""
    which = "1 point of the grid was" if points == 1 else f"{points} points of the grid were"
    return f"{which} left out: {RUNS_A_POINT} batches would take longer than {us_to_s(MOST_POINT_US):g} s"


def whole_device(plan: Plan) -> Setting:
    """The largest slice at batch 1."""
    return Setting(plan.axes.sm_partitions[-1], plan.axes.quotas[-1], 1)
