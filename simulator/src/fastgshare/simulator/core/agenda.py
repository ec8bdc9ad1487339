"""What happens when, in virtual microseconds: one thing at a time, in order of time, then in order of planning.

What takes a fixed while is posted or put off: it ends in the order in which it began, so a queue replaces the heap. At
the same moment what was posted comes before what was put off, and that before whatever else is planned.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Act = Callable[[Any], None]
Planned = tuple[int, Act, Any]

NEVER_US = 1 << 62


class Agenda:
    """The clock of a simulation, and everything that is still to happen.

    `post_us` is how long a post travels, `later_us` for how long things are put off.
    """

    __slots__ = ("_heap", "_later", "_number", "_posts", "later_us", "now_us", "post_us")

    def __init__(self, now_us: int, post_us: int, later_us: int) -> None:
        self.now_us = now_us
        self.post_us = post_us
        self.later_us = later_us
        self._number = 0
        self._heap: list[tuple[int, int, Act, Any]] = [(NEVER_US, 0, _never, None)]  # so it is not empty
        self._posts: deque[Planned] = deque()
        self._later: deque[Planned] = deque()

    def at(self, time_us: int, act: Act, about: Any) -> None:
        """Call `act(about)` at `time_us`, which has not passed."""
        self._number = number = self._number + 1
        heappush(self._heap, (time_us, number, act, about))

    def post(self, act: Act, about: Any) -> None:
        """Call `act(about)` after `post_us`."""
        self._posts.append((self.now_us + self.post_us, act, about))

    def later(self, act: Act, about: Any) -> None:
        """Call `act(about)` after `later_us`."""
        self._later.append((self.now_us + self.later_us, act, about))

    def run_until(self, end_us: int) -> None:
        """Let everything happen up to and including `end_us`, before the end of time."""
        heap, posts, later = self._heap, self._posts, self._later
        while True:
            time_us = heap[0][0]
            queue = None
            if later and later[0][0] <= time_us:
                time_us, queue = later[0][0], later
            if posts and posts[0][0] <= time_us:
                time_us, queue = posts[0][0], posts
            if time_us > end_us:
                break
            self.now_us = time_us
            if queue is not None:
                _, act, about = queue.popleft()
            else:
                _, _, act, about = heappop(heap)
            act(about)
        self.now_us = end_us


def _never(_about: Any) -> None:
    raise AssertionError("the end of time")
