"""A service's metrics, told: as a page on a port of their own, and by OTLP, each where it is asked for."""

import logging
import os
from collections.abc import Mapping

import anyio.abc

from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.telemetry.exports import Exports
from fastgshare.shared.telemetry.metrics import Source, gathered
from fastgshare.shared.telemetry.pages import PagePort
from fastgshare.shared.telemetry.prometheus import PATH, page
from fastgshare.shared.units import US_PER_MS, us_to_s

ENDPOINT = "metrics"
"""Where it is found among a service's endpoints."""
INTERVAL_VARIABLE = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MS = 60_000

logger = logging.getLogger(__name__)


class Metrics:
    """What all of a process's sources tell."""

    def __init__(self, *sources: Source) -> None:
        self.exports = Exports()
        self._sources = [*sources, self.exports.families]

    def add(self, source: Source) -> None:
        """One more."""
        self._sources.append(source)

    def page(self) -> bytes:
        """All of them for Prometheus."""
        return page(gathered(self._sources))

    async def start_page(self, work: anyio.abc.TaskGroup, host: str, port: int) -> dict[str, str]:
        """Serve the page in `work` unless `port` is 0; the endpoint to tell, none where the port is not to be had.

        What a service is there for does not depend on whether anybody can watch it.
        """
        if not port:
            return {}
        try:
            bound = await work.start(PagePort(self.page).serve, host, port)
        except OSError as error:
            logger.error("no metrics on %s:%d: %s", host, port, error)
            return {}
        return {ENDPOINT: f"http://{host}:{bound}{PATH}"}

    def start_otlp(self, work: anyio.abc.TaskGroup, attributes: Mapping[str, str]) -> None:
        """Export in `work` if the environment names an endpoint. Raises InvalidConfig."""
        interval_s = export_interval_s(os.environ)
        if interval_s is None:
            return
        from fastgshare.shared.telemetry.otlp_metrics import OtlpMetrics

        exporting = OtlpMetrics(self._sources, attributes, interval_s, self.exports)
        work.start_soon(exporting.run)


def export_interval_s(env: Mapping[str, str]) -> float | None:
    """How often metrics go out by OTLP; None where nobody asked for it. Raises InvalidConfig."""
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_METRICS_EXPORTER") == "none":
        return None
    if not (env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")):
        return None
    value = env.get(INTERVAL_VARIABLE) or str(_INTERVAL_MS)
    try:
        interval_ms = int(value)
    except ValueError:
        interval_ms = 0
    if interval_ms <= 0:
        raise InvalidConfig(setting=INTERVAL_VARIABLE, value=value, expected="a number of milliseconds above 0")
    return us_to_s(interval_ms * US_PER_MS)
