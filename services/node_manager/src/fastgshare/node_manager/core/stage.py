"""One device in virtual time: a TokenBook, and replicas whose batches end when their workloads say so.

Pure and deterministic: the same events give the same runs. Time is integer microseconds from 0; chance comes in as
callables of the batch's number. What happens at one instant happens in this order: batches end, events in the order in
which they were given, arrivals, then time-driven grants. `History` tells afterwards who ran when.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from fastgshare.node_manager.core.history import History, Run
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE


def never_misses(_number: int) -> int:
    """Every batch takes what it was expected to."""
    return PER_MILLE


@dataclass(frozen=True, slots=True)
class Workload:
    """What a replica runs.

    `estimate_us` tells from the mask what a batch should take, `misses_permille` from the batch's number what it takes
    of that. Work is there from the start on (`is_backlogged`, until `Rest`), or a batch arrives at each of
    `arrivals_us` (ascending, after joining).
    """

    estimate_us: Callable[[int], int]
    misses_permille: Callable[[int], int] = never_misses
    is_backlogged: bool = True
    arrivals_us: Iterable[int] = ()


def steady(batch_us: int, misses_permille: Callable[[int], int] = never_misses) -> Workload:
    """Always work, of batches that should take the same on any chunks."""
    return Workload(lambda _mask: batch_us, misses_permille)


@dataclass(frozen=True, slots=True)
class Join:
    """A replica comes."""

    replica: ReplicaId
    share: Share
    workload: Workload


@dataclass(frozen=True, slots=True)
class Resize:
    """A replica holds something else from now on."""

    replica: ReplicaId
    share: Share


@dataclass(frozen=True, slots=True)
class Leave:
    """A replica goes; the batch it runs goes with it."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class Work:
    """A replica has work from now on, without end or, where `batches` is given, that much more."""

    replica: ReplicaId
    batches: int | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """A replica's work is gone, but for the batch that runs."""

    replica: ReplicaId


Event = Join | Resize | Leave | Work | Rest


@dataclass(slots=True)
class _Actor:
    workload: Workload
    is_backlogged: bool
    arrivals: "_Arrivals"
    pending: int = 0  # batches of work beside the one that runs
    number: int = 0
    asked_us: int = 0
    run: Run | None = None

    @property
    def has_work(self) -> bool:
        return self.is_backlogged or self.pending > 0


class _Arrivals:
    """Arrival times, taken one at a time: they may be generated."""

    def __init__(self, times_us: Iterable[int]) -> None:
        self._times_us = iter(times_us)

    def next_us(self) -> int | None:
        return next(self._times_us, None)


@dataclass(frozen=True, slots=True)
class _End:
    run: Run


@dataclass(frozen=True, slots=True)
class _Arrival:
    replica: ReplicaId
    actor: _Actor


_Happening = Event | _End | _Arrival
_ENDS, _EVENTS, _ARRIVALS = range(3)


