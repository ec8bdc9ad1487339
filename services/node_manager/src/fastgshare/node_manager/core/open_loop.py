"""Single inputs that arrive by a Poisson process and are answered in batches of what has arrived.

Arrivals do not wait for answers, so each counts from when it came, however long the device is busy. No clock and no
chance of its own: `gap` draws the next exponential gap at a rate, as `random.Random(seed).expovariate` does.
"""

from collections import deque
from collections.abc import Callable

from fastgshare.shared.messages.profile import MAX_RUNS

PATIENCE = 2  # times the length of the arrivals: whoever is not answered by then had too much load


class OpenLoop:
    """Arrivals at `rate_per_us` from `begun_us` for `open_us`, at most `MAX_RUNS` of them."""

    def __init__(
        self, begun_us: int, open_us: int, rate_per_us: float, batch: int, gap: Callable[[float], float]
    ) -> None:
        self._begun_us = begun_us
        self._open_us = open_us
        self._rate_per_us = rate_per_us
        self._batch = batch
        self._gap = gap
        self._clock_us = float(begun_us)
        self._arrivals = 0
        self._next_us: int | None = None
        self._waiting: deque[int] = deque()
        self._taken = 0
        self._latency_us: list[int] = []
        self.unanswered = 0
        self._draw()

    @property
    def is_over(self) -> bool:
        """Whether nothing arrives or waits any more."""
        return self._next_us is None and not self._waiting

    @property
    def latency_us(self) -> tuple[int, ...]:
        """From arrival to answer, in order of arrival; of who was not answered, how long that was waited for."""
        return tuple(self._latency_us)

    def take(self, now_us: int) -> int:
        """How many inputs the next batch has if it starts now; 0: none waits until `next_us`."""
        self._arrive(now_us)
        self._taken = min(self._batch, len(self._waiting))
        return self._taken

    @property
    def next_us(self) -> int:
        """When the next input arrives; the end where none does."""
        return self._next_us if self._next_us is not None else self._begun_us

    def ran(self, ended_us: int) -> None:
        """The batch that was taken is answered; who is not long after the last arrival never will be."""
        for _ in range(self._taken):
            self._latency_us.append(ended_us - self._waiting.popleft())
        self._taken = 0
        self._arrive(ended_us)
        if ended_us - self._begun_us > PATIENCE * self._open_us:
            self.give_up(ended_us)

    def give_up(self, now_us: int) -> None:
        """Nobody else is answered."""
        self._arrive(now_us)
        self.unanswered = len(self._waiting)
        self._latency_us += [now_us - arrived_us for arrived_us in self._waiting]
        self._waiting.clear()
        self._next_us = None

    def _arrive(self, now_us: int) -> None:
        while self._next_us is not None and self._next_us <= now_us:
            self._waiting.append(self._next_us)
            self._draw()

    def _draw(self) -> None:
        self._clock_us += self._gap(self._rate_per_us)
        is_in_time = self._clock_us <= self._begun_us + self._open_us and self._arrivals < MAX_RUNS
        self._next_us = int(self._clock_us) if is_in_time else None
        self._arrivals += is_in_time
