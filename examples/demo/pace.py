"""The load's own time: it begins with the load, and stops while this machine stands still.

A machine that was suspended for some seconds served nobody and had no callers either. What was due meanwhile comes
after it, at its own pace, instead of all at once; only requests that were under way show how long it lasted.
"""

from collections.abc import Callable

from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.units import US_PER_S

# A process that is merely short of processor time gets its turn sooner than this.
STANDSTILL_US = US_PER_S


class Pace:
    """Microseconds since the load's begin, standstills left out; negative before it."""

    def __init__(self, lead_in_us: int, clock: Callable[[], int] = monotonic_us) -> None:
        self.stood_still_us = 0
        self._clock = clock
        self._origin_us = clock() + lead_in_us

    def now_us(self) -> int:
        """The load's time."""
        return self._clock() - self._origin_us

    def lateness_us(self, due_us: int) -> int:
        """By how much `due_us` has passed; a standstill that explains it is taken out of the load's time first."""
        late_us = self.now_us() - due_us
        if late_us < STANDSTILL_US:
            return late_us
        self.stood_still_us += late_us
        self._origin_us += late_us
        return 0
