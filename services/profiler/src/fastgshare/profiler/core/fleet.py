"""The functions, devices and replicas a profiler knows of, and which tables they want.

A table is wanted for each model of a deployed function on each kind of device that has a healthy one. What has not
been heard is not there: a device counts while its node's heartbeats arrive.
"""

from dataclasses import dataclass

from fastgshare.profiler.core.keys import TableKey, key_for
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import DeviceStatus, FunctionSpec, NodeStatus, ReplicaStatus
from fastgshare.shared.units import US_PER_MS, US_PER_S, ms_to_us

LEAST_SILENCE_US = 2 * US_PER_S
MISSED_HEARTBEATS = 4


@dataclass(frozen=True, slots=True)
class Want:
    """One table that is wanted.

    `function` is one of those that share the model and take the largest batches, `objective_us` the loosest of their
    objectives; `chunks` are those of the largest healthy device of the kind, of which there are `devices`.
    """

    key: TableKey
    digest: Digest
    device_kind: str
    function: FunctionName
    max_batch: int
    objective_us: int
    chunks: int
    devices: int


@dataclass(frozen=True, slots=True)
class _Kind:
    chunks: int
    devices: int


@dataclass(frozen=True, slots=True)
class _Node:
    until_us: int
    devices: tuple[DeviceStatus, ...]


class Fleet:
    """Functions by name, replicas by id, devices by the node that told of them."""

    def __init__(self) -> None:
        self.functions: dict[FunctionName, FunctionSpec] = {}
        self.replicas: dict[ReplicaId, ReplicaStatus] = {}
        self._nodes: dict[NodeId, _Node] = {}
        self._kinds: dict[str, _Kind] = {}
        self._wants: dict[TableKey, Want] | None = None
        self._at_us = 0

    def define(self, function: FunctionName, spec: FunctionSpec | None) -> None:
        """A function as it is deployed now; None forgets it."""
        self._wants = None
        if spec is None:
            self.functions.pop(function, None)
        else:
            self.functions[function] = spec

    def update(self, replica: ReplicaId, status: ReplicaStatus | None) -> None:
        """A replica as its node reports it now; None forgets it."""
        if status is None:
            self.replicas.pop(replica, None)
        else:
            self.replicas[replica] = status

    def node_heard(self, status: NodeStatus, now_us: int) -> None:
        """A heartbeat arrived: the node is there until it misses a few."""
        silence_us = max(LEAST_SILENCE_US, MISSED_HEARTBEATS * status.interval_ms * US_PER_MS)
        self._nodes[status.node] = _Node(now_us + silence_us, status.devices)
        self._at_us = 0

    def wants(self, now_us: int) -> dict[TableKey, Want]:
        """Every table wanted now."""
        if self._wants is None or now_us != self._at_us:
            self._at_us = now_us
            kinds = self._kinds_there(now_us)
            if self._wants is None or kinds != self._kinds:
                self._kinds = kinds
                self._wants = self._wants_on(kinds)
        return self._wants

    def keys_of(self, spec: FunctionSpec, now_us: int) -> list[TableKey]:
        """The tables of a function's present model, on each kind of device that is there."""
        wants = self.wants(now_us)
        return [key for kind in sorted(self._kinds) if (key := key_for(spec.model.digest, kind)) in wants]

    def chunks_of(self, device: DeviceId) -> int:
        """How many chunks a device has; 0 if nobody told."""
        devices = (there for node in self._nodes.values() for there in node.devices)
        return next((there.chunks for there in devices if there.device == device), 0)

    def _kinds_there(self, now_us: int) -> dict[str, _Kind]:
        self._nodes = {name: node for name, node in self._nodes.items() if now_us < node.until_us}
        kinds: dict[str, _Kind] = {}
        for node in self._nodes.values():
            for device in node.devices:
                if device.healthy:
                    known = kinds.get(device.kind, _Kind(0, 0))
                    kinds[device.kind] = _Kind(max(known.chunks, device.chunks, 1), known.devices + 1)
        return kinds

    def _wants_on(self, kinds: dict[str, _Kind]) -> dict[TableKey, Want]:
        sharing: dict[Digest, list[FunctionSpec]] = {}
        for name in sorted(self.functions):
            spec = self.functions[name]
            sharing.setdefault(spec.model.digest, []).append(spec)
        wants: dict[TableKey, Want] = {}
        for digest, specs in sharing.items():
            largest = max(specs, key=lambda spec: spec.max_batch)
            objective_us = max(ms_to_us(spec.slo_ms) for spec in specs)
            for device_kind, kind in kinds.items():
                key = key_for(digest, device_kind)
                wants[key] = Want(
                    key, digest, device_kind, largest.name, largest.max_batch, objective_us, kind.chunks, kind.devices
                )
        return wants
