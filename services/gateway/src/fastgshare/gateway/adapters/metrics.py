"""A gateway's metrics: what became of requests, by function, and what is under way."""

from collections.abc import Iterator

from fastgshare.gateway.adapters.reporter import Reporter
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionReport, Histogram
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.metrics import Family, Spread, Value, by_label, durations, rows, single
from fastgshare.shared.units import US_PER_MS, US_PER_S

ANSWERED = "answered"
MS_PER_S = US_PER_S / US_PER_MS
PERCENT = 100.0

Reports = dict[FunctionName, FunctionReport]


class GatewayMetrics:
    """What one gateway tells."""

    def __init__(self, gatekeeper: Gatekeeper, reporter: Reporter, turned_away: TurnedAway) -> None:
        self._gatekeeper = gatekeeper
        self._reporter = reporter
        self._turned_away = turned_away

    def families(self) -> Iterator[Family]:
        """As it is now."""
        reports = self._reporter.report().functions
        yield from _of_requests(reports)
        yield from _of_time(reports)
        refusals = self._turned_away.counted
        yield Family(catalog.REFUSALS, tuple(Value(labels, count) for labels, count in refusals.items()))
        counters = self._gatekeeper.counters
        yield by_label(catalog.LATENESS, {function: counters[function].late for function in reports})
        yield by_label(catalog.RETRIED, {function: counters[function].retried for function in reports})
        specs = self._gatekeeper.functions
        yield by_label(catalog.OBJECTIVE, {name: spec.slo_ms / MS_PER_S for name, spec in specs.items()})
        yield by_label(catalog.OBJECTIVE_TARGET, {name: spec.slo_percentile / PERCENT for name, spec in specs.items()})
        cold = self._gatekeeper.cold_starts.counted
        yield Family(
            catalog.COLD_START,
            spreads=tuple(durations((name,), counted.counts, counted.sum_us) for name, counted in cold.items()),
        )
        yield single(catalog.PAYLOADS, self._gatekeeper.payload_bytes)


def _of_requests(reports: Reports) -> Iterator[Family]:
    yield by_label(catalog.ARRIVED, {function: report.arrived for function, report in reports.items()})
    ends = [
        Value((function, outcome), count)
        for function, report in reports.items()
        for outcome, count in {ANSWERED: report.answered, **report.refused}.items()
    ]
    yield Family(catalog.REQUESTS, tuple(ends))
    results = [
        Value((function, result), count)
        for function, report in reports.items()
        for result, count in (("met", report.met), ("missed", report.missed))
    ]
    yield Family(catalog.OBJECTIVE_REQUESTS, tuple(results))
    yield by_label(catalog.OUTSTANDING, {function: report.outstanding for function, report in reports.items()})
    yield by_label(catalog.HELD, {function: report.held for function, report in reports.items()})


def _of_time(reports: Reports) -> Iterator[Family]:
    whole = [_spread((function,), report.whole) for function, report in reports.items() if report.whole is not None]
    yield Family(catalog.DURATION, spreads=tuple(whole))
    stages = [
        _spread((function, stage), histogram)
        for function, report in reports.items()
        for stage, histogram in report.stages.items()
        if any(histogram.counts)
    ]
    yield Family(catalog.STAGE, spreads=tuple(stages))
    yield Family(
        catalog.BATCH_ROWS,
        spreads=tuple(rows((function,), report.batches) for function, report in reports.items() if report.batches),
    )


def _spread(labels: tuple[str, ...], histogram: Histogram) -> Spread:
    return durations(labels, histogram.counts, histogram.sum_us)
