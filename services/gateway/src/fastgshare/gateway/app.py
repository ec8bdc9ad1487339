"""Wires one gateway: bus, core, the way requests come in, the way the world comes in, HTTP."""

import os
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import anyio
import anyio.abc
import msgspec
from nats.aio.subscription import Subscription
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.doorkeeper import KeyDoor
from fastgshare.gateway.adapters.feed import Feed
from fastgshare.gateway.adapters.functions import BucketFunctions
from fastgshare.gateway.adapters.ingress import Ingress
from fastgshare.gateway.adapters.invoker import BusInvoker
from fastgshare.gateway.adapters.jobs import JobRunner
from fastgshare.gateway.adapters.metrics import GatewayMetrics
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.past import tell_past
from fastgshare.gateway.adapters.reporter import Reporter
from fastgshare.gateway.adapters.traces import TraceTeller
from fastgshare.gateway.adapters.waiting import AnswerInbox
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.console import ConsoleRoutes
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.keeping import Keeper
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.http import BodyBudget, HttpSettings, MetricsRoute, build_app, serve_http, sweep_uploads
from fastgshare.gateway.ports import Doorkeeper, Functions
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.config import check_name, host_name
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.slots import host_id
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.otlp_spans import open_spans
from fastgshare.shared.telemetry.process import ProcessMetrics
from fastgshare.shared.telemetry.prometheus import PATH
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.sampling import Sampler, sampling_ratio
from fastgshare.shared.telemetry.service import ENDPOINT, Metrics
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.units import BYTES_PER_MIB, US_PER_MS, us_to_s
from fastgshare.shared.watching import follow_platform

SERVICE = "gateway"
VERSION = version("fastgshare-gateway")
LAST_TRACES_S = 2.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """What all doors stand before."""

    gateway: GatewayId
    incarnation: str
    control: Bus
    data: Bus
    jobs: Bus
    gatekeeper: Gatekeeper
    dispatcher: Dispatcher
    newcomers: Newcomers
    turned_away: TurnedAway
    invoker: BusInvoker
    traces: TraceTeller
    reporter: Reporter
    sampler: Sampler


async def serve(config: GatewayConfig) -> None:
    """Run a gateway until it is told to stop; then take nothing new and finish what is in flight."""
    config = msgspec.structs.replace(config, instance=config.instance or host_name())
    check_name("instance", config.instance)
    async with AsyncExitStack() as stack:
        parts = await _open_parts(stack, config)
        async with anyio.create_task_group() as work:
            work.start_soon(parts.dispatcher.run)
            work.start_soon(parts.traces.run)
            work.start_soon(parts.reporter.run)
            await _start_feed(parts, config, work)
            runner = _job_runner(parts, config)
            work.start_soon(runner.run)
            stop = anyio.Event()
            endpoints = await _start_doors(parts, runner, config, stop, work)
            requests = await _start_ingress(parts, config, work)
            await work.start(answer_pings, parts.control, SERVICE, parts.gateway, endpoints)
            await stop_signal()
            stop.set()
            runner.take_no_more()
            await _finish(parts, runner, requests, config.drain_s)
            work.cancel_scope.cancel()


async def _open_parts(stack: AsyncExitStack, config: GatewayConfig) -> Gateway:
    gateway, incarnation = GatewayId(config.instance), new_incarnation()
    sampler = Sampler(sampling_ratio(config.trace_ratio, os.environ))
    control, data, jobs = await _open_buses(stack, config, gateway)
    gatekeeper = Gatekeeper(_limits(config))
    dispatcher = Dispatcher(data, gateway)
    inbox = AnswerInbox(data, lambda request_id: dispatcher.enqueue(gatekeeper.nobody_there(request_id, unix_us())))
    await inbox.open()
    newcomers = Newcomers(control, gatekeeper)
    turned_away = TurnedAway()
    invoker = BusInvoker(data, gatekeeper, dispatcher, inbox, newcomers, turned_away, host_id())
    stack.callback(invoker.close)
    return Gateway(
        gateway=gateway,
        incarnation=incarnation,
        control=control,
        data=data,
        jobs=jobs,
        gatekeeper=gatekeeper,
        dispatcher=dispatcher,
        newcomers=newcomers,
        turned_away=turned_away,
        invoker=invoker,
        traces=await _keep_traces(stack, control, gateway, gatekeeper),
        reporter=Reporter(control, gatekeeper, gateway, incarnation),
        sampler=sampler,
    )


