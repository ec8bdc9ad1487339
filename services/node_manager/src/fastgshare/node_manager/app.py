"""Wires one node: its devices with their workers, placements in, statuses and heartbeats out."""

import logging
import os
from contextlib import AsyncExitStack
from importlib.metadata import version

import anyio
import anyio.abc
import msgspec
import nats.errors

from fastgshare.node_manager.adapters.device_manager import DeviceManager
from fastgshare.node_manager.adapters.metrics import NodeMetrics
from fastgshare.node_manager.adapters.status_writer import StatusWriter
from fastgshare.node_manager.adapters.usage_writer import UsageWriter
from fastgshare.node_manager.config import NodeConfig, check_name, check_window
from fastgshare.node_manager.devices.catalog import discover
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.config import host_name
from fastgshare.shared.ids import HostId, NodeId, ReplicaId
from fastgshare.shared.messages import NodeStatus, Placement
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.slots import host_id, sweep_orphans
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.process import ProcessMetrics
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.service import Metrics
from fastgshare.shared.units import US_PER_MS, us_to_s

SERVICE = "node_manager"
VERSION = version("fastgshare-node-manager")
SWEEP_INTERVAL_S = 30

logger = logging.getLogger(__name__)


class Node:
    """This host's devices under one name."""

    def __init__(self, config: NodeConfig, bus: Bus) -> None:
        self._config = config
        self._bus = bus
        self._node = NodeId(config.node)
        self._host: HostId = host_id()
        self._incarnation = new_incarnation()
        self._statuses = StatusWriter(bus, self._node)
        self._devices = {manager.device_id: manager for manager in self._open_devices()}
        devices = self._devices.values()
        self._usage = UsageWriter(bus, self._node, self._incarnation, devices, config.usage_interval_s)
        own = ProcessMetrics(SERVICE, self._node, VERSION, bus)
        self._metrics = Metrics(own.families, NodeMetrics(devices, self._usage).families)
        self._metrics.exports.watch("traces", lambda: sum(device.dropped("traces") for device in devices))
        self._metrics.exports.watch("spans", lambda: sum(device.dropped("spans") for device in devices))

    async def run(self) -> None:
        """Manage until told to stop, then drain."""
        async with anyio.create_task_group() as tasks:
            left_behind = await self._statuses.stored()
            placements = Mirror(
                self._bus,
                subjects.PLACEMENTS,
                Placement,
                self._on_placement,
                keys=subjects.node_keys(self._node),
            )
            await tasks.start(placements.run)
            for key in left_behind.keys() - placements.values.keys():
                self._statuses.forget(ReplicaId(key.partition(".")[2]))
            tasks.start_soon(self._statuses.run)
            tasks.start_soon(self._heartbeat)
            tasks.start_soon(_sweep)
            tasks.start_soon(self._usage.run)
            endpoints = await self._metrics.start_page(tasks, self._config.metrics_host, self._config.metrics_port)
            self._metrics.start_otlp(tasks, resource_attributes(SERVICE, self._node, VERSION, os.environ))
            async with anyio.create_task_group() as workers:
                for device in self._devices.values():
                    workers.start_soon(device.run)
                await tasks.start(answer_pings, self._bus, SERVICE, self._node, endpoints)
                await stop_signal()
                for device in self._devices.values():
                    workers.start_soon(device.stop)
            await self._usage.finish()
            with anyio.move_on_after(1):
                await self._statuses.flush()
            tasks.cancel_scope.cancel()

    def _open_devices(self) -> list[DeviceManager]:
        return [
            DeviceManager(
                self._config,
                subjects.device_id(self._node, name.index, name.kind),
                name,
                self._host,
                self._bus,
                self._statuses,
            )
            for name in discover(self._config.device, self._config)
        ]

    def _on_placement(self, key: str, placement: Placement | None) -> None:
        if placement is None:
            replica = ReplicaId(key.partition(".")[2])
            for device in self._devices.values():
                device.unplaced(replica)
        elif placement.device in self._devices:
            self._devices[placement.device].placed(placement)
        else:
            logger.warning("placement %s names unknown device %s", placement.replica, placement.device)

    async def _heartbeat(self) -> None:
        while True:
            status = NodeStatus(
                node=self._node,
                host=self._host,
                incarnation=self._incarnation,
                at_us=unix_us(),
                devices=tuple(status for device in self._devices.values() if (status := device.status()) is not None),
                interval_ms=self._config.status_interval_ms,
                pid=os.getpid(),
            )
            try:
                if self._bus.is_connected:
                    await self._bus.publish(subjects.node_status(self._node), encode(status))
            except nats.errors.Error as error:
                logger.info("heartbeat not sent: %s", error)
            await anyio.sleep(us_to_s(self._config.status_interval_ms * US_PER_MS))


async def _sweep() -> None:
    """Shared memory of callers that were killed."""
    while True:
        sweep_orphans(us_to_s(unix_us()))
        await anyio.sleep(SWEEP_INTERVAL_S)


async def serve(config: NodeConfig) -> None:
    """Run a node manager until it is told to stop."""
    config = msgspec.structs.replace(config, node=config.node or host_name())
    check_name("node", config.node)
    check_window(config.window_ms)
    check_name("node", subjects.device_id(NodeId(config.node), 0, "cpu"))
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            open_bus(BusConfig(config.nats_url, config.node, password_file=config.nats_password_file))
        )
        await ensure_storage(bus)
        await Node(config, bus).run()
