"""One function's requests over time, from what gateways report of them: rates, latencies, attainment, sparklines. Pure.

A report holds counts since its gateway started; what is new in it happened since the report before. It is spread
evenly over that time for rates and sparklines, so that these do not jump with when reports come, and dated now for
windows. Everything held is of fixed size.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from fastgshare.shared.histograms import quantile_us
from fastgshare.shared.messages import FunctionReport, SlotCount
from fastgshare.shared.overview.view import SPARK_POINTS, SPARK_S, WINDOWS_S
from fastgshare.shared.units import US_PER_S, us_to_ms, us_to_s

RECENT_S = 10
"""The seconds that rates and latencies are told of."""
LAG_US = 1_500_000
"""A second is told of once reports about all of it can be here."""
WINDOW_SLOTS = 60
_SECONDS = SPARK_S * SPARK_POINTS + RECENT_S
_REFUSAL_CODES = 64
_SHORTEST_S = 1
_FLAT = (0.0,) * SPARK_POINTS

Points = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class News:
    """What happened at one gateway between two reports: counts, and durations by bucket."""

    arrived: int = 0
    met: int = 0
    missed: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    durations: tuple[int, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether nothing happened."""
        return not (self.arrived or self.met or self.missed or self.refused or any(self.durations))


def news(before: FunctionReport, now: FunctionReport) -> News:
    """What happened between two reports of one life of a gateway."""
    gone = {code: count - before.refused.get(code, 0) for code, count in now.refused.items()}
    return News(
        arrived=max(0, now.arrived - before.arrived),
        met=max(0, now.met - before.met),
        missed=max(0, now.missed - before.missed),
        refused={code: count for code, count in gone.items() if count > 0},
        durations=_durations(before, now),
    )


def _durations(before: FunctionReport, now: FunctionReport) -> tuple[int, ...]:
    if now.whole is None:
        return ()
    if before.whole is None or len(before.whole.counts) != len(now.whole.counts):
        return now.whole.counts
    return tuple(max(0, new - old) for old, new in zip(before.whole.counts, now.whole.counts, strict=True))


class Window:
    """Requests that met and that missed the objective in the last so many seconds, within a sixtieth of them."""

    def __init__(self, length_s: int) -> None:
        self._slot_us = length_s * US_PER_S // WINDOW_SLOTS
        self._slots: deque[list[int]] = deque()  # [slot, met, missed]
        self._met = self._missed = 0

    def add(self, now_us: int, met: int, missed: int) -> None:
        """Count some now."""
        slot = now_us // self._slot_us
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += met
        self._slots[-1][2] += missed
        self._met += met
        self._missed += missed
        self._let_go(now_us)

    def missed_share(self, now_us: int) -> float | None:
        """The share that missed it; None when there were none at all."""
        self._let_go(now_us)
        whole = self._met + self._missed
        return self._missed / whole if whole else None

    def told(self, now_us: int) -> tuple[SlotCount, ...]:
        """What is counted, for somebody else's window of this length."""
        self._let_go(now_us)
        newest = now_us // self._slot_us
        return tuple(SlotCount(max(0, newest - slot), met, missed) for slot, met, missed in self._slots)

    def believe(self, told: Sequence[SlotCount], now_us: int) -> None:
        """Take over somebody else's count if it is more: they have looked for longer, at the same requests."""
        self._let_go(now_us)
        newest = now_us // self._slot_us
        fitting = [one for one in told if 0 <= one.ago < WINDOW_SLOTS and one.met >= 0 and one.missed >= 0]
        met, missed = sum(one.met for one in fitting), sum(one.missed for one in fitting)
        if met + missed > self._met + self._missed:
            oldest_first = sorted(fitting, key=lambda one: -one.ago)
            self._slots = deque([newest - one.ago, one.met, one.missed] for one in oldest_first)
            self._met, self._missed = met, missed

    def _let_go(self, now_us: int) -> None:
        oldest = now_us // self._slot_us - WINDOW_SLOTS
        while self._slots and self._slots[0][0] <= oldest:
            _, met, missed = self._slots.popleft()
            self._met -= met
            self._missed -= missed


