"""Devices as their nodes' heartbeats and their replicas' statuses tell of them, with every replica's rectangle. Pure.

A node that falls silent keeps its devices on show for a minute, as not healthy; so is a device that only its replicas
speak of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.shared.messages import DeviceStatus, NodeStatus, ReplicaState, ReplicaStatus
from fastgshare.shared.overview.rectangles import Holder, Layouts
from fastgshare.shared.overview.view import SPARK_POINTS, SPARK_S, DeviceView, Piece, ReplicaView
from fastgshare.shared.units import US_PER_MS, US_PER_S

SILENT_INTERVALS = 4
SILENT_AT_LEAST_US = 3 * US_PER_S
GONE_US = 60 * US_PER_S
_UNHEARD = "its node is not heard"


@dataclass(slots=True)
class _Known:
    status: NodeStatus
    heard_us: int

    def silent_us(self, now_us: int) -> int:
        """For how long it should have been heard and was not; 0 while it may be."""
        quiet_us = now_us - self.heard_us
        limit_us = max(SILENT_AT_LEAST_US, SILENT_INTERVALS * self.status.interval_ms * US_PER_MS)
        return quiet_us if quiet_us > limit_us else 0


@dataclass(slots=True)
class _Busy:
    """Means over stretches of `SPARK_S`; the last is still growing."""

    points: list[float] = field(default_factory=list)
    stretch: int = 0
    sum: float = 0.0
    count: int = 0

    def add(self, now_us: int, share: float) -> None:
        stretch = now_us // (SPARK_S * US_PER_S)
        if self.count and stretch > self.stretch:
            empty = min(stretch - self.stretch - 1, SPARK_POINTS)
            self.points = [*self.points, round(self.sum / self.count, 3), *([0.0] * empty)][-SPARK_POINTS:]
            self.sum, self.count = 0.0, 0
        self.stretch = stretch
        self.sum += share
        self.count += 1


class Devices:
    """What is known of them."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, _Known] = {}
        self._busy: dict[DeviceId, _Busy] = {}
        self._layouts = Layouts()

    def heard(self, status: NodeStatus, replicas: Iterable[ReplicaStatus], now_us: int) -> None:
        """Take in a heartbeat."""
        self._nodes[status.node] = _Known(status, now_us)
        chunks = {replica.replica: len(replica.chunks) for replica in replicas if replica.node == status.node}
        for device in status.devices:
            used = sum(_had(device, replica) * chunks.get(replica, 0) for replica in device.use)
            share = min(1.0, used / device.chunks) if device.chunks else 0.0
            self._busy.setdefault(device.device, _Busy()).add(now_us, share)

    def forget_silent(self, replicas: Iterable[ReplicaStatus], now_us: int) -> None:
        """Let go of nodes that have not been heard for a minute, and of devices that nobody speaks of any more."""
        self._nodes = {node: known for node, known in self._nodes.items() if known.heard_us > now_us - GONE_US}
        names = {device.device for known in self._nodes.values() for device in known.status.devices}
        names.update(replica.device for replica in replicas)
        self._layouts.keep(names)
        self._busy = {device: busy for device, busy in self._busy.items() if device in names}

    def view(self, replicas: Sequence[ReplicaStatus], now_us: int) -> tuple[DeviceView, ...]:
        """Every device by name."""
        found: dict[DeviceId, list[ReplicaStatus]] = {}
        for replica in sorted(replicas, key=lambda status: (status.function, status.replica)):
            found.setdefault(replica.device, []).append(replica)
        told = {device.device: (known, device) for known in self._nodes.values() for device in known.status.devices}
        views = [self._told(known, device, found.get(device.device, []), now_us) for known, device in told.values()] + [
            self._untold(device, held) for device, held in found.items() if device not in told
        ]
        return tuple(sorted(views, key=lambda view: (view.node, view.device)))

    def _told(self, known: _Known, device: DeviceStatus, replicas: Sequence[ReplicaStatus], now_us: int) -> DeviceView:
        silent_us = known.silent_us(now_us)
        shown = self._replicas(device.device, device.chunks, replicas, None if silent_us else device)
        used = sum(replica.had * len(replica.chunks) for replica in shown)
        promised = sum(replica.quota_request * len(replica.chunks) for replica in shown if replica.pieces)
        busy = self._busy.get(device.device)
        return DeviceView(
            device=device.device,
            node=known.status.node,
            kind=device.kind,
            chunks=device.chunks,
            memory_mib=device.memory_mib,
            used_mib=round(device.used_mib, 1),
            is_healthy=device.healthy and not silent_us,
            reason=f"its node has been silent for {silent_us // US_PER_S} s" if silent_us else device.reason,
            busy=round(min(1.0, used / device.chunks), 4) if device.chunks else 0.0,
            promised=round(promised / device.chunks, 4) if device.chunks else 0.0,
            busy_spark=tuple(busy.points) if busy is not None else (),
            gauges=device.gauges,
            replicas=shown,
        )

    def _untold(self, device: DeviceId, replicas: Sequence[ReplicaStatus]) -> DeviceView:
        chunks = max((chunk + 1 for replica in replicas for chunk in replica.chunks), default=1)
        return DeviceView(
            device=device,
            node=replicas[0].node,
            kind=replicas[0].device_kind,
            chunks=chunks,
            memory_mib=0.0,
            used_mib=0.0,
            is_healthy=False,
            reason=_UNHEARD,
            replicas=self._replicas(device, chunks, replicas, None),
        )

    def _replicas(
        self, name: DeviceId, chunks: int, replicas: Sequence[ReplicaStatus], device: DeviceStatus | None
    ) -> tuple[ReplicaView, ...]:
        holders = [_holder(replica) for replica in replicas if replica.state is not ReplicaState.FAILED]
        laid = self._layouts.of(name, holders, chunks)
        return tuple(_shown(replica, laid.get(replica.replica, ()), device) for replica in replicas)


def _holder(replica: ReplicaStatus) -> Holder:
    """What it holds, as a rectangle; one on loan may use spare time up to its limit."""
    is_loan, held = bool(replica.loan), replica.slice
    share = 0.0 if held is None else held.quota_limit if is_loan else held.quota_request
    return Holder(replica.replica, replica.chunks, share, is_loan)


def _shown(replica: ReplicaStatus, pieces: tuple[Piece, ...], device: DeviceStatus | None) -> ReplicaView:
    held = replica.slice
    return ReplicaView(
        replica=replica.replica,
        function=replica.function,
        node=replica.node,
        device=replica.device,
        state=replica.state.value,
        generation=replica.generation,
        chunks=replica.chunks,
        quota_request=held.quota_request if held is not None and not replica.loan else 0.0,
        quota_limit=held.quota_limit if held is not None else 0.0,
        pieces=pieces,
        had=round(_had(device, replica.replica), 4) if device is not None else 0.0,
        depth=device.depth.get(replica.replica, 0) if device is not None else 0,
        is_running=device is not None and replica.replica in device.running,
        is_loan=bool(replica.loan),
        memory_mib=replica.memory_mib,
        weights_mib=replica.weights_mib,
        restarts=replica.restarts,
        since_us=replica.since_us,
        reason=replica.reason,
        note=replica.note,
    )


def _had(device: DeviceStatus, replica: str) -> float:
    """A batch counts where it ends, so one longer than a heartbeat looks like more time than there was."""
    use = next((use for name, use in device.use.items() if name == replica), None)
    return min(1.0, use.time_share) if use is not None else 0.0
