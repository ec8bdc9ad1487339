"""Wires one device worker: its own bus connection, the device, and the commands of its manager."""

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from fastgshare.node_manager.config import WorkerConfig, check_name
from fastgshare.node_manager.core.accounts import Use
from fastgshare.node_manager.core.spending import Spending
from fastgshare.node_manager.devices.catalog import DeviceName, gpu_uuid, open_device
from fastgshare.node_manager.devices.faults import DeviceLost, DeviceUnavailable
from fastgshare.node_manager.devices.ports import Device
from fastgshare.node_manager.ipc.channel import Channel, open_channel
from fastgshare.node_manager.ipc.frames import ChannelClosed, Dialect
from fastgshare.node_manager.protocol import (
    DeviceFaulted,
    Drain,
    FromWorker,
    Load,
    Pulse,
    ReplicaDrained,
    Resize,
    Shutdown,
    ToWorker,
    WorkerReady,
)
from fastgshare.node_manager.worker.answers import Answers
from fastgshare.node_manager.worker.device_lock import hold_device, lock_path
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.replica import Replica
from fastgshare.node_manager.worker.traces import SpanTeller
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.ids import DeviceId, Digest, ReplicaId
from fastgshare.shared.messages import Profile, ReplicaUse, WorkerHello
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.objects import Objects
from fastgshare.shared.service import rss_mib
from fastgshare.shared.telemetry.otlp_spans import Spans, open_spans
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.typed import msgpack_decoder
from fastgshare.shared.units import US_PER_MS, US_PER_S, us_to_s

SERVICE = "node_manager"
VERSION = version("fastgshare-node-manager")
LAST_SPANS_S = 2.0
SWITCH_INTERVAL_S = 0.0005
FLUSH_S = 1.0

logger = logging.getLogger(__name__)

ManagerChannel = Channel[FromWorker, ToWorker]


class WorkerFault(FastGShareError):
    """A replica's thread ended by an error that no replica can be blamed for: field `reason`."""


