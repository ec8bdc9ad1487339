"""From measured rounds to the figures that are published. Pure.

Three platforms differ in nothing but tracing and take turns, moments apart; a figure is the median of the rounds'
ratios, because machines change speed over minutes.
"""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from benchmarks.targets import Targets, at_least

OFF, SAMPLED, ALL = "off", "sampled_1pct", "all"
MODES = (OFF, SAMPLED, ALL)

TARGETS: Targets = {
    "rps_ratio_tracing_off_sampled1pct": at_least(0.95),
    "violations_kept": at_least(1.0),
}

Round = Mapping[str, float]
"""Requests a second by mode, measured right after one another."""


class Kept(msgspec.Struct, frozen=True):
    """Requests that missed their objective as their callers saw it, and how many of those have a trace of theirs.

    `in_stream` is what `fastgshare trace` finds, `exported` what a collector got.
    """

    missed: int
    in_stream: int
    exported: int

    @property
    def share(self) -> float:
        """Of those missed, the share that is in both places; 0 when none was missed, since nothing was shown."""
        return min(self.in_stream, self.exported) / self.missed if self.missed else 0.0


def order(number: int) -> tuple[str, ...]:
    """Who goes when in a round: everybody is first, in the middle and last equally often."""
    first = number % len(MODES)
    return MODES[first:] + MODES[:first]


def ratio(rounds: Sequence[Round], mode: str) -> float:
    """The rate under `mode` over the rate without tracing: the median over rounds."""
    return median(measured[mode] / measured[OFF] for measured in rounds)


def rates(rounds: Sequence[Round]) -> dict[str, float]:
    """Requests a second by mode, medians."""
    return {mode: round(median(measured[mode] for measured in rounds), 1) for mode in MODES}
