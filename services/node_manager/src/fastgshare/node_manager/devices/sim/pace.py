"""The time an emulated device runs in: this machine's, or one that only moves when it is waited for."""

import threading
import time
from typing import Protocol

from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.units import us_to_s


class Pace(Protocol):
    """A clock and a way to wait for it; called from any thread."""

    def now_us(self) -> int:
        """Microseconds since some moment."""
        ...

    def pause_until(self, deadline_us: int) -> None:
        """Return when the clock shows `deadline_us` or later; at once if it does."""
        ...


class RealPace:
    """The monotonic clock. Sleeps overrun by a scheduler's tenth of a millisecond; they do not add up, as each batch's
    end is reckoned from its start."""

    def now_us(self) -> int:
        """The monotonic clock."""
        return monotonic_us()

    def pause_until(self, deadline_us: int) -> None:
        """Sleep."""
        while (left_us := deadline_us - monotonic_us()) > 0:
            time.sleep(us_to_s(left_us))


class VirtualPace:
    """A clock that stands until somebody waits for it, and then jumps there: batches take no time to run."""

    def __init__(self, now_us: int = 0) -> None:
        self._lock = threading.Lock()
        self._now_us = now_us

    def now_us(self) -> int:
        """Where the last wait left it."""
        with self._lock:
            return self._now_us

    def pause_until(self, deadline_us: int) -> None:
        """Jump to the deadline; never back."""
        with self._lock:
            self._now_us = max(self._now_us, deadline_us)
