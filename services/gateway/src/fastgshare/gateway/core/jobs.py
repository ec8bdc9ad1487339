"""How many jobs a gateway takes up, and of which functions: they fill what interactive requests leave over.

Room for a function's jobs is one batch for each ready replica, less the interactive requests that are under way
here; one job always, so that none starves and a function at zero is woken. A function that refused a job is left alone
for a while, longer each time. Time is an argument in Unix microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastgshare.shared.ids import FunctionName
from fastgshare.shared.units import US_PER_S

FIRST_PAUSE_US = US_PER_S // 5
LONGEST_PAUSE_US = 10 * US_PER_S


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A function at this gateway: ready replicas, their largest batch, and requests under way, jobs included."""

    ready_replicas: int = 0
    max_batch: int = 1
    under_way: int = 0


@dataclass(slots=True)
class _Pause:
    until_us: int
    length_us: int


class JobBook:
    """What runs here, and what may be taken up; `most` at one time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: dict[FunctionName, int] = {}
        self._pauses: dict[FunctionName, _Pause] = {}

    @property
    def running(self) -> int:
        """How many jobs run here."""
        return sum(self._running.values())

    def running_of(self, function: FunctionName) -> int:
        """How many jobs of a function run here."""
        return self._running.get(function, 0)

    def begin(self, function: FunctionName) -> None:
        """A job was taken up."""
        self._running[function] = self.running_of(function) + 1

    def end(self, function: FunctionName, refused: bool, now_us: int) -> None:
        """A job is out of hand here; `refused`: it has to wait, for its function has no room."""
        left = self.running_of(function) - 1
        if left:
            self._running[function] = left
        else:
            self._running.pop(function, None)
        if not refused:
            self._pauses.pop(function, None)
            return
        pause = self._pauses.get(function)
        if pause is None:
            self._pauses[function] = _Pause(now_us + FIRST_PAUSE_US, FIRST_PAUSE_US)
        elif pause.until_us <= now_us:  # those that were under way at its beginning do not make it longer
            length_us = min(pause.length_us * 2, LONGEST_PAUSE_US)
            self._pauses[function] = _Pause(now_us + length_us, length_us)

    def wanted(
        self, waiting: Mapping[FunctionName, int], occupancy: Mapping[FunctionName, Occupancy], now_us: int
    ) -> dict[FunctionName, int]:
        """How many jobs to take up of each function that has some waiting; those with fewest running come first."""
        free = self._most - self.running
        wanted: dict[FunctionName, int] = {}
        for function in sorted(waiting, key=lambda name: (self.running_of(name), name)):
            pause = self._pauses.get(function)
            if pause is not None and now_us < pause.until_us:
                continue
            room = self.room(function, occupancy.get(function, Occupancy()))
            number = min(waiting[function], room, free)
            if number > 0:
                wanted[function] = number
                free -= number
        return wanted

    def room(self, function: FunctionName, now: Occupancy) -> int:
        """How many more jobs of a function there is room for."""
        running = self.running_of(function)
        interactive = max(now.under_way - running, 0)
        return max(now.ready_replicas * now.max_batch - interactive, 1) - running
