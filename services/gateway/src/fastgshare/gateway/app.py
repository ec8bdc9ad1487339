"""Wires one gateway: bus, core, the way requests come in, the way the world comes in, HTTP."""

import os
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib.metadata import version

import anyio
from nats.aio.subscription import Subscription

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.feed import Feed
from fastgshare.gateway.adapters.functions import BucketFunctions
from fastgshare.gateway.adapters.ingress import Ingress
from fastgshare.gateway.adapters.invoker import AnswerInbox, BusInvoker
from fastgshare.gateway.adapters.metrics import GatewayMetrics
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.reporter import Reporter
from fastgshare.gateway.adapters.traces import TraceTeller
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.console import ConsoleRoutes
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.keeping import Keeper
from fastgshare.gateway.http import HttpSettings, MetricsRoute, build_app, serve_http
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.config import check_name
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.slots import host_id
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.otlp_spans import open_spans
from fastgshare.shared.telemetry.process import ProcessMetrics
from fastgshare.shared.telemetry.prometheus import PATH
from fastgshare.shared.telemetry.sampling import Sampler, sampling_ratio
from fastgshare.shared.telemetry.service import ENDPOINT, Metrics, resource_attributes
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.units import BYTES_PER_MIB, US_PER_MS
from fastgshare.shared.watching import follow_platform

SERVICE = "gateway"
VERSION = version("fastgshare-gateway")


async def serve(config: GatewayConfig) -> None:
    """Run a gateway until it is told to stop; then take nothing new and finish what is in flight."""
    check_name("instance", config.instance)
    gateway = GatewayId(config.instance)
    trace_ratio = sampling_ratio(config.trace_ratio, os.environ)
    async with AsyncExitStack() as stack:
        data = await stack.enter_async_context(open_bus(BusConfig(config.nats_url, f"{gateway}-data")))
        control = await stack.enter_async_context(open_bus(BusConfig(config.nats_url, gateway)))
        await ensure_storage(control)
        payload_bytes = config.max_payloads_mib * BYTES_PER_MIB
        gatekeeper = Gatekeeper(Limits(config.held_per_function, config.rows_per_replica, payload_bytes))
        traces = await _keep_traces(stack, control, gateway, gatekeeper)
        dispatcher = Dispatcher(data, gateway)
        incarnation = new_incarnation()
        reporter = Reporter(control, gatekeeper, gateway, incarnation)
        inbox = AnswerInbox(data, lambda request_id: dispatcher.enqueue(gatekeeper.nobody_there(request_id, unix_us())))
        await inbox.open()
        newcomers = Newcomers(control, gatekeeper)
        invoker = BusInvoker(data, gatekeeper, dispatcher, inbox, newcomers, host_id())
        stack.callback(invoker.close)
        async with anyio.create_task_group() as work:
            work.start_soon(dispatcher.run)
            work.start_soon(traces.run)
            feed = Feed(control, data, gatekeeper, dispatcher, gateway, incarnation, config)
            await feed.start(work)
            work.start_soon(reporter.run)
            own = ProcessMetrics(SERVICE, gateway, VERSION, data, control)
            metrics = Metrics(own.families, GatewayMetrics(gatekeeper, reporter).families)
            metrics.start_otlp(work, resource_attributes(SERVICE, gateway, VERSION, os.environ))
            overview, stop = Overview(), anyio.Event()
            work.start_soon(follow_platform, control, overview)
            pages = [*MetricsRoute(metrics.page).routes(), *ConsoleRoutes(overview, stop).routes()]
            app = build_app(invoker, BucketFunctions(control), _http_settings(config, trace_ratio), pages)
            serve_app = partial(serve_http, app, config.http_host, config.http_port, stop=stop, grace_s=config.drain_s)
            port = await work.start(serve_app)
            ingress = Ingress(data, gatekeeper, dispatcher, invoker, newcomers, Sampler(trace_ratio), config, work)
            requests = await data.subscribe_prompt(
                subjects.INVOKE_ALL, ingress.on_message, queue=subjects.GATEWAY_QUEUE
            )
            url = f"http://{config.http_host}:{port}"
            await work.start(answer_pings, control, SERVICE, gateway, {"http": url, ENDPOINT: url + PATH})
            await stop_signal()
            stop.set()
            await _take_no_more(requests, config.drain_s)
            await _finish(gatekeeper, dispatcher, config.drain_s)
            await traces.finish()
            await reporter.publish()
            work.cancel_scope.cancel()


async def _keep_traces(stack: AsyncExitStack, bus: Bus, gateway: GatewayId, gatekeeper: Gatekeeper) -> TraceTeller:
    spans = await stack.enter_async_context(open_spans(SERVICE, gateway, os.environ))
    keeper = Keeper(gateway, gatekeeper.fleet, Backlog())
    gatekeeper.watch(keeper.ended)
    return TraceTeller(bus, keeper, spans)


def _http_settings(config: GatewayConfig, trace_ratio: float) -> HttpSettings:
    return HttpSettings(
        gateway=config.instance,
        default_timeout_us=config.default_timeout_ms * US_PER_MS,
        max_timeout_us=config.max_timeout_ms * US_PER_MS,
        max_body_bytes=config.max_body_mib * BYTES_PER_MIB,
        trace_ratio=trace_ratio,
    )


async def _take_no_more(requests: Subscription, drain_s: float) -> None:
    """Requests that the server has sent here already go to nobody else, so they are still taken in."""
    with anyio.move_on_after(drain_s), suppress(*BUS_FAULTS):  # a server that is gone sends nothing
        await requests.drain()


async def _finish(gatekeeper: Gatekeeper, dispatcher: Dispatcher, drain_s: float) -> None:
    for action in gatekeeper.stop(unix_us()):
        await dispatcher.perform(action)
    with anyio.move_on_after(drain_s):
        while gatekeeper.in_flight:
            await anyio.sleep(0.01)
    await dispatcher.finish()
