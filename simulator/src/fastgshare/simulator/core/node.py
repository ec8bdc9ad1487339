"""One node in virtual time: heartbeats, what its buckets say, and its loss and return.

A node that is lost says nothing more; its replicas listen no more. When it is back it is another incarnation, reads
what is to be there, loads that anew and takes back what it said of anything else (`node_manager/app.py`).
"""

from collections.abc import Callable

from fastgshare.scheduler.core import events
from fastgshare.shared.ids import DeviceId, NodeId, ReplicaId
from fastgshare.shared.messages import Placement, ReplicaStatus
from fastgshare.shared.units import US_PER_MS, US_PER_S
from fastgshare.simulator.core.control import Control
from fastgshare.simulator.core.device import Device
from fastgshare.simulator.core.door import Door
from fastgshare.simulator.core.scene import Scene

HEARTBEAT_US = 500 * US_PER_MS
SPARSE_HEARTBEAT_US = 2 * US_PER_S
SPARSE_SCHEDULER_US = 10 * US_PER_S
"""Heartbeats say the same every time: of nodes that are never lost, gateways hear as few as they take for a sign of
life, and the scheduler is told that it will hear fewer."""


class Node:
    """`statuses` are its keys of the `replicas` bucket, `devices` what it has."""

    def __init__(
        self, name: NodeId, scene: Scene, doors: list[Door], control: Control, forget: Callable[[ReplicaId], None]
    ) -> None:
        self.name = name
        self._forget = forget
        self.devices: dict[DeviceId, Device] = {}
        self.statuses: dict[ReplicaId, ReplicaStatus] = {}
        self._scene = scene
        self._agenda = scene.agenda
        self._doors = doors
        self._control = control
        self._is_up = False
        self._lives = 0
        self._interval_us = self._scheduler_us = HEARTBEAT_US
        self._told, self._told_us = "", 0
        self._where: dict[ReplicaId, Device] = {}
        self._losses: dict[DeviceId | None, int] = {}

    def start(self, number: int, of: int, is_ever_lost: bool) -> None:
        """It is there; heartbeats of all nodes are spread over the interval."""
        if not is_ever_lost:
            self._interval_us, self._scheduler_us = SPARSE_HEARTBEAT_US, SPARSE_SCHEDULER_US
        self._come_up()
        self._beat()
        self._agenda.at(self._agenda.now_us + self._interval_us * (number + 1) // of, self._beat_on, self._lives)

    def fail(self, device: DeviceId | None) -> None:
        """It is lost, or one device of it is; it may be lost already."""
        self._losses[device] = self._losses.get(device, 0) + 1
        if self._losses[device] > 1 or not self._is_up:
            return
        if device is not None:
            self.devices[device].die("the simulated device failed")
            return
        self._is_up = False
        for each in self.devices.values():
            each.vanish()

    def recover(self, device: DeviceId | None) -> None:
        """One loss of it, or of that device, is over; another may not be."""
        self._losses[device] -= 1
        if self._losses[device]:
            return
        if device is not None:
            if self._is_up:
                self.devices[device].start(self._incarnation)
            return
        self._come_up()
        for placement in self._control.standing_on(self.name):
            self._device_of(placement).placed(placement)
        for replica in [replica for replica in self.statuses if replica not in self._where]:
            self._forget(replica)
        self._beat()
        self._agenda.at(self._agenda.now_us + self._interval_us, self._beat_on, self._lives)

    def written(self, replica: ReplicaId, placement: Placement | None) -> None:
        """A placement of this node was written or removed."""
        if not self._is_up:
            return
        if placement is not None:
            self._device_of(placement).placed(placement)
        elif replica in self._where:
            self._where.pop(replica).unplaced(replica)

    def _device_of(self, placement: Placement) -> Device:
        device = self._where[placement.replica] = self.devices[placement.device]
        return device

    @property
    def _incarnation(self) -> str:
        return f"{self.name}-{self._lives}"

    def _come_up(self) -> None:
        self._lives += 1
        self._is_up = True
        self._where.clear()
        for device in self.devices.values():
            if not self._losses.get(device.plan.device):
                device.start(self._incarnation)

    def _beat_on(self, life: int) -> None:
        if life == self._lives and self._is_up:
            self._beat()
            self._agenda.at(self._agenda.now_us + self._interval_us, self._beat_on, life)

    def _beat(self) -> None:
        now_us = self._agenda.now_us
        if now_us - self._told_us >= self._scheduler_us or self._incarnation != self._told:
            self._told, self._told_us = self._incarnation, now_us
            self._control.tell(events.NodeSeen(self.name, self._incarnation, self._devices(), self._scheduler_us))
        depth = {replica.id: replica.depth for device in self.devices.values() for replica in device.replicas.values()}
        for door in self._doors:
            door.node_seen(self.name, depth)

    def _devices(self) -> tuple[events.Device, ...]:
        plans = [(device.plan, device.core.worker_ready) for device in self.devices.values()]
        return tuple(
            events.Device(plan.device, plan.kind, plan.chunks, plan.memory_mib, is_up) for plan, is_up in plans
        )
