"""What happens when, in virtual microseconds: one thing at a time, in order of time, then in order of planning.

What travels for a fixed while is posted: it arrives in the order in which it left, so a queue replaces the heap, and
comes before whatever else is planned for the same moment.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Act = Callable[[Any], None]


class Agenda:
    """The clock of a simulation, and everything that is still to happen. `post_us` is how long a post travels."""

    __slots__ = ("_heap", "_number", "_posts", "now_us", "post_us")

    def __init__(self, now_us: int, post_us: int) -> None:
        self.now_us = now_us
        self.post_us = post_us
        self._number = 0
        self._heap: list[tuple[int, int, Act, Any]] = []
        self._posts: deque[tuple[int, Act, Any]] = deque()

    def at(self, time_us: int, act: Act, about: Any) -> None:
        """Call `act(about)` at `time_us`, which has not passed."""
        self._number += 1
        heappush(self._heap, (time_us, self._number, act, about))

    def post(self, act: Act, about: Any) -> None:
        """Call `act(about)` after `post_us`."""
        self._posts.append((self.now_us + self.post_us, act, about))

    def run_until(self, end_us: int) -> None:
        """Let everything happen up to and including `end_us`."""
        heap, posts = self._heap, self._posts
        while True:
            if posts and (not heap or posts[0][0] <= heap[0][0]):
                if posts[0][0] > end_us:
                    break
                self.now_us, act, about = posts.popleft()
            elif heap:
                if heap[0][0] > end_us:
                    break
                self.now_us, _, act, about = heappop(heap)
            else:
                break
            act(about)
        self.now_us = end_us
