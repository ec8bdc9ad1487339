"""Which requests run together: earliest deadline first, as many as the oldest can afford.

A batch grows while its expected time still meets the oldest deadline and stays under a fifth of the window, so that
nothing holds the device for long, or a tenth where others share the chunks, which is what quotas within two points take
(docs/decisions/0004); it never waits for more. Only requests of equal trailing shapes run together.
"""

import heapq
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from fastgshare.shared.messages import Profile
from fastgshare.shared.tables import Table

BATCH_SHARE_OF_WINDOW = 5
SHARED_BATCH_SHARE_OF_WINDOW = 10
SCAN_PER_BATCH = 4
HOPELESS_SHARE = 0.8
LEARNING_WEIGHT = 0.2


@dataclass(slots=True)
class Job:
    """One request's rows on their way through a replica. `key` is equal for jobs that may share a batch.

    A job that is not `wanted` any more leaves its queue without being run; whoever unwants it answers for it.
    """

    deadline_us: int
    rows: int
    key: Hashable
    arrived_us: int
    content: object = None
    wanted: bool = True


@dataclass(slots=True)
class Timetable:
    """Expected time of a batch in microseconds: from the profile at the replica's own share of the SMs, else learned.

    `points` are what batches of the table's sizes take at most 19 times of 20 there, `means` what they take on average.
    """

    points: list[tuple[int, int]] = field(default_factory=list)
    learned: dict[int, float] = field(default_factory=dict)
    means: list[tuple[int, int]] = field(default_factory=list)
    _table: Table | None = None
    _sm_percent: float = 100.0
    _told_us: dict[int, int] = field(default_factory=dict)
    _least_us: dict[int, list[int]] = field(default_factory=dict)

    def learn_profile(self, profile: Profile | None) -> None:
        """Use a table; None, or one without a point, goes back to learning."""
        self.learn_table(Table.of(profile) if profile is not None else None)

    def learn_table(self, table: Table | None) -> None:
        """As `learn_profile`, of a table that was read already."""
        self._table = table
        self._read()

    def hold(self, sm_percent: float) -> None:
        """Batches run on that share of the device's SMs from now on."""
        self._sm_percent = sm_percent
        self._read()

    def _read(self) -> None:
        table = self._table
        batches = table.batches if table is not None else ()
        answers = [(batch, table.at(self._sm_percent, 1.0, batch)) for batch in batches if table is not None]
        self.points = [(batch, answer.device_p95_us) for batch, answer in answers]
        self.means = [(batch, answer.device_us) for batch, answer in answers]
        self._told_us, self._least_us = {}, {}

    def learn_run(self, rows: int, execute_us: int) -> None:
        """A batch of `rows` took `execute_us`."""
        known = self.learned.get(rows)
        self.learned[rows] = execute_us if known is None else known + LEARNING_WEIGHT * (execute_us - known)

    def execute_us(self, rows: int) -> int:
        """Expected time of a batch of `rows`, with room; 0 where nothing is known."""
        if self.points:
            known = self._told_us  # before the points: another thread may be reading a table, and clears it after them
            told_us = known.get(rows)
            if told_us is None:
                told_us = known[rows] = _between(self.points, rows)
            return told_us
        if (known_us := self.learned.get(rows)) is not None:
            return int(known_us)
        return _between(sorted((batch, int(us)) for batch, us in self.learned.items()), rows)

    def most_within(self, budget_us: int, most: int) -> int:
        """The largest batch of at most `most` rows that should take at most `budget_us`; 0 where none does."""
        if not self.points:
            while most and self.execute_us(most) > budget_us:
                most -= 1
            return most
        known = self._least_us
        least_us = known.get(most)
        if least_us is None:
            least_us = known[most] = self._least_from(most)
        return bisect_right(least_us, budget_us)

    def _least_from(self, most: int) -> list[int]:
        """What batches of at least 1, 2, up to `most` rows take at least: it only grows, so it can be searched."""
        times_us = [self.execute_us(rows) for rows in range(1, most + 1)]
        for index in range(most - 2, -1, -1):
            times_us[index] = min(times_us[index], times_us[index + 1])
        return times_us

    def told_us(self, rows: int) -> int:
        """What the table says that a batch of `rows` takes on average; 0 without a table."""
        return _between(self.means, rows)


