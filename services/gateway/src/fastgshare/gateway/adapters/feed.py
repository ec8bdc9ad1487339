"""Keeps the core's picture of the world current: mirrors, heartbeats, completions, ticks; and publishes its load."""

import os

import anyio
import anyio.abc
from nats.aio.msg import Msg

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.core.coldstart import ColdStarted
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import FunctionName, GatewayId, ReplicaId, RequestId
from fastgshare.shared.messages import (
    DoneNotice,
    FunctionSpec,
    GatewayLoad,
    NodeStatus,
    Profile,
    ReplicaStatus,
    WorkerHello,
)
from fastgshare.shared.units import US_PER_MS, us_to_s

_LONGEST_TIME = 15  # digits of microseconds: thirty years
COLD_PARTS = tuple(name for name in ColdStarted._fields if name.endswith("_us"))


class Feed:
    """Everything that flows into the core but requests."""

    def __init__(
        self,
        bus: Bus,
        data: Bus,
        gatekeeper: Gatekeeper,
        dispatcher: Dispatcher,
        gateway: GatewayId,
        incarnation: str,
        config: GatewayConfig,
    ) -> None:
        self._bus = bus
        self._data = data
        self._gatekeeper = gatekeeper
        self._dispatcher = dispatcher
        self._gateway = gateway
        self._incarnation = incarnation
        self._config = config

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Return once functions, profiles and replicas are known; then keep following in `tasks`."""
        bus = self._bus
        for mirror in (
            Mirror(bus, subjects.FUNCTIONS, FunctionSpec, self._on_function),
            Mirror(bus, subjects.PROFILES, Profile, self._on_profile),
            Mirror(bus, subjects.REPLICAS, ReplicaStatus, self._on_replica),
        ):
            await tasks.start(mirror.run)
        await bus.listen(subjects.NODE_STATUS_ALL, NodeStatus, self._on_node)
        await bus.listen(subjects.WORKER_HELLO_ALL, WorkerHello, self._on_hello)
        await bus.listen(subjects.done(self._gateway), DoneNotice, self._on_done)
        await self._data.subscribe_prompt(subjects.WITHDRAW_ALL, self._on_withdrawn)
        bus.on_reconnect(lambda: self._gatekeeper.heard_again(unix_us()))
        self._data.on_reconnect(self._on_reconnect)
        tasks.start_soon(self._tick)
        tasks.start_soon(self._publish_load)

    def _on_function(self, key: str, spec: FunctionSpec | None) -> None:
        if spec is not None:
            self._gatekeeper.function_defined(spec)
        else:
            self._dispatcher.enqueue(self._gatekeeper.function_removed(FunctionName(key), unix_us()))

    def _on_profile(self, key: str, profile: Profile | None) -> None:
        if profile is None:
            self._gatekeeper.profile_gone(key)
        else:
            self._gatekeeper.profile_known(profile)

    def _on_replica(self, key: str, status: ReplicaStatus | None) -> None:
        now_us = unix_us()
        if status is not None:
            actions = self._gatekeeper.replica_reported(status, now_us)
        else:
            actions = self._gatekeeper.replica_removed(ReplicaId(key.partition(".")[2]), now_us)
        self._dispatcher.enqueue(actions)

    def _on_node(self, status: NodeStatus) -> None:
        depth = {replica: waiting for device in status.devices for replica, waiting in device.depth.items()}
        self._gatekeeper.node_seen(status.node, unix_us(), depth)

    def _on_hello(self, hello: WorkerHello) -> None:
        self._dispatcher.enqueue(self._gatekeeper.worker_reconnected(hello.device, unix_us()))

    def _on_done(self, notice: DoneNotice) -> None:
        self._gatekeeper.completed(notice, unix_us())

    async def _on_withdrawn(self, msg: Msg) -> None:
        """The subject bears the request's id, as far as one fits; the payload has it in full."""
        request_id = RequestId(msg.data.decode(errors="replace"))
        told = msg.headers.get(subjects.FIRST_PART_US, "") if msg.headers else ""
        first_part_us = int(told) if told.isdecimal() and len(told) <= _LONGEST_TIME else None
        self._dispatcher.enqueue(self._gatekeeper.withdrawn(request_id, unix_us(), first_part_us))

    def _on_reconnect(self) -> None:
        self._dispatcher.enqueue(self._gatekeeper.reconnected(unix_us()))

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(us_to_s(self._config.tick_interval_ms * US_PER_MS))
            self._dispatcher.enqueue(self._gatekeeper.tick(unix_us(), self._bus.is_connected))
            for started in self._gatekeeper.cold_starts.take_ended():
                await self._tell_cold_start(started)

    async def _tell_cold_start(self, started: ColdStarted) -> None:
        parts = {f"{name.removesuffix('_us')}_ms": round(getattr(started, name) / US_PER_MS, 1) for name in COLD_PARTS}
        total_ms = started.total_us / US_PER_MS
        text = f"from no replica to the first answer in {total_ms:.0f} ms"
        await self._bus.tell("cold_start", started.function, text, **parts)

    async def _publish_load(self) -> None:
        while True:
            load = GatewayLoad(
                gateway=self._gateway,
                incarnation=self._incarnation,
                at_us=unix_us(),
                functions=self._gatekeeper.loads(),
                pid=os.getpid(),
            )
            if self._bus.is_connected:
                await self._bus.publish(subjects.load(self._gateway), encode(load))
            await anyio.sleep(us_to_s(self._config.load_interval_ms * US_PER_MS))
