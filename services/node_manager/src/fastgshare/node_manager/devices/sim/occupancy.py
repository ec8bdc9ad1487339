"""What runs on an emulated device at a moment, and how busy it was since somebody last looked.

Plain data with the time passed in; the device's lock guards it.
"""

from typing import NamedTuple

from fastgshare.node_manager.core.speed import Chunks, Portion, portion


class Busyness(NamedTuple):
    """Since the look before: the part of the SMs' time that was used, and how much longer batches took for their
    neighbours (1: not at all). `running`: batches at this moment."""

    utilization: float
    stretch: float
    running: int


class Occupancy:
    """Batches on `chunks` chunks."""

    def __init__(self, chunks: int, now_us: int) -> None:
        self._chunks = chunks
        self._running: dict[int, Chunks] = {}
        self._next = 0
        self._updated_us = self._looked_us = now_us
        self._busy_chunk_us = 0
        self._alone_us = 0
        self._taken_us = 0

    def portion_of(self, mine: Chunks) -> Portion:
        """What a batch that starts now has of the device."""
        return portion(mine, self._running.values(), self._chunks)

    def begin(self, mine: Chunks, alone_us: int, taken_us: int, now_us: int) -> int:
        """A batch starts that takes `taken_us`, and would take `alone_us` with nobody about; a handle to end it by."""
        self._advance(now_us)
        self._alone_us += alone_us
        self._taken_us += taken_us
        self._next += 1
        self._running[self._next] = mine
        return self._next

    def end(self, handle: int, now_us: int) -> None:
        """That batch is done."""
        self._advance(now_us)
        del self._running[handle]

    def look(self, now_us: int) -> Busyness:
        """How it was since the last look, from which on the next one counts."""
        self._advance(now_us)
        capacity_us = self._chunks * (now_us - self._looked_us)
        utilization = self._busy_chunk_us / capacity_us if capacity_us > 0 else 0.0
        stretch = self._taken_us / self._alone_us if self._alone_us else 1.0
        self._busy_chunk_us = self._alone_us = self._taken_us = 0
        self._looked_us = now_us
        return Busyness(utilization, stretch, len(self._running))

    def _advance(self, now_us: int) -> None:
        occupied = {chunk for chunks in self._running.values() for chunk in chunks}
        self._busy_chunk_us += len(occupied) * (now_us - self._updated_us)
        self._updated_us = now_us
