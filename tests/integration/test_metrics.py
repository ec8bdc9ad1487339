"""Metrics of a whole platform: reports on the bus, a page of every service, OTLP, and the bill of what was used."""

from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import msgspec
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from fastgshare.cli.app import app
from fastgshare.client import Client
from fastgshare.client.billing import Bill, Ledger, usage_since
from fastgshare.client.status import SERVICES
from fastgshare.shared import subjects
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionReport, GatewayReport
from fastgshare.shared.telemetry.catalog import CATALOG
from fastgshare.shared.telemetry.service import ENDPOINT
from fastgshare.shared.tracing import new_trace
from tests.integration import functions
from tests.integration.doors import deployed, door, rows, until
from tests.integration.world import WORKER, World, running
from tests.promtool import PROMTOOL, check_page
from tests.shared.telemetry.test_otlp_metrics import receiver

ANSWERED = 7
TRACING = ("gateway", "node_manager")
PATIENCE_S = 40.0
VARIABLES = {
    "FASTGSHARE_USAGE_INTERVAL_S": "0.5",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces",  # nobody is there
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
}

Received = list[ExportMetricsServiceRequest]
Samples = dict[str, list[tuple[dict[str, str], float]]]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Received]]:
    """A platform that writes usage down often, and what it exports."""
    with receiver() as (url, received), pytest.MonkeyPatch.context() as environment:
        for name, value in {**VARIABLES, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{url}/v1/metrics"}.items():
            environment.setenv(name, value)
        with running(tmp_path_factory.mktemp("told")) as world:
            yield world, received


async def reported(client: Client, name: str) -> FunctionReport:
    """What the gateway reports of a function next."""
    heard = await client.bus.connection.subscribe(subjects.REPORT_ALL)
    try:
        report = decode(GatewayReport, (await heard.next_msg(PATIENCE_S)).data)
    finally:
        await heard.unsubscribe()
    return report.functions.get(FunctionName(name), FunctionReport())


async def pages_of(client: Client) -> dict[str, bytes]:
    """Every service's page, as its endpoint gives it."""
    found = await client.status()
    pages: dict[str, bytes] = {}
    for ready in found.services:
        async with door(ready.endpoints[ENDPOINT].removesuffix("/metrics")) as http:
            answer = await http.get("/metrics")
        assert answer.status_code == 200
        pages[ready.service] = answer.content
    return pages


def read(page: bytes) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all that have these labels."""
    return sum(found for has, found in samples.get(name, []) if labels.items() <= has.items())


async def test_what_a_platform_tells_of_requests_and_devices(
    told: tuple[World, Received], tmp_path: Path, name: str
) -> None:
    world, received = told
    async with deployed(world, functions.times(name, tmp_path, 2.0, replicas=1)) as client:
        for _ in range(ANSWERED):
            await client.invoke(name, {"x": rows(1.0)})
        await until(lambda: _answered(client, name))
        report = await reported(client, name)
        assert (report.arrived, report.answered, report.met + report.missed) == (ANSWERED,) * 3
        assert report.whole is not None
        assert sum(report.whole.counts) == ANSWERED
        await until(lambda: _served(client, name))
        pages = await pages_of(client)
        assert set(pages) == set(SERVICES)
        if PROMTOOL is not None:
            for page in pages.values():
                await anyio.to_thread.run_sync(check_page, page)
        samples = {service: read(page) for service, page in pages.items()}
        _check_gateway(samples["gateway"], name)
        _check_node(samples["node_manager"], name)
        assert value(samples["scheduler"], "fastgshare_scheduler_leading") == 1
        assert value(samples["scheduler"], "fastgshare_scheduler_decisions_total", command="place_replica") >= 1
        assert value(samples["profiler"], "fastgshare_build_info", service="profiler") == 1
        await until(lambda: _all_exported(received))


async def test_spans_that_no_collector_takes_are_counted_where_an_alert_sees_them(
    told: tuple[World, Received], tmp_path: Path, name: str
) -> None:
    world, _ = told
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        await client.invoke(name, {"x": rows(1.0)}, trace=new_trace(sampled=True))
        await until(lambda: _spans_lost(client))


async def _spans_lost(client: Client) -> bool:
    pages = await pages_of(client)
    lost = [value(read(pages[one]), "fastgshare_telemetry_dropped_total", signal="spans") for one in TRACING]
    return min(lost) > 0


def _check_gateway(samples: Samples, name: str) -> None:
    assert value(samples, "fastgshare_requests_total", function=name, outcome="answered") == ANSWERED
    assert value(samples, "fastgshare_request_duration_seconds_count", function=name) == ANSWERED
    assert value(samples, "fastgshare_request_stage_duration_seconds_count", stage="execute") == ANSWERED
    assert value(samples, "fastgshare_objective_latency_seconds", function=name) == 2.0
    assert value(samples, "process_cpu_seconds_total") > 0


def _check_node(samples: Samples, name: str) -> None:
    assert value(samples, "fastgshare_device_requests_total", function=name) == ANSWERED
    assert value(samples, "fastgshare_sm_time_seconds_total", function=name, use="serving") > 0
    assert value(samples, "fastgshare_sm_promised_seconds_total", function=name) > 0
    assert value(samples, "fastgshare_replicas", function=name, state="ready") == 1
    assert value(samples, "fastgshare_replica_quota_request_ratio", function=name) == pytest.approx(0.05)
    assert value(samples, "fastgshare_device_healthy") == 1
    known = {metric.prometheus for metrics in CATALOG.values() for metric in metrics}
    assert samples.keys() <= known


async def _answered(client: Client, name: str) -> bool:
    return (await reported(client, name)).answered == ANSWERED


async def _served(client: Client, name: str) -> bool:
    samples = read((await pages_of(client))["node_manager"])
    return value(samples, "fastgshare_device_requests_total", function=name) == ANSWERED


async def _all_exported(received: Received) -> bool:
    names = {
        attribute.value.string_value
        for request in list(received)
        for resource in request.resource_metrics
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    return names == set(SERVICES)


async def test_a_bill_has_every_request_once_over_the_death_of_a_worker(
    told: tuple[World, Received], tmp_path: Path, name: str
) -> None:
    world, _ = told
    async with deployed(world, functions.times(name, tmp_path, 2.0, replicas=1)) as client:
        for _ in range(ANSWERED):
            await client.invoke(name, {"x": rows(1.0)})
        await until(lambda: _billed(client, name, ANSWERED))
        world.kill(WORKER)
        for _ in range(ANSWERED):
            await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENCE_S)
        await until(lambda: _billed(client, name, 2 * ANSWERED))
        samples = read((await pages_of(client))["node_manager"])
        assert value(samples, "fastgshare_device_worker_restarts_total") == 1
    ran = await anyio.to_thread.run_sync(_bill, world)
    (line,) = [line for line in ran.lines if line.name == name]
    assert line.requests == 2 * ANSWERED
    assert min(line.used, line.promised, line.memory) > 0
    assert line.cost == pytest.approx(2.5 * line.used)


async def test_keys_hide_metrics_from_callers_and_not_from_prometheus(
    told: tuple[World, Received], tmp_path: Path, name: str
) -> None:
    world, _ = told
    async with deployed(world, functions.times(name, tmp_path, 2.0, replicas=1)) as client:
        with pytest.raises(RequestRefused):
            await client.invoke(f"{name}-not-there", {"x": rows(1.0)})
        key, _ = await client.keys.create("tests")
        try:
            async with door(world.http_url) as http:

                async def closed() -> bool:
                    return (await http.get("/metrics")).status_code == 401

                await until(closed)
            gateway = read((await pages_of(client))["gateway"])
        finally:
            await client.keys.revoke(key.key)
    assert value(gateway, "fastgshare_refusals_total", door="http", code="unauthorized") >= 1
    assert value(gateway, "fastgshare_refusals_total", door="nats", code="not_found") == 1


def _bill(world: World) -> Bill:
    arguments = ["bill", "--since", "1h", "--price", "2.5", "--json", "--url", world.nats_url]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.output, type=Bill)


async def _billed(client: Client, name: str, requests: int) -> bool:
    ledger = Ledger("function", 0)
    async for record in usage_since(client.bus, 0):
        ledger.add(record)
    return any(line.name == name and line.requests == requests for line in ledger.bill(1, None).lines)
