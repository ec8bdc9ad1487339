"""Metrics go out by OTLP as they stand; what cannot be sent is counted and never waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import anyio
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.histograms import BOUNDS_US, Durations
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.exports import Exports
from fastgshare.shared.telemetry.metrics import Family, by_label, durations, single
from fastgshare.shared.telemetry.otlp_metrics import OtlpMetrics
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.service import export_interval_s

PATIENCE_S = 30.0
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SPREAD = Durations()
SPREAD.add(5_000)


def source() -> Iterator[Family]:
    yield by_label(catalog.ARRIVED, {"fn": 3})
    yield single(catalog.PAYLOADS, 12.5)
    yield Family(catalog.DURATION, spreads=(durations(("fn",), SPREAD.counts, SPREAD.sum_us),))


@contextmanager
def receiver() -> Iterator[tuple[str, list[ExportMetricsServiceRequest]]]:
    """An OTLP endpoint, and what it received."""
    received: list[ExportMetricsServiceRequest] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not a word."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Take) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", received
        server.shutdown()


async def test_metrics_go_out_by_their_names_units_and_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (url, received):
        monkeypatch.setenv(ENDPOINT, url)
        exporting = OtlpMetrics([source], resource_attributes("gateway", "g", "1", {}), 0.05, Exports())
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as work:
                work.start_soon(exporting.run)
                while not received:
                    await anyio.sleep(0.02)
                work.cancel_scope.cancel()
    (resource,) = received[0].resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "gateway"
    assert attributes["service.instance.id"] == "g"
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    arrived = metrics["fastgshare.requests.arrived"]
    assert arrived.unit == "{request}"
    assert arrived.sum.is_monotonic
    assert arrived.sum.data_points[0].attributes[0].key == "fastgshare.function"
    assert metrics["fastgshare.gateway.payloads"].gauge.data_points[0].as_double == 12.5
    histogram = metrics["fastgshare.request.duration"].histogram.data_points[0]
    assert list(histogram.bucket_counts) == SPREAD.counts
    assert list(histogram.explicit_bounds) == [bound / 1e6 for bound in BOUNDS_US]
    assert (histogram.count, histogram.sum, histogram.HasField("min")) == (1, 0.005, False)


async def test_the_last_counts_go_out_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (url, received):
        monkeypatch.setenv(ENDPOINT, url)
        exporting = OtlpMetrics([source], {}, 3_600.0, Exports())
        async with anyio.create_task_group() as work:
            work.start_soon(exporting.run)
            await anyio.wait_all_tasks_blocked()
            work.cancel_scope.cancel()
    assert len(received) == 1


async def test_a_source_that_is_broken_costs_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Family]:
        raise RuntimeError("a fault of somebody's")

    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    exports = Exports()
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as work:
            work.start_soon(OtlpMetrics([broken], {}, 3_600.0, exports).run)
            await anyio.wait_all_tasks_blocked()
            work.cancel_scope.cancel()
    assert list(exports.families()) == [by_label(catalog.DROPPED, {"metrics": 1})]


async def test_an_endpoint_that_is_not_there_costs_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (url, _):
        pass
    monkeypatch.setenv(ENDPOINT, url)
    exports = Exports()
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as work:
            work.start_soon(OtlpMetrics([source], {}, 3_600.0, exports).run)
            await anyio.wait_all_tasks_blocked()
            work.cancel_scope.cancel()
    assert list(exports.families()) == [by_label(catalog.DROPPED, {"metrics": 1})]


@pytest.mark.parametrize(
    ("env", "interval_s"),
    [
        ({}, None),
        ({ENDPOINT: "http://x"}, 60.0),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x", "OTEL_METRIC_EXPORT_INTERVAL": "500"}, 0.5),
        ({ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "true"}, None),
        ({ENDPOINT: "http://x", "OTEL_METRICS_EXPORTER": "none"}, None),
    ],
)
def test_opentelemetrys_variables_mean_what_they_mean(env: dict[str, str], interval_s: float | None) -> None:
    assert export_interval_s(env) == interval_s


@pytest.mark.parametrize("value", ["soon", "0", "-5"])
def test_an_interval_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidConfig, match="OTEL_METRIC_EXPORT_INTERVAL"):
        export_interval_s({ENDPOINT: "http://x", "OTEL_METRIC_EXPORT_INTERVAL": value})
