"""What the scheduler sees: four buckets mirrored, and heartbeats, load and demand as they are published."""

import anyio
import anyio.abc

from fastgshare.scheduler.adapters.inbox import Inbox
from fastgshare.scheduler.core import events
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Demand,
    FunctionSpec,
    GatewayLoad,
    NodeStatus,
    Placement,
    Profile,
    ReplicaStatus,
)
from fastgshare.shared.units import US_PER_MS


class Observer:
    """Turns everything that arrives into events in `inbox`."""

    def __init__(self, bus: Bus, inbox: Inbox) -> None:
        self._bus = bus
        self._inbox = inbox
        self._mirrors: tuple[Mirror[FunctionSpec] | Mirror[Profile] | Mirror[Placement] | Mirror[ReplicaStatus], ...]
        self._mirrors = (
            Mirror(bus, subjects.FUNCTIONS, FunctionSpec, self._on_function),
            Mirror(bus, subjects.PROFILES, Profile, self._on_profile),
            Mirror(bus, subjects.PLACEMENTS, Placement, self._on_placement),
            Mirror(bus, subjects.REPLICAS, ReplicaStatus, self._on_replica),
        )

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Return once the buckets were read; then keep following in `tasks`."""
        for mirror in self._mirrors:
            await tasks.start(mirror.run)
        await self._bus.listen(subjects.NODE_STATUS_ALL, NodeStatus, self._on_node)
        await self._bus.listen(subjects.LOAD_ALL, GatewayLoad, self._on_load)
        await self._bus.listen(subjects.DEMAND_ALL, Demand, self._on_demand)
        self._bus.on_reconnect(lambda: self._inbox.put(events.BusResumed, events.BusResumed()))

    async def relist(self) -> None:
        """Read the buckets anew: whatever was written before this call is in the inbox when it returns."""
        async with anyio.create_task_group() as tasks:
            for mirror in self._mirrors:
                tasks.start_soon(mirror.relist)

    def _on_function(self, key: str, spec: FunctionSpec | None) -> None:
        event = events.FunctionDefined(spec) if spec else events.FunctionRemoved(FunctionName(key))
        self._inbox.put((subjects.FUNCTIONS, key), event)

    def _on_profile(self, key: str, profile: Profile | None) -> None:
        event = events.ProfileKnown(profile) if profile else events.ProfileGone(key)
        self._inbox.put((subjects.PROFILES, key), event)

    def _on_placement(self, key: str, placement: Placement | None) -> None:
        event = events.PlacementKnown(placement) if placement else events.PlacementGone(*_fleet_ids(key))
        self._inbox.put((subjects.PLACEMENTS, key), event)

    def _on_replica(self, key: str, status: ReplicaStatus | None) -> None:
        event = events.ReplicaReported(status) if status else events.ReplicaGone(*_fleet_ids(key))
        self._inbox.put((subjects.REPLICAS, key), event)

    def _on_node(self, status: NodeStatus) -> None:
        devices = tuple(
            events.Device(device.device, device.kind, device.chunks, device.memory_mib, device.healthy)
            for device in status.devices
        )
        seen = events.NodeSeen(status.node, status.incarnation, devices, status.interval_ms * US_PER_MS)
        self._inbox.put((events.NodeSeen, status.node), seen)

    def _on_load(self, load: GatewayLoad) -> None:
        reported = events.LoadReported(load.gateway, load.incarnation, load.functions)
        self._inbox.put((events.LoadReported, load.gateway), reported)

    def _on_demand(self, demand: Demand) -> None:
        raised = events.DemandRaised(demand.function, demand.gateway, demand.held)
        self._inbox.put((events.DemandRaised, demand.function), raised)


def _fleet_ids(key: str) -> tuple[NodeId, ReplicaId]:
    """The other way round than `subjects.fleet_key`; a node's name has no dot."""
    node, _, replica = key.partition(".")
    return NodeId(node), ReplicaId(replica)
