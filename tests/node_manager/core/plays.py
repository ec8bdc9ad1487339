"""A measurement played on a device of virtual time."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastgshare.node_manager.core.measurement import WINDOW_US, Finished, Measured, Measurement, WaitUntil
from fastgshare.shared.messages import MeasureRequest

# How long a batch of so many inputs takes that starts then.
Times = Callable[[int, int], float]


@dataclass
class Played:
    """A device with one replica. `admit(now, took)`: when a batch may start that takes so long.

    `others_us(now)`: for how long others ran so far. `rows` and `waits` tell what it was asked for.
    """

    times: Times
    admit: Callable[[int, int], int] = lambda now_us, took_us: now_us
    others_us: Callable[[int], int] = lambda now_us: 0
    rows: list[int] = field(default_factory=list)
    waits: int = 0
    now_us: int = 1_000
    least_warmup_us: int = 0

    def play(self, request: MeasureRequest) -> Measured:
        measurement = Measurement(
            request, random.Random(request.seed).expovariate, least_warmup_us=self.least_warmup_us
        )
        while True:
            step = measurement.next(self.now_us)
            if isinstance(step, Finished):
                return step.result
            if isinstance(step, WaitUntil):
                assert step.at_us > self.now_us
                self.waits += 1
                self.now_us = step.at_us
                continue
            took_us = max(round(self.times(step.rows, self.now_us)), 1)
            started_us = self.admit(self.now_us, took_us)
            self.rows.append(step.rows)
            self.now_us = started_us + took_us
            measurement.ran(started_us, self.now_us, took_us, self.others_us(self.now_us))


def steady(each_us: float) -> Times:
    return lambda rows, now_us: each_us


@dataclass
class Smooth:
    """Paced as tokens are: a batch moves the time of the next by what it took over the quota, a tenth of a window on
    credit."""

    quota: float
    clear_us: float = 0.0

    def __call__(self, now_us: int, took_us: int) -> int:
        started_us = max(now_us, round(self.clear_us))
        self.clear_us = max(self.clear_us, started_us - WINDOW_US / 10) + took_us / self.quota
        return started_us


@dataclass
class Bursts:
    """A share of each window at its begin, overrun paid back."""

    quota: float
    window: int = 0
    left_us: float = 0.0

    def __call__(self, now_us: int, took_us: int) -> int:
        while self.window <= now_us // WINDOW_US or self.left_us <= 0:
            self.window += 1
            self.left_us = min(self.left_us, 0.0) + self.quota * WINDOW_US
        started_us = max(now_us, (self.window - 1) * WINDOW_US)
        self.left_us -= took_us
        return started_us
