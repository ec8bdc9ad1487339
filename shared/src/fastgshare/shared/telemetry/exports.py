"""What an exporter had to let go, counted by signal (`spans`, `traces`, `metrics`): telemetry never waits."""

from collections.abc import Callable, Iterator

from fastgshare.shared.telemetry.catalog import DROPPED
from fastgshare.shared.telemetry.metrics import Family, by_label


class Exports:
    """One for a process; every exporter in it counts here.

    An exporter begins by dropping 0 items: what Prometheus sees appear with a count of 1 has not grown, to it.
    """

    def __init__(self) -> None:
        self._dropped: dict[str, int] = {}
        self._watched: dict[str, Callable[[], int]] = {}

    def watch(self, signal: str, dropped: Callable[[], int]) -> None:
        """An exporter that counts for itself: `dropped` tells how many items of a signal it has let go so far."""
        self._watched[signal] = dropped

    def dropped(self, signal: str, items: int = 1) -> None:
        """So many items of a signal were let go."""
        self._dropped[signal] = self._dropped.get(signal, 0) + items

    def families(self) -> Iterator[Family]:
        """As metrics; nothing where nothing is exported."""
        watched = {signal: dropped() for signal, dropped in self._watched.items()}
        yield by_label(DROPPED, {**self._dropped, **watched})
