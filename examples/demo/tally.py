"""What became of each request, and the live view's figures. Pure: outcomes in, numbers out.

Every request has exactly one ending. `answered` came in time or late; `expired` had no answer by its deadline, whoever
noticed first; `refused` was told why before; `lost` is what must not happen: neither an answer nor a reason.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.units import US_PER_S

WINDOW_US = 5 * US_PER_S


class Ending(StrEnum):
    """How a request ended, as its caller saw it."""

    ANSWERED = "answered"
    EXPIRED = "expired"
    REFUSED = "refused"
    LOST = "lost"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One request from its due time to its end; times in microseconds, `due_us` from the load's begin.

    Latency counts from when the request was due, so a sender that lags does not flatter the platform. The times on the
    worker are 0 where the door does not tell them.
    """

    function: str
    phase: int
    door: str
    due_us: int
    lag_us: int
    latency_us: int
    ending: Ending
    code: str = ""
    reason: str = ""
    right: bool | None = None
    example: str = ""
    expected: str = ""
    got: str = ""
    replica: str = ""
    queue_us: int = 0
    token_us: int = 0
    execute_us: int = 0
    handler_us: int = 0
    batch: int = 0

    @property
    def end_us(self) -> int:
        """When it ended."""
        return self.due_us + self.latency_us


class LiveRow(msgspec.Struct, frozen=True):
    """One function now: rate of endings and percentiles over the last seconds, counts since the beginning."""

    function: str
    rps: float
    sent: int
    in_time: int
    late: int
    expired: int
    refused: int
    lost: int
    right: int
    wrong: int
    p50_us: int | None
    p99_us: int | None

    @property
    def attainment(self) -> float | None:
        """The share of all ended requests that were answered in time."""
        ended = self.in_time + self.late + self.expired + self.refused + self.lost
        return self.in_time / ended if ended else None


class Tally:
    """All outcomes so far, and enough of the last ones to tell how things go now."""

    def __init__(self, objectives_us: dict[str, int]) -> None:
        self.objectives_us = objectives_us
        self.outcomes: list[Outcome] = []
        self._recent: dict[str, deque[Outcome]] = {function: deque() for function in objectives_us}
        self._counts = {function: dict.fromkeys(_COUNTED, 0) for function in objectives_us}

    def add(self, outcome: Outcome) -> None:
        """A request ended."""
        self.outcomes.append(outcome)
        self._recent[outcome.function].append(outcome)
        counts = self._counts[outcome.function]
        counts[standing(outcome, self.objectives_us[outcome.function])] += 1
        if outcome.right is not None:
            counts["right" if outcome.right else "wrong"] += 1

    def live(self, now_us: int, sent: dict[str, int]) -> list[LiveRow]:
        """Each function as of `now_us`; `sent` counts what went out, ended or not."""
        return [self._row(function, now_us, sent.get(function, 0)) for function in self.objectives_us]

    def _row(self, function: str, now_us: int, sent: int) -> LiveRow:
        recent = self._recent[function]
        while recent and recent[0].end_us < now_us - WINDOW_US:
            recent.popleft()
        seconds = max(min(now_us, WINDOW_US), 1) / US_PER_S
        latencies_us = sorted(outcome.latency_us for outcome in recent if outcome.ending is Ending.ANSWERED)
        counts = self._counts[function]
        return LiveRow(
            function=function,
            rps=len(recent) / seconds,
            sent=sent,
            in_time=counts["in_time"],
            late=counts["late"],
            expired=counts["expired"],
            refused=counts["refused"],
            lost=counts["lost"],
            right=counts["right"],
            wrong=counts["wrong"],
            p50_us=percentile(latencies_us, 50),
            p99_us=percentile(latencies_us, 99),
        )


_COUNTED = ("in_time", "late", "expired", "refused", "lost", "right", "wrong")


def standing(outcome: Outcome, objective_us: int) -> str:
    """`in_time` or `late` for an answer, else the ending itself."""
    if outcome.ending is Ending.ANSWERED:
        return "in_time" if outcome.latency_us <= objective_us else "late"
    return outcome.ending.value


def ending_of(code: ErrorCode) -> Ending:
    """How a request ended that came back with this code."""
    return Ending.EXPIRED if code is ErrorCode.DEADLINE_EXCEEDED else Ending.REFUSED


def percentile(ordered: Sequence[int], percent: float) -> int | None:
    """The nearest-rank percentile of values in ascending order; None where there are none."""
    if not ordered:
        return None
    return ordered[max(math.ceil(percent * len(ordered) / 100), 1) - 1]


def mean(values: Iterable[float]) -> float | None:
    """The arithmetic mean; None where there are none."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
