"""Who ran when on a device, and what follows: shares of time, waits, overlaps. Device time is end less grant."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastgshare.shared.ids import ReplicaId

Span = tuple[int, int]


@dataclass(slots=True)
class Run:
    """One batch: on which chunks, when asked for, granted and over, what was charged, and out of what it was paid."""

    replica: ReplicaId
    mask: int
    asked_us: int
    granted_us: int
    end_us: int
    used_us: int
    by_debt: bool


@dataclass(slots=True)
class History:
    """Runs in the order of their grants, and when each replica had work under an unchanged share."""

    runs: list[Run] = field(default_factory=list)
    _spans: dict[ReplicaId, list[Span]] = field(default_factory=lambda: defaultdict(list))
    _since_us: dict[ReplicaId, int] = field(default_factory=dict)

    def work_began(self, replica: ReplicaId, now_us: int) -> None:
        """There is work where there was none; nothing new where there was some."""
        self._since_us.setdefault(replica, now_us)

    def work_ended(self, replica: ReplicaId, now_us: int) -> None:
        """No more work."""
        since_us = self._since_us.pop(replica, None)
        if since_us is not None:
            self._spans[replica].append((since_us, now_us))

    def shares_changed(self, replica: ReplicaId, now_us: int) -> None:
        """A spell of work ends here, another begins."""
        if replica in self._since_us:
            self.work_ended(replica, now_us)
            self.work_began(replica, now_us)

    def spells(self, replica: ReplicaId, until_us: int) -> list[Span]:
        """When it had work all the time, holding the same share."""
        spans = list(self._spans.get(replica, ()))
        if replica in self._since_us:
            spans.append((self._since_us[replica], until_us))
        return spans

    def of(self, replica: ReplicaId) -> "Line":
        """One replica's runs."""
        return Line([run for run in self.runs if run.replica == replica])

    def overlaps(self) -> list[tuple[Run, Run]]:
        """Runs that shared a chunk at the same time: there must be none."""
        found: list[tuple[Run, Run]] = []
        open_runs: list[Run] = []
        for run in self.runs:
            open_runs = [other for other in open_runs if other.end_us > run.granted_us]
            found += [(other, run) for other in open_runs if other.mask & run.mask]
            open_runs.append(run)
        return found

    def chunk_us(self, start_us: int, end_us: int) -> int:
        """Chunks times microseconds at work in an interval."""
        return sum(
            run.mask.bit_count() * max(min(run.end_us, end_us) - max(run.granted_us, start_us), 0) for run in self.runs
        )


class Line:
    """One replica's runs, which do not overlap, with sums that make any interval cheap."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self._starts_us = [run.granted_us for run in runs]
        self._before_us = [0]
        for run in runs:
            self._before_us.append(self._before_us[-1] + run.end_us - run.granted_us)

    def device_us(self, start_us: int, end_us: int) -> int:
        """Device time in [start_us, end_us)."""
        return self._until(end_us) - self._until(start_us)

    def waits_us(self) -> list[int]:
        """How long each batch waited for its token."""
        return [run.granted_us - run.asked_us for run in self.runs]

    def sliding_us(self, start_us: int, end_us: int, length_us: int) -> Iterator[int]:
        """Device time in intervals of `length_us` within [start_us, end_us): extremes begin or end where a run does."""
        low, high = bisect_left(self._starts_us, start_us), bisect_right(self._starts_us, end_us)
        edges = {start_us, end_us - length_us}
        for run in self.runs[low:high]:
            for edge_us in (run.granted_us, run.end_us):
                edges |= {edge_us, edge_us - length_us}
        for edge_us in edges:
            if start_us <= edge_us <= end_us - length_us:
                yield self.device_us(edge_us, edge_us + length_us)

    def _until(self, time_us: int) -> int:
        index = bisect_right(self._starts_us, time_us)
        if not index:
            return 0
        over_us = self.runs[index - 1].end_us - time_us
        return self._before_us[index] - max(over_us, 0)
