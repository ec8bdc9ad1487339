"""When a request is sent again. Pure: time is an argument, in monotonic microseconds.

A gateway may die with the request in its hands, so half-way to the deadline the request goes out once more
under the same id; a gateway that still holds that id ignores it. Where nobody listens, it is tried again
after short pauses.
"""

from fastgshare.shared.units import US_PER_MS

FIRST_PAUSE_US = 20 * US_PER_MS
LONGEST_PAUSE_US = 250 * US_PER_MS
# Event loops round timers to milliseconds, so a timer may ring this much early and still mean its moment.
EARLY_US = US_PER_MS


class Patience:
    """The sends of one request, from `start_us` to `deadline_us`."""

    __slots__ = ("_half_us", "_pause_us", "_retry_us", "deadline_us", "nobody_listened", "was_sent")

    def __init__(self, start_us: int, deadline_us: int) -> None:
        self.deadline_us = deadline_us
        self.nobody_listened = False
        self.was_sent = False
        self._half_us = start_us + (deadline_us - start_us) // 2
        self._retry_us = deadline_us
        self._pause_us = FIRST_PAUSE_US

    @property
    def wake_us(self) -> int:
        """When to look again if nothing arrives."""
        return min(self._half_us, self._retry_us, self.deadline_us)

    def is_over(self, now_us: int) -> bool:
        """Whether the deadline has passed."""
        return now_us >= self.deadline_us - EARLY_US

    def sent(self, now_us: int) -> None:
        """It went out."""
        self.was_sent = True
        self.nobody_listened = False
        self._retry_us = self.deadline_us
        if now_us >= self._half_us - EARLY_US:
            self._half_us = self.deadline_us

    def found_nobody(self, now_us: int) -> None:
        """The server said that no gateway listens: try again after a pause that grows."""
        self.nobody_listened = True
        self._retry_us = min(now_us + self._pause_us, self.deadline_us)
        self._pause_us = min(2 * self._pause_us, LONGEST_PAUSE_US)
