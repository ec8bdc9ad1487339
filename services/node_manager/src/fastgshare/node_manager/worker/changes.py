"""Whether replicas of a worker came, left or moved: what else takes and frees the device's memory.

Told by whoever opens, moves or ends a replica, and by no part of a measurement. Any thread may tell and ask.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Changes of a worker's replicas, counted as they begin and as they end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._edges = 0
        self._under_way = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around a change."""
        self._edge(+1)
        try:
            yield
        finally:
            self._edge(-1)

    def mark(self) -> int | None:
        """The same number for as long as nothing changes; None while something does."""
        with self._lock:
            return None if self._under_way else self._edges

    def _edge(self, step: int) -> None:
        with self._lock:
            self._under_way += step
            self._edges += 1
