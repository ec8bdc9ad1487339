"""One table's way to completion, as one profiler sees it.

A table grows version by version and its points are never taken away while it does: a renewed point replaces
the old one of its size, and what was not renewed goes when the table is complete. All its points are of one
slice size.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared.ids import DeviceId, FunctionName
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState, ReplicaStatus
from fastgshare.shared.units import us_to_ms

TERMINAL = (ProfileState.COMPLETE, ProfileState.FAILED)


class Phase(Enum):
    """Where a claim stands."""

    IDLE = "idle"
    CLAIMING = "claiming"
    HELD = "held"
    RELEASING = "releasing"


class Setback(Enum):
    """Why a point could not be measured, with the number in a row that ends the table as failed."""

    REFUSED = ("refused", 3)  # by model, handler or device: asked twice more, then believed
    LOST = ("lost", 3)  # the replica died of it, or of something else
    UNAVAILABLE = ("unavailable", 10)  # not now: draining, busy, the bus was away

    @property
    def limit(self) -> int:
        """How many in a row are one too many."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement under way."""

    ticket: int
    batch: int
    replica: ReplicaStatus
    began_us: int


@dataclass(slots=True)
class Work:
    """What is known of one table and what this profiler does about it.

    `stored` is the table as it stands in the bucket; `table`, while this profiler holds the claim, what it
    will be once its writes are through. `renewed` are the points measured since somebody asked for all of
    them again.
    """

    key: TableKey
    stored: Profile | None = None
    table: Profile | None = None
    phase: Phase = Phase.IDLE
    device: DeviceId | None = None
    function: FunctionName | None = None
    run: Run | None = None
    doubtful: ProfilePoint | None = None
    renewed: dict[int, ProfilePoint] | None = None
    chunks: int = 0
    announced: bool = False
    not_before_us: int = 0
    setbacks: Counter[Setback] = field(default_factory=Counter)

    @property
    def newest(self) -> Profile | None:
        """The table with everything this profiler knows of."""
        return self.table if self.phase is Phase.HELD else self.stored

    def counted(self) -> tuple[ProfilePoint, ...]:
        """The points that need no measuring."""
        if self.renewed is not None:
            return tuple(self.renewed.values())
        return self.newest.points if self.newest is not None else ()

    def is_newer(self, table: Profile) -> bool:
        """Whether `table` is no late, older version of what is known; a deleted table starts over at 1."""
        known = self.stored
        return known is None or table.table_version > known.table_version or table.measured_at_us > known.measured_at_us

    def best_of_two(self, point: ProfilePoint) -> ProfilePoint | None:
        """The point to keep; None asks for another try, once, because this one did not settle."""
        doubtful, self.doubtful = self.doubtful, None
        if doubtful is not None:
            return max(doubtful, point, key=lambda tried: (tried.settled, tried.throughput_rps))
        if not point.settled:
            self.doubtful = point
            return None
        return point

    def begin(self, replica: ReplicaStatus, now_us: int) -> Profile:
        """Measuring starts: the table in that state, with the points it has."""
        old = self.table
        if old is not None and old.state is ProfileState.MEASURING:
            return old
        wall_ms = old.wall_ms if old is not None and self.renewed is None else 0.0
        return self._write(replica, ProfileState.MEASURING, self._points(), now_us, wall_ms)

    def record(self, run: Run, point: ProfilePoint, now_us: int) -> Profile:
        """The table with a measured point; one of another slice size begins it anew."""
        same_slice = [old for old in self.counted() if old.sm_partition == point.sm_partition]
        if len(same_slice) < len(self.counted()):
            self.renewed = {}
        if self.renewed is not None:
            self.renewed[point.batch] = point
        points = {old.batch: old for old in self._points()} | {point.batch: point}
        kept = [old for old in points.values() if old.sm_partition == point.sm_partition]
        self.chunks = len(run.replica.chunks)
        self.setbacks.clear()
        wall_ms = self._wall_ms() + us_to_ms(max(now_us - run.began_us, 0))
        return self._write(run.replica, ProfileState.MEASURING, kept, now_us, wall_ms)

    def finish(self, replica: ReplicaStatus, now_us: int) -> Profile:
        """The complete table: only what counted."""
        table = self._write(replica, ProfileState.COMPLETE, self.counted(), now_us, self._wall_ms())
        self._ended()
        return table

    def fail(self, replica: ReplicaStatus, reason: str, now_us: int) -> Profile:
        """The table given up, with the points it has."""
        points = self._points()
        table = self._write(replica, ProfileState.FAILED, points, now_us, self._wall_ms(), reason)
        self._ended()
        return table

    def settle_idle(self, not_before_us: int) -> None:
        """The claim is gone."""
        self.phase = Phase.IDLE
        self.run = self.doubtful = None
        self.table = None
        self.device = None
        self.not_before_us = max(self.not_before_us, not_before_us)

    def _points(self) -> tuple[ProfilePoint, ...]:
        return self.table.points if self.table is not None else ()

    def _wall_ms(self) -> float:
        return self.table.wall_ms if self.table is not None else 0.0

    def _ended(self) -> None:
        self.renewed = None
        self.announced = False
        self.setbacks.clear()

    def _write(
        self,
        replica: ReplicaStatus,
        state: ProfileState,
        points: Iterable[ProfilePoint],
        now_us: int,
        wall_ms: float,
        reason: str = "",
    ) -> Profile:
        self.table = Profile(
            model_digest=replica.model_digest,
            device_kind=replica.device_kind,
            state=state,
            points=tuple(sorted(points, key=lambda point: point.batch)),
            table_version=self.table.table_version + 1 if self.table is not None else 1,
            reason=reason,
            measured_at_us=now_us,
            wall_ms=wall_ms,
        )
        return self.table


def is_terminal(table: Profile | None) -> bool:
    """Whether nothing more comes of a table by itself."""
    return table is not None and table.state in TERMINAL
