"""Metrics out by OTLP, at an interval, where OpenTelemetry's own variables name an endpoint.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._METRICS_ENDPOINT`), `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds),
`OTEL_METRICS_EXPORTER=none` and `OTEL_SDK_DISABLED=true` mean what they mean everywhere. An export that fails is
counted and let go: the next carries the same counts and more. The SDK is imported only where it is used.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import anyio
import anyio.to_thread
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from fastgshare.shared.clock import unix_us
from fastgshare.shared.telemetry.catalog import Kind
from fastgshare.shared.telemetry.exports import Exports
from fastgshare.shared.telemetry.metrics import Family, Source, gathered
from fastgshare.shared.units import NS_PER_US

EXPORT_S = 5.0
LAST_EXPORT_S = 2.0
SCOPE = "fastgshare"
SIGNAL = "metrics"
_CUMULATIVE = AggregationTemporality.CUMULATIVE

logger = logging.getLogger(__name__)


class OtlpMetrics:
    """Exports what `sources` tell as the resource that `attributes` name."""

    def __init__(
        self, sources: Sequence[Source], attributes: Mapping[str, str], interval_s: float, exports: Exports
    ) -> None:
        self._sources = sources
        self._resource = Resource.create(dict(attributes))
        self._interval_s = interval_s
        self._exports = exports
        exports.dropped(SIGNAL, 0)
        self._began_ns = unix_us() * NS_PER_US
        self._exporter = OTLPMetricExporter(timeout=EXPORT_S)

    async def run(self) -> None:
        """Export until cancelled, and once more then."""
        try:
            while True:
                await anyio.sleep(self._interval_s)
                await self._export(EXPORT_S)
        finally:
            with anyio.CancelScope(shield=True):
                await self._export(LAST_EXPORT_S)
            self._exporter.shutdown()

    async def _export(self, patience_s: float) -> None:
        """In a thread, for at most so long; one that hangs on is left behind with its deadline."""
        result = MetricExportResult.FAILURE
        try:
            data = self._data(list(gathered(self._sources)), unix_us() * NS_PER_US)
            with anyio.move_on_after(patience_s):
                result = await anyio.to_thread.run_sync(
                    self._exporter.export, data, patience_s * 1000, abandon_on_cancel=True
                )
        except Exception:  # a count that cannot be told must not end the service that counts
            logger.exception("metrics not exported")
        if result is MetricExportResult.FAILURE:
            self._exports.dropped(SIGNAL)

    def _data(self, families: Iterable[Family], now_ns: int) -> MetricsData:
        metrics = [self._metric(family, now_ns) for family in families]
        scope = ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _metric(self, family: Family, now_ns: int) -> Metric:
        metric = family.metric
        data: Sum | Gauge | Histogram
        if metric.kind is Kind.HISTOGRAM:
            data = Histogram(self._spreads(family, now_ns), _CUMULATIVE)
        elif metric.kind is Kind.COUNTER:
            data = Sum(self._points(family, now_ns), _CUMULATIVE, is_monotonic=True)
        else:
            data = Gauge(self._points(family, now_ns))
        return Metric(metric.name, metric.help, metric.unit, data)

    def _points(self, family: Family, now_ns: int) -> list[NumberDataPoint]:
        names = family.metric.labels
        return [
            NumberDataPoint(_attributes(names, value.labels), self._began_ns, now_ns, value.value)
            for value in family.values
        ]

    def _spreads(self, family: Family, now_ns: int) -> list[HistogramDataPoint]:
        names = family.metric.labels
        return [
            HistogramDataPoint(
                attributes=_attributes(names, spread.labels),
                start_time_unix_nano=self._began_ns,
                time_unix_nano=now_ns,
                count=sum(spread.counts),
                sum=spread.total,
                bucket_counts=spread.counts,
                explicit_bounds=spread.bounds,
                min=None,  # type: ignore[arg-type]  # not known, and OTLP lets them be left out
                max=None,  # type: ignore[arg-type]
            )
            for spread in family.spreads
        ]


def _attributes(names: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    return {f"{SCOPE}.{name}": label for name, label in zip(names, labels, strict=True)}
