"""Whether a replica's table still tells the truth: how long its recent batches took over what the table says.

Pure. The middle one of the recent ratios, so that a stall, or a neighbour that passed, counts once and no more; nothing
is said before there are enough of them to have a middle worth knowing.
"""

from collections import deque

LEAST_BATCHES = 30
RECENT_BATCHES = 128
# Finding the middle costs microseconds, which a model of small batches would feel with every one.
LOOK_EVERY = 8


class Drift:
    """Ratios of the last batches. `ratio` is read from any thread; `note` is called by whoever runs batches, one at a
    time, and `forget` by the replica's thread, even while another thread notes a batch."""

    def __init__(self) -> None:
        self.ratio = 0.0
        self._ratios: deque[float] = deque(maxlen=RECENT_BATCHES)
        self._unseen = 0

    def note(self, used_us: int, told_us: int) -> None:
        """A batch took `used_us` of device time where the table says `told_us`; 0: it says nothing."""
        if told_us <= 0:
            return
        self._ratios.append(used_us / told_us)
        self._unseen += 1
        count = len(self._ratios)
        if count == LEAST_BATCHES or (count > LEAST_BATCHES and self._unseen >= LOOK_EVERY):
            self._unseen = 0
            ordered = sorted(self._ratios)
            self.ratio = ordered[len(ordered) // 2] if ordered else 0.0  # they may have been forgotten just now

    def forget(self) -> None:
        """What batches took no longer compares: another table, or other chunks."""
        self.ratio = 0.0
        self._ratios.clear()
        self._unseen = 0
