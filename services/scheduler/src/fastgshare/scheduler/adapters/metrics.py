"""A scheduler's metrics: whether it leads, what it decides, and how long it thinks."""

import re
from collections import Counter
from collections.abc import Iterator

from fastgshare.scheduler.adapters.journal import Journal
from fastgshare.scheduler.adapters.leadership import Leadership
from fastgshare.scheduler.core.commands import Decision, Report
from fastgshare.shared.histograms import Durations
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.metrics import Family, by_label, durations, single

_ALERTED = ("no_room", "objective_infeasible")
"""Told from the start: what Prometheus sees appear with a count of 1 has not grown, to it."""
_INNER_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class SchedulerMetrics:
    """Counts steps as they are made."""

    def __init__(self, leadership: Leadership, journal: Journal) -> None:
        self._leadership = leadership
        self._journal = journal
        self._steps = Durations()
        self._commands: Counter[str] = Counter()
        self._reports: Counter[str] = Counter(dict.fromkeys(_ALERTED, 0))

    def stepped(self, decision: Decision, took_us: int) -> None:
        """The core took so long to decide this."""
        self._steps.add(took_us)
        for command in decision.commands:
            self._commands[snake(type(command).__name__)] += 1
            if isinstance(command, Report):
                self._reports[command.kind] += 1

    def families(self) -> Iterator[Family]:
        """As it is now."""
        yield single(catalog.LEADING, float(self._leadership.is_leading))
        yield by_label(catalog.DECISIONS, self._commands)
        yield by_label(catalog.REPORTS, self._reports)
        yield Family(catalog.STEPS, spreads=(durations((), self._steps.counts, self._steps.sum_us),))
        yield single(catalog.JOURNAL_LOST, self._journal.gaps)


def snake(name: str) -> str:
    """`PlaceReplica` as `place_replica`."""
    return _INNER_CAPITAL.sub("_", name).lower()