def _job_runner(parts: Gateway, config: GatewayConfig) -> JobRunner:
    most = config.concurrent_jobs
    return JobRunner(parts.jobs, parts.gateway, parts.invoker, parts.gatekeeper, parts.sampler, most)


async def _start_feed(parts: Gateway, config: GatewayConfig, work: anyio.abc.TaskGroup) -> None:
    """Return once functions, profiles and replicas are known."""
    feed = Feed(
        parts.control,
        parts.data,
        parts.gatekeeper,
        parts.dispatcher,
        parts.gateway,
        parts.incarnation,
        config,
    )
    await feed.start(work)


async def _start_ingress(parts: Gateway, config: GatewayConfig, work: anyio.abc.TaskGroup) -> Subscription:
    ingress = Ingress(
        parts.data,
        parts.gatekeeper,
        parts.dispatcher,
        parts.invoker,
        parts.newcomers,
        parts.turned_away,
        parts.sampler,
        config,
        work,
    )
    return await parts.data.subscribe_prompt(subjects.INVOKE_ALL, ingress.on_message, queue=subjects.GATEWAY_QUEUE)


async def _start_doors(
    parts: Gateway, runner: JobRunner, config: GatewayConfig, stop: anyio.Event, work: anyio.abc.TaskGroup
) -> dict[str, str]:
    """HTTP and gRPC; what is served where."""
    doorkeeper = await _start_doorkeeper(parts.control, parts.gateway, config, work)
    functions = BucketFunctions(parts.control)
    metrics = _start_metrics(parts, work)
    http = _http_settings(config, parts.sampler.ratio)
    sweep_uploads(Path(http.upload_directory), us_to_s(unix_us()))
    budget = BodyBudget(http.max_bodies_bytes)
    app = build_app(
        parts.invoker,
        functions,
        http,
        [*MetricsRoute(metrics.page).routes(), *_start_console(parts.control, parts.gateway, stop, work)],
        doorkeeper=doorkeeper,
        jobs=runner.queue,
        turned_away=parts.turned_away,
        budget=budget,
    )
    endpoints = await _start_http(app, config, stop, work)
    endpoints |= await metrics.start_page(work, config.metrics_host, config.metrics_port)
    if config.grpc_port >= 0:
        endpoints["grpc"] = await _start_grpc(parts, functions, doorkeeper, budget, config, stop, work)
    return endpoints


async def _open_buses(stack: AsyncExitStack, config: GatewayConfig, gateway: GatewayId) -> list[Bus]:
    """The connections for control, for requests and for jobs, none of which waits for another's bytes."""
    names = (gateway, f"{gateway}-data", f"{gateway}-jobs")
    access = BusConfig(config.nats_url, password_file=config.nats_password_file)
    buses = [await stack.enter_async_context(open_bus(msgspec.structs.replace(access, name=name))) for name in names]
    await ensure_storage(buses[0])
    return buses


async def _start_http(
    app: ASGIApp, config: GatewayConfig, stop: anyio.Event, work: anyio.abc.TaskGroup
) -> dict[str, str]:
    """What is served where."""
    serve_app = partial(serve_http, app, config.http_host, config.http_port, stop=stop, grace_s=config.drain_s)
    port = await work.start(serve_app)
    url = f"http://{config.http_host}:{port}"
    return {"http": url, ENDPOINT: url + PATH}


