"""Wires one gateway: bus, core, the way requests come in, the way the world comes in, HTTP."""

from contextlib import AsyncExitStack, suppress
from functools import partial

import anyio
import msgspec
from nats.aio.subscription import Subscription

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.feed import Feed
from fastgshare.gateway.adapters.functions import BucketFunctions
from fastgshare.gateway.adapters.ingress import Ingress
from fastgshare.gateway.adapters.invoker import AnswerInbox, BusInvoker
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.http import HttpSettings, build_app, serve_http
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.config import check_name, host_name
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.slots import host_id
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.units import BYTES_PER_MIB, US_PER_MS

SERVICE = "gateway"


async def serve(config: GatewayConfig) -> None:
    """Run a gateway until it is told to stop; then take nothing new and finish what is in flight."""
    config = msgspec.structs.replace(config, instance=config.instance or host_name())
    check_name("instance", config.instance)
    gateway = GatewayId(config.instance)
    async with AsyncExitStack() as stack:
        access = BusConfig(config.nats_url, gateway, password_file=config.nats_password_file)
        data = await stack.enter_async_context(open_bus(msgspec.structs.replace(access, name=f"{gateway}-data")))
        control = await stack.enter_async_context(open_bus(access))
        await ensure_storage(control)
        payload_bytes = config.max_payloads_mib * BYTES_PER_MIB
        gatekeeper = Gatekeeper(Limits(config.held_per_function, config.rows_per_replica, payload_bytes))
        dispatcher = Dispatcher(data, gateway)
        inbox = AnswerInbox(data, lambda request_id: dispatcher.enqueue(gatekeeper.nobody_there(request_id, unix_us())))
        await inbox.open()
        newcomers = Newcomers(control, gatekeeper)
        invoker = BusInvoker(data, gatekeeper, dispatcher, inbox, newcomers, host_id())
        stack.callback(invoker.close)
        async with anyio.create_task_group() as work:
            work.start_soon(dispatcher.run)
            feed = Feed(control, data, gatekeeper, dispatcher, gateway, new_incarnation(), config)
            await feed.start(work)
            app = build_app(invoker, BucketFunctions(control), _http_settings(config))
            stop = anyio.Event()
            serve_app = partial(serve_http, app, config.http_host, config.http_port, stop=stop, grace_s=config.drain_s)
            port = await work.start(serve_app)
            ingress = Ingress(data, gatekeeper, dispatcher, invoker, newcomers, config, work)
            requests = await data.subscribe_prompt(
                subjects.INVOKE_ALL, ingress.on_message, queue=subjects.GATEWAY_QUEUE
            )
            url = f"http://{config.http_host}:{port}"
            await work.start(answer_pings, control, SERVICE, gateway, {"http": url})
            await stop_signal()
            stop.set()
            await _take_no_more(requests, config.drain_s)
            for action in gatekeeper.stop(unix_us()):
                await dispatcher.perform(action)
            await _finish(gatekeeper, config.drain_s)
            await dispatcher.finish()
            work.cancel_scope.cancel()


def _http_settings(config: GatewayConfig) -> HttpSettings:
    return HttpSettings(
        gateway=config.instance,
        default_timeout_us=config.default_timeout_ms * US_PER_MS,
        max_timeout_us=config.max_timeout_ms * US_PER_MS,
        max_body_bytes=config.max_body_mib * BYTES_PER_MIB,
    )


async def _take_no_more(requests: Subscription, drain_s: float) -> None:
    """Requests that the server has sent here already go to nobody else, so they are still taken in."""
    with anyio.move_on_after(drain_s), suppress(*BUS_FAULTS):  # a server that is gone sends nothing
        await requests.drain()


async def _finish(gatekeeper: Gatekeeper, drain_s: float) -> None:
    with anyio.move_on_after(drain_s):
        while gatekeeper.in_flight:
            await anyio.sleep(0.01)