def _between(points: Sequence[tuple[int, int]], rows: int) -> int:
    """Linear between sizes, in proportion above the largest; 0 without points."""
    if not points:
        return 0
    below = (0, 0)
    for batch, us in points:
        if batch == rows:
            return us
        if batch > rows:
            share = (rows - below[0]) / (batch - below[0])
            return int(below[1] + share * (us - below[1])) if below[0] else us
        below = (batch, us)
    return below[1] * rows // below[0]


class WorkQueue:
    """Waiting jobs of one replica, earliest deadline first."""

    def __init__(self, max_batch: int, window_us: int, timetable: Timetable | None = None) -> None:
        self.timetable = timetable if timetable is not None else Timetable()
        self._max_batch = max_batch
        self._window_us = window_us
        self._budget_us = window_us // BATCH_SHARE_OF_WINDOW
        self._heap: list[tuple[int, int, Job]] = []
        self._seq = 0
        self._unwanted = 0

    def sibling(self) -> "WorkQueue":
        """An empty queue under the same limits that shares what is known of times."""
        return WorkQueue(self._max_batch, self._window_us, self.timetable)

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, job: Job) -> None:
        """Add a job."""
        self._seq += 1
        heapq.heappush(self._heap, (job.deadline_us, self._seq, job))

    def note_unwanted(self) -> None:
        """One of the jobs here is not wanted any more. Those go when they are half of all, so each costs little."""
        self._unwanted += 1
        if 2 * self._unwanted > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].wanted]
            heapq.heapify(self._heap)
            self._unwanted = 0

    def note_sharing(self, is_shared: bool) -> None:
        """Whether other replicas hold some of the chunks that batches run on."""
        self._budget_us = self._window_us // (SHARED_BATCH_SHARE_OF_WINDOW if is_shared else BATCH_SHARE_OF_WINDOW)

    def expected_us(self) -> int:
        """How long the next batch should take, as far as can be told before it is chosen; 0 where nothing is known."""
        if not self._heap:
            return 0
        first_rows = self._heap[0][2].rows
        rows = self.timetable.most_within(self._budget_us, min(len(self._heap), self._max_batch))
        return self.timetable.execute_us(max(first_rows, rows))

    def hopeless(self, now_us: int) -> list[Job]:
        """Remove and return the jobs that cannot meet their deadline any more, even if they ran now."""
        gone: list[Job] = []
        while self._heap:
            deadline_us, _, job = self._heap[0]
            if not job.wanted:
                heapq.heappop(self._heap)
                continue
            if now_us + HOPELESS_SHARE * self.timetable.execute_us(job.rows) <= deadline_us:
                break
            heapq.heappop(self._heap)
            gone.append(job)
        return gone

    def take(self, now_us: int) -> list[Job]:
        """Remove and return the next batch; empty when nothing waits."""
        while self._heap and not self._heap[0][2].wanted:
            heapq.heappop(self._heap)
        if not self._heap:
            return []
        first = heapq.heappop(self._heap)[2]
        batch, rows = [first], first.rows
        limit = self._row_limit(first, now_us)
        passed: list[tuple[int, int, Job]] = []
        while self._heap and rows < limit and len(passed) < SCAN_PER_BATCH * self._max_batch:
            entry = heapq.heappop(self._heap)
            job = entry[2]
            if not job.wanted:
                continue
            if job.key == first.key and rows + job.rows <= limit:
                batch.append(job)
                rows += job.rows
            else:
                passed.append(entry)
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return batch

    def _row_limit(self, first: Job, now_us: int) -> int:
        """The most rows whose expected time fits the first job's deadline and the share of the window."""
        budget_us = min(first.deadline_us - now_us, self._budget_us)
        return max(self.timetable.most_within(budget_us, self._max_batch), first.rows)
