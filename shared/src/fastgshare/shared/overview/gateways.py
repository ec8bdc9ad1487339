"""What gateways report, as what happened meanwhile: counts of one life of a gateway, taken from each other. Pure.

The first report of a gateway that was there before anyone looked is where counting begins. One of another life, or of
a gateway that came later, counts from nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.messages import FunctionReport, GatewayReport
from fastgshare.shared.overview.traffic import News, news
from fastgshare.shared.units import US_PER_S

SILENT_US = 5 * US_PER_S
"""A gateway that has said nothing for so long has nothing in hand any more."""
FORGOTTEN_US = 3_600 * US_PER_S
_NOTHING = FunctionReport()


class Happened(NamedTuple):
    """What happened to one function at one gateway since `from_us`."""

    function: FunctionName
    news: News
    from_us: int


@dataclass(slots=True)
class _Known:
    report: GatewayReport
    heard_us: int


class Gateways:
    """The last report of each."""

    def __init__(self) -> None:
        self.began_us = 0
        """When the first report of all came; 0: none has yet."""
        self._known: dict[GatewayId, _Known] = {}

    def heard(self, report: GatewayReport, now_us: int) -> Iterator[Happened]:
        """Take in a report; what it tells of that was not told before."""
        self.began_us = self.began_us or now_us
        known = self._known.get(report.gateway)
        self._known[report.gateway] = _Known(report, now_us)
        if known is None and now_us < self.began_us + SILENT_US:
            return
        is_same_life = known is not None and known.report.incarnation == report.incarnation
        before = known.report.functions if known is not None and is_same_life else {}
        from_us = known.heard_us if known is not None else now_us
        for function, counts in report.functions.items():
            if (was := before.get(function, _NOTHING)) == counts:
                continue  # most functions are idle most of the time
            happened = news(was, counts)
            if not happened.is_nothing:
                yield Happened(function, happened, from_us)

    def in_hand(self, function: FunctionName, now_us: int) -> tuple[int, int]:
        """How many requests are dispatched and how many are held, at all gateways that are heard."""
        reports = [
            counts
            for known in self._known.values()
            if known.heard_us > now_us - SILENT_US and (counts := known.report.functions.get(function)) is not None
        ]
        return sum(counts.outstanding for counts in reports), sum(counts.held for counts in reports)

    def forget_silent(self, now_us: int) -> None:
        """Let go of those that have not been heard for an hour."""
        self._known = {
            gateway: known for gateway, known in self._known.items() if known.heard_us > now_us - FORGOTTEN_US
        }