class Worker:
    """Carries out the manager's commands."""

    def __init__(self, config: WorkerConfig, channel: ManagerChannel, bus: Bus, device: Device, spans: Spans) -> None:
        self._config = config
        self._channel = channel
        self._bus = bus
        self._incarnation = new_incarnation()
        self._replicas: dict[ReplicaId, Replica] = {}
        self._spending = Spending()
        self._looked_us = monotonic_us()
        self._fault: BaseException | None = None
        self._fault_seen = anyio.Event()
        self._back_on_bus = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._profiles = Mirror(bus, subjects.PROFILES, Profile, self._on_profile)
        interval_s = us_to_s(config.notice_interval_ms * US_PER_MS)
        self._answers = Answers(bus, self._incarnation, self._depth_of, interval_s, config.notice_batch)
        self._spans = SpanTeller(spans, DeviceId(config.device_id))
        self._parts = Parts(
            bus=bus,
            objects=Objects(bus),
            device=device,
            gate=TokenGate(device.chunks, config.window_ms * US_PER_MS),
            answers=self._answers,
            config=config,
            report=channel.send_nowait,
            on_fault=self._on_fault,
            profile_of=self._profile_of,
            spans=self._spans,
        )

    async def run(self) -> None:
        """Serve until the manager says shutdown or is gone."""
        shutil.rmtree(self._parts.workdir, ignore_errors=True)  # what a killed life left behind
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._profiles.run)
            tasks.start_soon(self._answers.send)
            tasks.start_soon(self._answers.notify)
            tasks.start_soon(self._spans.run)
            tasks.start_soon(self._pulse)
            tasks.start_soon(self._raise_fault)
            self._bus.on_reconnect(self._back_on_bus.set)
            tasks.start_soon(self._say_hello_again)
            await self._say_hello()
            device = self._parts.device
            self._channel.send_nowait(
                WorkerReady(self._incarnation, device.kind, device.chunks, device.memory_mib, device.sms)
            )
            await self._obey(tasks)
            await self._drain_all()
            with anyio.move_on_after(LAST_SPANS_S):
                await self._spans.finish()
            with suppress(ChannelClosed):
                self._channel.send_nowait(await self._take_pulse())  # what was spent since the last one
            tasks.cancel_scope.cancel()

    async def _obey(self, tasks: anyio.abc.TaskGroup) -> None:
        while (command := await self._channel.receive()) is not None:
            match command:
                case Load(placement):
                    self._spending.loaded(placement)
                    replica = Replica(placement, self._parts, tasks)
                    self._replicas[placement.replica] = replica
                    tasks.start_soon(self._live, replica)
                case Resize(placement):
                    held = self._replicas.get(placement.replica)
                    if held is not None:
                        held.resize(placement)
                case Drain(replica_id):
                    known = self._replicas.get(replica_id)
                    if known is not None:
                        known.drain()
                    else:
                        self._channel.send_nowait(ReplicaDrained(replica_id))
                case Shutdown():
                    return

    async def _live(self, replica: Replica) -> None:
        try:
            await replica.run()
        finally:
            self._replicas.pop(replica.replica, None)

    async def _drain_all(self) -> None:
        for replica in self._replicas.values():
            replica.drain()
        with anyio.move_on_after(self._config.drain_s):
            while self._replicas or not self._answers.idle:
                await anyio.sleep(0.01)

    async def _pulse(self) -> None:
        while True:
            self._channel.send_nowait(await self._take_pulse())
            await anyio.sleep(us_to_s(self._config.status_interval_ms * US_PER_MS))

    async def _take_pulse(self) -> Pulse:
        hung = self._parts.gate.hung(self._config.hung_s * US_PER_S)
        if hung is not None:
            reason = f"{hung} has not come back from a batch for more than {self._config.hung_s} s"
            self._on_fault(DeviceLost(device=self._config.device_id, reason=reason))
        state = await anyio.to_thread.run_sync(self._parts.device.state)
        now_us = monotonic_us()
        elapsed_us, self._looked_us = max(now_us - self._looked_us, 1), now_us
        had = self._parts.gate.take_use()
        return Pulse(
            depth={replica.replica: replica.depth for replica in self._replicas.values()},
            rss_mib=rss_mib(),
            healthy=state.healthy,
            reason=state.reason,
            used_mib=state.used_mib,
            models=state.models,
            use={name: self._use(name, had[name], elapsed_us) for name in had.keys() & self._replicas.keys()},
            gauges=state.gauges,
            running=self._parts.gate.running(),
            spent=self._spending.take(had, self._answers.take_answered(), self._replicas.keys()),
            dropped={"traces": self._spans.dropped, "spans": self._spans.spans_dropped},
        )

    async def _say_hello_again(self) -> None:
        while True:
            await self._back_on_bus.wait()
            self._back_on_bus.clear()
            await self._say_hello()

    async def _say_hello(self) -> None:
        device = DeviceId(self._config.device_id)
        hello = WorkerHello(device=device, incarnation=self._incarnation)
        await self._bus.publish(subjects.worker_hello(device), encode(hello))

    async def _raise_fault(self) -> None:
        await self._fault_seen.wait()
        fault = self._fault
        if isinstance(fault, DeviceLost):
            self._channel.send_nowait(DeviceFaulted(str(fault.fields["reason"])))
            raise fault
        raise WorkerFault(reason=f"{type(fault).__name__}: {fault}") from fault

    def _on_fault(self, error: BaseException) -> None:
        """In a replica's thread: end the process, the manager starts a new one."""
        self._fault = self._fault or error  # the first tells what happened, others what came of it
        self._loop.call_soon_threadsafe(self._fault_seen.set)

    def _on_profile(self, _key: str, profile: Profile | None) -> None:
        if profile is None or profile.device_kind != self._parts.device.kind:
            return
        for replica in self._replicas.values():
            if replica.placement.function.model.digest == profile.model_digest:
                replica.learn_profile(profile)

    def _profile_of(self, digest: Digest) -> Profile | None:
        key = subjects.profile_key(digest, self._parts.device.kind)
        return self._profiles.values.get(key)

    def _use(self, replica: ReplicaId, had: Use, elapsed_us: int) -> ReplicaUse:
        known = self._replicas.get(replica)
        return ReplicaUse(
            time_share=round(had.used_us / elapsed_us, 4),
            backlogged_share=round(min(had.backlogged_us / elapsed_us, 1.0), 4),
            token_wait_ms=round(had.longest_wait_us / US_PER_MS, 3),
            batches=had.batches,
            drift=round(known.drift, 4) if known is not None else 0.0,
        )

    def _depth_of(self, replica: ReplicaId) -> int:
        known = self._replicas.get(replica)
        return known.depth if known is not None else 0


async def serve(config: WorkerConfig, socket_to_manager: socket.socket) -> None:
    """Run a device worker at the end of its manager's socket."""
    # A replica's thread that comes back from a run must not wait 5 ms for the event loop to let go of the GIL.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    check_name("device_id", config.device_id)
    dialect: Dialect[FromWorker, ToWorker] = Dialect(msgpack_decoder(ToWorker))
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(socket_to_manager, dialect))
        device = await stack.enter_async_context(_open_device(config, channel))
        access = BusConfig(config.nats_url, config.device_id, password_file=config.nats_password_file)
        bus = await stack.enter_async_context(open_bus(access))
        attributes = resource_attributes(SERVICE, config.device_id, VERSION, os.environ)
        spans = await stack.enter_async_context(open_spans(attributes, os.environ))
        await Worker(config, channel, bus, device, spans).run()


@asynccontextmanager
async def _open_device(config: WorkerConfig, channel: ManagerChannel) -> AsyncIterator[Device]:
    """The device of this worker; one that cannot be opened is told to the manager before the worker ends."""
    name = DeviceName(config.device, config.device_index)
    async with AsyncExitStack() as stack:
        try:
            uuid = await anyio.to_thread.run_sync(gpu_uuid, name, config)
            lock = lock_path(config.device_id, Path(config.data_dir), uuid)
            await stack.enter_async_context(hold_device(config.device_id, lock, alive=partial(_say_alive, channel)))
            device = await anyio.to_thread.run_sync(open_device, name, config)
        except (DeviceUnavailable, DeviceLost) as error:
            channel.send_nowait(DeviceFaulted(str(error.fields["reason"])))
            raise
        stack.callback(device.close)
        yield device


def _say_alive(channel: ManagerChannel) -> None:
    """Before there is a device: its manager takes a worker that says nothing for one that hangs."""
    channel.send_nowait(Pulse({}, rss_mib()))
