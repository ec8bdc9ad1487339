"""How long functions without a replica made their first caller wait, and for what.

A cold start begins with a request that is held while nothing of the function is anywhere, and ends with the first
answer. Nobody's wait for a replica that is only away (its worker restarts) is one. Times in microseconds.
"""

from dataclasses import dataclass
from typing import NamedTuple

from fastgshare.shared.histograms import Durations
from fastgshare.shared.ids import FunctionName


class ColdStarted(NamedTuple):
    """A function was brought up from zero. The four parts make `total_us`.

    `placed_us`: until a node told of a replica; `load_us`: the replica's own, as its node says; `ready_us`: what else
    went by until the first request was sent there; `answer_us`: until it was answered.
    """

    function: FunctionName
    total_us: int
    placed_us: int
    load_us: int
    ready_us: int
    answer_us: int


@dataclass(slots=True)
class _Start:
    begun_us: int
    placed_us: int | None = None
    released_us: int | None = None


class ColdStarts:
    """Those under way, by function, and those that ended; `counted` tells how long all took so far."""

    def __init__(self) -> None:
        self.counted: dict[FunctionName, Durations] = {}
        self._starts: dict[FunctionName, _Start] = {}
        self._ended: list[ColdStarted] = []

    def held(self, function: FunctionName, now_us: int, from_zero: bool, is_first: bool) -> None:
        """A request is held, as the first of those that wait or not, while nothing of the function is there or not."""
        if is_first:
            self._starts.pop(function, None)  # whoever waited before did so in vain
            if from_zero:
                self._starts[function] = _Start(now_us)

    def placed(self, function: FunctionName, now_us: int) -> None:
        """A node told of a replica."""
        start = self._starts.get(function)
        if start is not None and start.placed_us is None:
            start.placed_us = now_us

    def released(self, function: FunctionName, now_us: int) -> None:
        """What was held is sent to a replica."""
        start = self._starts.get(function)
        if start is not None and start.released_us is None:
            start.released_us = now_us

    def answered(self, function: FunctionName, load_us: int, end_us: int) -> None:
        """A request was answered by a replica that took so long to load."""
        start = self._starts.get(function)
        if start is None or start.released_us is None or start.placed_us is None:
            return
        del self._starts[function]
        load_us = min(load_us, start.released_us - start.placed_us)
        started = ColdStarted(
            function=function,
            total_us=max(end_us, start.released_us) - start.begun_us,
            placed_us=start.placed_us - start.begun_us,
            load_us=load_us,
            ready_us=start.released_us - start.placed_us - load_us,
            answer_us=max(end_us - start.released_us, 0),
        )
        self.counted.setdefault(function, Durations()).add(started.total_us)
        self._ended.append(started)

    def forget(self, function: FunctionName) -> None:
        """The function was deleted."""
        self._starts.pop(function, None)

    def forget_counts(self, function: FunctionName) -> None:
        """Nobody asks for them any more."""
        self.counted.pop(function, None)

    def take_ended(self) -> list[ColdStarted]:
        """Those that ended since they were last taken."""
        ended, self._ended = self._ended, []
        return ended
