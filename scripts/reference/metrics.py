"""The page of metrics, from the table of them."""

from collections.abc import Iterator

from fastgshare.shared.histograms import BOUNDS_US
from fastgshare.shared.telemetry.catalog import CATALOG, Kind, Metric
from fastgshare.shared.units import US_PER_S

HEAD = """# Metrics

Made from the metric table in the code, `fastgshare.shared.telemetry.catalog`.

Every service tells its metrics in two ways, from the same counts:

- **Prometheus** fetches a page at `/metrics` of `FASTGSHARE_METRICS_PORT` (0, the default: nowhere) on
  `FASTGSHARE_METRICS_HOST`. That port asks for no API key and is meant for a network of your own. `fastgshare up` gives
  each service one; `fastgshare status` shows them. A gateway has the page on its HTTP port too, for keys with the scope
  `read` once there are keys.
- **OTLP**: where `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`) is set, they are sent there
  every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (60,000), and once more as the service stops.
  `OTEL_METRICS_EXPORTER=none`, `OTEL_SDK_DISABLED`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` mean what they
  mean everywhere.

Names are OpenTelemetry's; Prometheus' follow by OpenTelemetry's rules. A label `function` there is the attribute
`fastgshare.function` here.

Requests only add to integers: about 1.4 microseconds of a gateway's processor time each, and 0.3 of a worker's (two
crowded cores, no more than that where it is quiet). Everything else is worked out when somebody asks.

`compose/prometheus` has the rules for attainment and error-budget burn over 5 minutes to 6 hours, and alerts;
`compose/grafana` a dashboard. **Attainment** is met / (met + missed) of `fastgshare.objective.requests`: a request is
*missed* when its answer came later than the objective, or when it was refused or failed by no fault of its caller's;
what callers bring about themselves counts as neither: a bad request, a key that may not, a request taken back before
the objective had passed (after that, with no part of it there, it is missed), one that ran out of time or was refused
for load under a deadline sooner than the objective. An answer in parts lasts until its first part, here and in
`fastgshare.request.duration`.
**Burn** is what was missed over what the objective's percentile lets be missed: at 1 the error budget just lasts.
**Goodput** is the rate of `met`.

`fastgshare bill` adds up the same SM time from records that nodes write into the stream `usage` every
`FASTGSHARE_USAGE_INTERVAL_S` (10) seconds, which survive restarts; these counters begin anew with their service.
"""


def page() -> str:
    """The page's text."""
    sections = [_section(title, metrics) for title, metrics in CATALOG.items()]
    return "\n".join([HEAD, *sections, _buckets()])


def _section(title: str, metrics: tuple[Metric, ...]) -> str:
    return "\n".join([f"## {title[0].upper()}{title[1:]}\n", *_table(metrics), ""])


def _table(metrics: tuple[Metric, ...]) -> Iterator[str]:
    yield "| OpenTelemetry | Prometheus | kind | unit | labels | |"
    yield "|---|---|---|---|---|---|"
    for metric in metrics:
        series = f"{metric.prometheus}_bucket, _sum, _count" if metric.kind is Kind.HISTOGRAM else metric.prometheus
        labels = ", ".join(metric.labels)
        unit = f"`{metric.unit}`" if metric.unit else ""
        yield f"| `{metric.name}` | `{series}` | {metric.kind.value} | {unit} | {labels} | {metric.help} |"


def _buckets() -> str:
    bounds = ", ".join(f"{bound / US_PER_S:g}" for bound in BOUNDS_US)
    return f"## Buckets\n\nDurations are counted in buckets up to (seconds): {bounds}; and above.\n"
