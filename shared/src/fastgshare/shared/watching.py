"""Keeps an overview of a running platform current, for whoever shows one: only reads, and asks who is there.

Buckets are mirrored; heartbeats, reports and events are heard as they are published. Of requests from before, what
gateways have seen is asked for once one of them has reported, so that counting goes on from there. Of events from
before, those that are kept are read at the beginning and after every time the server was away: the newest, and the
last of each kind and function however long ago it was.

What it costs a gateway, which follows as long as it runs so that attainment over an hour is there for whoever opens a
console: 2 ms of processor time a second for each gateway that reports 50 functions, all of them busy, and 1 ms for 16
nodes of one device each (measured on two crowded cores).
"""

import logging
from contextlib import nullcontext, suppress
from functools import partial

import anyio
import anyio.abc
import nats.errors
from nats.aio.msg import Msg
from nats.js import api

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, Mirror
from fastgshare.shared.bus import CONTROL_TIMEOUT_S, Bus, is_no_responders
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import (
    Event,
    FunctionSpec,
    GatewayReport,
    NodeStatus,
    PastTraffic,
    Profile,
    ReplicaStatus,
    ServiceReady,
)
from fastgshare.shared.overview.fold import Overview

SERVICES = ("gateway", "scheduler", "profiler", "node_manager")
PING_EVERY_S = 5.0
FIRST_HEARTBEAT_S = 1.0
RECENT_EVENTS = 500
FETCH_TIMEOUT_S = 2.0
AGAIN_S = 5.0
"""How long kept events that could not be read are left alone."""
CONSUMER_INACTIVE_S = 10.0

logger = logging.getLogger(__name__)


async def follow_platform(
    bus: Bus, overview: Overview, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Feed `overview` until cancelled; reports started once there is something to show.

    That is when the buckets and kept events were read, a node was heard and a gateway told of the past, or a second
    later. A server that is away is waited for.
    """
    await _Following(bus, overview).run(task_status)


class _Following:
    def __init__(self, bus: Bus, overview: Overview) -> None:
        self._bus = bus
        self._overview = overview
        self._node_heard = anyio.Event()
        self._report_heard = anyio.Event()
        self._past_told = anyio.Event()
        self._returned = anyio.Event()

    async def run(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        bus, overview = self._bus, self._overview
        inbox, past_inbox = bus.connection.new_inbox(), bus.connection.new_inbox()
        bus.on_reconnect(self._on_reconnect)
        subscriptions = []
        try:
            subscriptions.append(await bus.listen(subjects.NODE_STATUS_ALL, NodeStatus, self._on_node))
            subscriptions.append(await bus.listen(subjects.REPORT_ALL, GatewayReport, self._on_report))
            subscriptions.append(await bus.listen(subjects.EVENT_ALL, Event, overview.event))
            subscriptions.append(await bus.subscribe(inbox, self._on_ready))
            subscriptions.append(await bus.subscribe(past_inbox, self._on_past))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._ping, inbox)
                for mirror in (
                    Mirror(bus, subjects.FUNCTIONS, FunctionSpec, overview.function),
                    Mirror(bus, subjects.REPLICAS, ReplicaStatus, overview.replica),
                    Mirror(bus, subjects.PROFILES, Profile, overview.profile),
                ):
                    await tasks.start(mirror.run)
                await tasks.start(self._read_kept)
                tasks.start_soon(self._ask_for_past, past_inbox)
                with anyio.move_on_after(FIRST_HEARTBEAT_S):
                    await self._node_heard.wait()
                    await self._past_told.wait()
                task_status.started()
        finally:
            bus.forget_reconnect(self._on_reconnect)
            with anyio.CancelScope(shield=True), anyio.move_on_after(1), suppress(*BUS_FAULTS):
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    def _on_node(self, status: NodeStatus) -> None:
        self._overview.node(status, unix_us())
        self._node_heard.set()

    def _on_report(self, report: GatewayReport) -> None:
        self._overview.report(report, unix_us())
        self._report_heard.set()

    async def _on_ready(self, msg: Msg) -> None:
        if is_no_responders(msg):
            return
        try:
            self._overview.service(decode(ServiceReady, msg.data), unix_us())
        except PayloadInvalid as error:
            logger.warning("answer to a ping ignored: %s", error)

    async def _on_past(self, msg: Msg) -> None:
        if not is_no_responders(msg):  # gateways of before this was asked know no answer
            try:
                self._overview.believe(decode(PastTraffic, msg.data), unix_us())
            except PayloadInvalid as error:
                logger.warning("what was told of the past ignored: %s", error)
        self._past_told.set()

    def _on_reconnect(self) -> None:
        self._returned.set()

    async def _ping(self, inbox: str) -> None:
        while True:
            if self._bus.is_connected:
                with suppress(nats.errors.Error):  # the next one will do
                    for service in SERVICES:
                        await self._bus.publish(subjects.ping(service), b"", inbox)
            await anyio.sleep(PING_EVERY_S)

    async def _ask_for_past(self, inbox: str) -> None:
        """Once the first report is here, from which counting goes on; without an answer it begins there."""
        await self._report_heard.wait()
        with suppress(nats.errors.Error):
            await self._bus.publish(subjects.PAST, b"", inbox)

    async def _read_kept(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        while True:
            self._returned = anyio.Event()
            are_read = await self._are_read()
            task_status.started()
            task_status = anyio.TASK_STATUS_IGNORED
            with nullcontext() if are_read else anyio.move_on_after(AGAIN_S):
                await self._returned.wait()

    async def _are_read(self) -> bool:
        """Whether the kept events were read; JetStream may be too busy now, or gone with the server."""
        try:
            with anyio.move_on_after(2 * CONTROL_TIMEOUT_S), self._bus.until_reconnected():
                await _kept(self._bus, self._overview)
                return True
        except BUS_FAULTS as error:
            logger.info("kept events not read: %s", str(error) or type(error).__name__)
        return False


async def _kept(bus: Bus, overview: Overview) -> None:
    info = await bus.jetstream.stream_info(subjects.EVENT_STREAM)
    newest_from = max(1, info.state.last_seq - RECENT_EVENTS + 1)
    read = partial(_read, bus, overview)
    await read(api.ConsumerConfig(deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT))
    await read(api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=newest_from))


async def _read(bus: Bus, overview: Overview, config: api.ConsumerConfig) -> None:
    """Take in what a consumer made for this has to give, of the newest so many."""
    config.ack_policy = api.AckPolicy.NONE
    config.inactive_threshold = CONSUMER_INACTIVE_S
    config.mem_storage = True
    reading = await bus.jetstream.pull_subscribe(subjects.EVENT_ALL, stream=subjects.EVENT_STREAM, config=config)
    try:
        pending = (await reading.consumer_info()).num_pending or 0
        messages = await reading.fetch(min(pending, 2 * RECENT_EVENTS), timeout=FETCH_TIMEOUT_S) if pending else []
    finally:
        await reading.unsubscribe()
    for msg in messages:
        try:
            overview.event(decode(Event, msg.data))
        except PayloadInvalid as error:
            logger.warning("kept event on %s ignored: %s", msg.subject, error)
