"""A profiler's metrics: the tables that there are, and what it does for them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from fastgshare.profiler.core.commands import Command
from fastgshare.shared.messages import Profile
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.metrics import Family, by_label, single


class ProfilerMetrics:
    """Counts commands as they are carried out; `tables` and `claims` are asked for each time."""

    def __init__(self, tables: Callable[[], Mapping[str, Profile]], claims: Callable[[], int]) -> None:
        self._tables = tables
        self._claims = claims
        self._commands: Counter[str] = Counter()

    def carried_out(self, command: Command) -> None:
        """One more."""
        self._commands[type(command).__name__.lower()] += 1

    def families(self) -> Iterator[Family]:
        """As it is now."""
        tables = self._tables().values()
        yield by_label(catalog.TABLES, Counter(table.state.value for table in tables))
        yield single(catalog.POINTS, sum(len(table.points) for table in tables))
        yield by_label(catalog.PROFILED, self._commands)
        yield single(catalog.CLAIMS, self._claims())