async def _start_grpc(
    parts: Gateway,
    functions: Functions,
    doorkeeper: Doorkeeper,
    budget: BodyBudget,
    config: GatewayConfig,
    stop: anyio.Event,
    work: anyio.abc.TaskGroup,
) -> str:
    """Its address."""
    from fastgshare.gateway.grpc import GrpcSettings, Inside, serve_grpc  # a gateway without it does without grpcio

    settings = GrpcSettings(
        default_timeout_us=config.default_timeout_ms * US_PER_MS,
        max_timeout_us=config.max_timeout_ms * US_PER_MS,
        max_message_bytes=config.grpc_message_mib * BYTES_PER_MIB,
        max_incoming_bytes=config.grpc_incoming_mib * BYTES_PER_MIB,
    )
    inside = Inside(parts.invoker, functions, doorkeeper, settings, parts.sampler, parts.turned_away, budget)
    serve_door = partial(serve_grpc, inside, config.grpc_host, config.grpc_port, stop=stop, grace_s=config.drain_s)
    port = await work.start(serve_door)
    return f"{config.grpc_host}:{port}"


def _limits(config: GatewayConfig) -> Limits:
    payload_bytes = config.max_payloads_mib * BYTES_PER_MIB
    return Limits(config.held_per_function, config.rows_per_replica, payload_bytes)


def _start_metrics(parts: Gateway, work: anyio.abc.TaskGroup) -> Metrics:
    own = ProcessMetrics(SERVICE, parts.gateway, VERSION, parts.data, parts.control, parts.jobs)
    metrics = Metrics(own.families, GatewayMetrics(parts.gatekeeper, parts.reporter, parts.turned_away).families)
    metrics.exports.watch("traces", lambda: parts.traces.dropped)
    metrics.exports.watch("spans", lambda: parts.traces.spans_dropped)
    metrics.start_otlp(work, resource_attributes(SERVICE, parts.gateway, VERSION, os.environ))
    return metrics


def _start_console(bus: Bus, gateway: GatewayId, stop: anyio.Event, work: anyio.abc.TaskGroup) -> list[BaseRoute]:
    """The console's routes, and the overview that it shows and that others may begin with."""
    overview = Overview()
    work.start_soon(follow_platform, bus, overview)
    work.start_soon(tell_past, bus, gateway, overview)
    return ConsoleRoutes(overview, stop).routes()


async def _start_doorkeeper(bus: Bus, gateway: GatewayId, config: GatewayConfig, work: anyio.abc.TaskGroup) -> KeyDoor:
    """The doorkeeper, once it knows every key."""
    doorkeeper = KeyDoor(bus, gateway, always_closed=config.require_keys)
    await doorkeeper.start(work)
    return doorkeeper


async def _keep_traces(stack: AsyncExitStack, bus: Bus, gateway: GatewayId, gatekeeper: Gatekeeper) -> TraceTeller:
    spans = await stack.enter_async_context(
        open_spans(resource_attributes(SERVICE, gateway, VERSION, os.environ), os.environ)
    )
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
        upload_directory=config.upload_dir or tempfile.gettempdir(),
    )


async def _take_no_more(requests: Subscription, drain_s: float) -> None:
    """Requests that the server has sent here already go to nobody else, so they are still taken in."""
    with anyio.move_on_after(drain_s), suppress(*BUS_FAULTS):  # a server that is gone sends nothing
        await requests.drain()


async def _finish(parts: Gateway, runner: JobRunner, requests: Subscription, drain_s: float) -> None:
    """Jobs go back to the queue; requests that somebody waits for are answered here."""
    await _take_no_more(requests, drain_s)
    await runner.finish(drain_s)
    for action in parts.gatekeeper.stop(unix_us()):
        await parts.dispatcher.perform(action)
    with anyio.move_on_after(drain_s):
        while parts.gatekeeper.in_flight:
            await anyio.sleep(0.01)
    await parts.dispatcher.finish()
    with anyio.move_on_after(LAST_TRACES_S):
        await parts.traces.finish()
    await parts.reporter.publish()