class Seconds:
    """A count by second of the last two minutes or so."""

    def __init__(self) -> None:
        self._counts = [0.0] * _SECONDS
        self._second = 0  # the newest

    def add(self, from_us: int, to_us: int, count: int) -> None:
        """Count so many, spread evenly over a stretch of time that ends now."""
        self._reach(to_us // US_PER_S)
        from_us = max(from_us, to_us - (_SECONDS - 1) * US_PER_S)
        if not count:
            return
        if to_us <= from_us:
            self._counts[self._second % _SECONDS] += count
            return
        at_us = from_us
        while at_us < to_us:
            end_us = min(to_us, (at_us // US_PER_S + 1) * US_PER_S)
            if at_us // US_PER_S > self._second - _SECONDS:  # else a clock was put back
                self._counts[at_us // US_PER_S % _SECONDS] += count * (end_us - at_us) / (to_us - from_us)
            at_us = end_us

    def last(self, count: int, before: int) -> list[float]:
        """The counts of so many seconds before a second, oldest first."""
        self._reach(before)
        known = max(0, min(count, before - 1 - self._second + _SECONDS))
        first, end = (before - known) % _SECONDS, before % _SECONDS
        counts = self._counts
        found = counts[first:end] if first < end or not known else counts[first:] + counts[:end]
        return [0.0] * (count - known) + found

    def _reach(self, second: int) -> None:
        for at in range(max(self._second + 1, second - _SECONDS + 1), second + 1):
            self._counts[at % _SECONDS] = 0.0
        self._second = max(self._second, second)


class Traffic:
    """What became of one function's requests of late, at all gateways."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self._windows = {name: Window(length_s) for name, length_s in WINDOWS_S.items()}
        self._arrived = Seconds()
        self._met = Seconds()
        self._missed = Seconds()
        self._durations: deque[tuple[int, tuple[int, ...]]] = deque()
        self._sparks: tuple[int, Points, Points] = (0, (), ())

    def add(self, news: News, from_us: int, now_us: int) -> None:
        """Take in what happened at one gateway from then to now."""
        for window in self._windows.values():
            window.add(now_us, news.met, news.missed)
        self._arrived.add(from_us, now_us, news.arrived)
        self._met.add(from_us, now_us, news.met)
        self._missed.add(from_us, now_us, news.missed)
        for code, count in news.refused.items():
            if code in self.refused or len(self.refused) < _REFUSAL_CODES:
                self.refused[code] = self.refused.get(code, 0) + count
        if any(news.durations):
            self._durations.append((now_us, news.durations))
        self._let_go(now_us)

    def missed_share(self, now_us: int) -> dict[str, float | None]:
        """By window, the share of requests that missed the objective; None where there were none."""
        return {name: window.missed_share(now_us) for name, window in self._windows.items()}

    def past(self, now_us: int) -> dict[str, tuple[SlotCount, ...]]:
        """Every window as it stands, for whoever begins to look; empty without any request."""
        told = {name: window.told(now_us) for name, window in self._windows.items()}
        return told if any(told.values()) else {}

    def believe(self, told: Mapping[str, Sequence[SlotCount]], now_us: int) -> None:
        """Begin with what somebody else has counted."""
        for name, window in self._windows.items():
            window.believe(told.get(name, ()), now_us)

    def rates(self, since_us: int, now_us: int) -> tuple[float, float]:
        """Requests that came, and that were answered in time, a second of the last ten; watched since `since_us`."""
        before = _whole_seconds(now_us)
        watched_s = min(RECENT_S, before - us_to_s(since_us))
        if watched_s < _SHORTEST_S:
            return 0.0, 0.0
        seconds = ceil(watched_s)
        return sum(self._arrived.last(seconds, before)) / watched_s, sum(self._met.last(seconds, before)) / watched_s

    def quantiles_ms(self, now_us: int, shares: Sequence[float]) -> list[float | None]:
        """The latencies below which these shares of the last ten seconds' answers lie; None without any."""
        self._let_go(now_us)
        whole = [sum(counts) for counts in zip(*(counts for _, counts in self._durations), strict=False)]
        found = [quantile_us(whole, share) for share in shares]
        return [None if at_us is None else us_to_ms(at_us) for at_us in found]

    def sparks(self, now_us: int) -> tuple[Points, Points]:
        """Requests that came, and that missed the objective, a second, oldest first."""
        # Points stand for fixed stretches of time, so that a line moves on and does not change under the eye.
        before = _whole_seconds(now_us) // SPARK_S * SPARK_S
        if before != self._sparks[0]:
            self._sparks = (before, _points(self._arrived, before), _points(self._missed, before))
        return self._sparks[1:]

    def _let_go(self, now_us: int) -> None:
        while self._durations and self._durations[0][0] <= now_us - RECENT_S * US_PER_S:
            self._durations.popleft()


def _points(seconds: Seconds, before: int) -> Points:
    counts = seconds.last(SPARK_S * SPARK_POINTS, before)
    if not any(counts):
        return _FLAT
    return tuple(round(sum(pair) / SPARK_S, 3) for pair in zip(*[iter(counts)] * SPARK_S, strict=True))


def _whole_seconds(now_us: int) -> int:
    """The first second that is not told of yet."""
    return (now_us - LAG_US) // US_PER_S
