"""What became of a gateway's requests, as counts since it started. Pure.

Every request adds to these once, at its end, so counting is all that is done then: one objective compared, and its
durations put into buckets. What they mean (attainment, quantiles, rates) is worked out by whoever reads a report.
"""

from dataclasses import dataclass, field

from fastgshare.gateway.core.ends import HANDED_BACK
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.tickets import Counters, Ticket
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.histograms import Durations
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionLoad, FunctionReport, Histogram, Timing
from fastgshare.shared.objective import is_met

STAGES = ("route", "queue", "token", "handler", "execute")
"""The parts of an answered request that are counted. `handler` is counted of requests that had one alone."""

_KNOWN = frozenset(ErrorCode) | {HANDED_BACK}


@dataclass(slots=True)
class Tally:
    """One function's ends."""

    met: int = 0
    missed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    whole: Durations = field(default_factory=Durations)
    route: Durations = field(default_factory=Durations)
    queue: Durations = field(default_factory=Durations)
    token: Durations = field(default_factory=Durations)
    handler: Durations = field(default_factory=Durations)
    execute: Durations = field(default_factory=Durations)


Told = tuple[FunctionLoad, FunctionReport]
"""A report, and the load that stood as it was made: every end of a request changes that."""


class Reports:
    """Counts every request's end; hung on a gatekeeper by `watch`."""

    def __init__(self) -> None:
        self._tallies: dict[FunctionName, Tally] = {}
        self._told: dict[FunctionName, Told] = {}

    def ended(self, ticket: Ticket, code: str, end_us: int, timing: Timing | None) -> None:
        """A request's end, as the gatekeeper tells it."""
        function = ticket.function
        tally = self._tallies.get(function)
        if tally is None:
            tally = self._tallies[function] = Tally()
        answered_us = ticket.answered_us(end_us, timing)
        met = is_met(code, answered_us, ticket.objective_us, ticket.deadline_us)
        if met:
            tally.met += 1
        elif met is False:
            tally.missed += 1
        if code:
            name = code if code in _KNOWN else ErrorCode.INTERNAL.value
            tally.refused[name] = tally.refused.get(name, 0) + 1
            return
        arrived_us = ticket.arrived_us
        tally.whole.add(answered_us - arrived_us if answered_us > arrived_us else 0)  # it ended by another clock
        dispatched_us = ticket.dispatched_us
        tally.route.add(dispatched_us - arrived_us if dispatched_us > arrived_us else 0)
        if timing is not None:
            _add_stages(tally, timing)

    def functions(self, gatekeeper: Gatekeeper) -> dict[FunctionName, FunctionReport]:
        """The report of every function that had traffic here, or has."""
        loads = gatekeeper.loads()
        if not self._tallies.keys() <= loads.keys():  # functions were removed, and are told of no more
            self._tallies = {function: tally for function, tally in self._tallies.items() if function in loads}
        self._told = {
            function: self._told_of(function, gatekeeper.counters[function], loads[function]) for function in loads
        }
        return {function: report for function, (_, report) in self._told.items()}

    def _told_of(self, function: FunctionName, counters: Counters, load: FunctionLoad) -> Told:
        """Its report, made anew where something happened since the last: most functions are idle most of the time."""
        told = self._told.get(function)
        if told is not None and told[0] == load:
            return told
        return load, _report(self._tallies.get(function, Tally()), counters, load)


def _add_stages(tally: Tally, timing: Timing) -> None:
    """A worker's word, which is not taken for more than it can be: a negative duration has no bucket."""
    queue_us, token_us, execute_us, handler_us = timing.queue_us, timing.token_us, timing.execute_us, timing.handler_us
    if queue_us < 0 or token_us < 0 or execute_us < 0 or handler_us < 0:
        return
    tally.queue.add(queue_us)
    tally.token.add(token_us)
    tally.execute.add(execute_us)
    if handler_us:
        tally.handler.add(handler_us)


def _report(tally: Tally, counters: Counters, load: FunctionLoad) -> FunctionReport:
    return FunctionReport(
        arrived=counters.arrived,
        answered=counters.answered,
        met=tally.met,
        missed=tally.missed,
        failed=counters.failed,
        refused=dict(tally.refused),
        whole=_histogram(tally.whole),
        stages={stage: _histogram(getattr(tally, stage)) for stage in STAGES},
        batches={rows: count for rows, (count, _) in counters.batches.items()},
        outstanding=load.outstanding,
        held=load.held,
    )


def _histogram(durations: Durations) -> Histogram:
    return Histogram(tuple(durations.counts), durations.sum_us)