@dataclass(slots=True)
class Stage:
    """`at` schedules events, `run_until` plays them; `history` has what came of it, `book` who may run."""

    chunks: int
    window_us: int
    now_us: int = 0
    history: History = field(default_factory=History)
    book: TokenBook = field(init=False)
    _actors: dict[ReplicaId, _Actor] = field(default_factory=dict)
    _agenda: list[tuple[int, int, int, _Happening]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        """A book for the device."""
        self.book = TokenBook(self.chunks, self.window_us)

    def at(self, time_us: int, *events: Event) -> None:
        """Let events happen at `time_us`, which has not passed."""
        for event in events:
            self._schedule(time_us, _EVENTS, event)

    def run_until(self, end_us: int) -> History:
        """Play everything up to and including `end_us`; batches that run then are in the history up to there."""
        while True:
            wake_us = self.book.wake_at_us(self.now_us)
            next_us = self._agenda[0][0] if self._agenda else None
            time_us = min((time for time in (wake_us, next_us) if time is not None), default=None)
            if time_us is None or time_us > end_us:
                break
            self.now_us = time_us
            while self._agenda and self._agenda[0][0] == time_us:
                self._happen(heappop(self._agenda)[3])
            if wake_us is not None and wake_us <= time_us:
                self._start(self.book.poll(time_us))
        self.now_us = end_us
        return self.history

    def _schedule(self, time_us: int, rank: int, happening: _Happening) -> None:
        heappush(self._agenda, (time_us, rank, next(self._order), happening))

    def _happen(self, happening: _Happening) -> None:
        match happening:
            case _End(run):
                self._end(run)
            case _Arrival(replica, actor):
                self._arrive(replica, actor)
            case Join():
                self._join(happening)
            case Resize(replica, share):
                self.history.shares_changed(replica, self.now_us)
                self._start(self.book.set_share(replica, share, self.now_us))
            case Leave(replica):
                self._leave(replica)
            case Work(replica, batches):
                actor = self._actors[replica]
                actor.pending += batches or 0
                actor.is_backlogged |= batches is None
                self._ask(replica, actor)
            case Rest(replica):
                self._rest(replica)

    def _join(self, join: Join) -> None:
        workload = join.workload
        actor = _Actor(workload, workload.is_backlogged, _Arrivals(workload.arrivals_us))
        self._actors[join.replica] = actor
        self._start(self.book.set_share(join.replica, join.share, self.now_us))
        self._ask(join.replica, actor)
        self._expect_arrival(join.replica, actor)

    def _leave(self, replica: ReplicaId) -> None:
        actor = self._actors.pop(replica)
        if actor.run is not None:
            actor.run.end_us = self.now_us
            actor.run = None
        self.history.work_ended(replica, self.now_us)
        self._start(self.book.remove(replica, self.now_us))

    def _rest(self, replica: ReplicaId) -> None:
        actor = self._actors[replica]
        actor.is_backlogged, actor.pending = False, 0
        if actor.run is None:
            self.history.work_ended(replica, self.now_us)
            self._start(self.book.give_up(replica, self.now_us))

    def _expect_arrival(self, replica: ReplicaId, actor: _Actor) -> None:
        time_us = actor.arrivals.next_us()
        if time_us is not None:
            self._schedule(max(time_us, self.now_us), _ARRIVALS, _Arrival(replica, actor))

    def _arrive(self, replica: ReplicaId, actor: _Actor) -> None:
        if self._actors.get(replica) is actor:  # it may have left
            actor.pending += 1
            self._ask(replica, actor)
            self._expect_arrival(replica, actor)

    def _estimate_us(self, replica: ReplicaId, actor: _Actor) -> int:
        return actor.workload.estimate_us(self.book.share_of(replica).mask)

    def _ask(self, replica: ReplicaId, actor: _Actor) -> None:
        if not actor.has_work or actor.run is not None or self.book.is_waiting(replica):
            return
        actor.asked_us = self.now_us
        self.history.work_began(replica, self.now_us)
        self._start(self.book.ask(replica, self._estimate_us(replica, actor), self.now_us))

    def _start(self, granted: Iterable[ReplicaId]) -> None:
        tokens = self.book.running()
        for replica in granted:
            actor = self._actors[replica]
            if not actor.is_backlogged:
                actor.pending -= 1
            expected_us = actor.workload.estimate_us(tokens[replica])
            used_us = max(expected_us * actor.workload.misses_permille(actor.number) // PER_MILLE, 1)
            actor.number += 1
            by_debt = self.book.is_paid_by_debt(replica)
            end_us = self.now_us + used_us
            actor.run = Run(replica, tokens[replica], actor.asked_us, self.now_us, end_us, used_us, by_debt)
            self.history.runs.append(actor.run)
            self._schedule(end_us, _ENDS, _End(actor.run))

    def _end(self, run: Run) -> None:
        actor = self._actors.get(run.replica)
        if actor is None or actor.run is not run:  # it left while it ran
            return
        actor.run = None
        again_us = self._estimate_us(run.replica, actor) if actor.has_work else None
        if again_us is None:
            self.history.work_ended(run.replica, self.now_us)
        else:
            actor.asked_us = self.now_us
        self._start(self.book.end(run.replica, run.used_us, self.now_us, again_us))
