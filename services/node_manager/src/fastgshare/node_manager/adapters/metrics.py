"""A node's metrics: its devices, what functions spend of them, and how its replicas stand to their quotas."""

from collections import Counter
from collections.abc import Collection, Iterator

from fastgshare.node_manager.adapters.device_manager import DeviceManager
from fastgshare.node_manager.adapters.usage_writer import UsageWriter
from fastgshare.shared.messages import DeviceStatus, ReplicaState, ReplicaStatus
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.metrics import Family, Value, by_label, single
from fastgshare.shared.units import BYTES_PER_MIB, US_PER_MS, US_PER_S

SERVING, PROFILING = "serving", "profiling"
PERCENT = 100.0
MS_PER_S = US_PER_S / US_PER_MS
_UTILIZATION = {"sm_util_percent": 1 / PERCENT, "sm_utilization": 1.0}
_OCCUPANCY = {"sm_occupancy_percent": 1 / PERCENT}


class NodeMetrics:
    """What the devices of this node tell."""

    def __init__(self, devices: Collection[DeviceManager], usage: UsageWriter) -> None:
        self._devices = devices
        self._usage = usage

    def families(self) -> Iterator[Family]:
        """As it is now."""
        statuses = {device.device_id: status for device in self._devices if (status := device.status()) is not None}
        yield from _of_devices(list(statuses.values()))
        yield by_label(catalog.DEVICE_PROMISED, {device.device_id: _promised(device) for device in self._devices})
        yield by_label(catalog.WORKER_RESTARTS, {device.device_id: device.restarts for device in self._devices})
        yield from self._of_functions()
        replicas = [
            (status, statuses.get(device.device_id))
            for device in self._devices
            for status in device.core.actual.values()
        ]
        yield _by_state([status for status, _ in replicas])
        yield from _of_replicas(replicas)
        yield from self._of_quotas()
        yield single(catalog.USAGE_UNSENT, self._usage.waiting)

    def _of_functions(self) -> Iterator[Family]:
        used = [
            (device.device_id, function, own)
            for device in self._devices
            for function, own in device.books.totals.items()
        ]
        yield Family(
            catalog.SM_TIME,
            tuple(
                Value((function, device, use), sm_us / US_PER_S)
                for device, function, own in used
                for use, sm_us in ((SERVING, own.sm_us), (PROFILING, own.profiling_sm_us))
            ),
        )
        yield Family(
            catalog.SM_PROMISED,
            tuple(Value((function, device), own.promised_sm_us / US_PER_S) for device, function, own in used),
        )
        yield Family(catalog.SERVED, tuple(Value((function, device), own.requests) for device, function, own in used))
        yield Family(catalog.BATCHES, tuple(Value((function, device), own.batches) for device, function, own in used))

    def _of_quotas(self) -> Iterator[Family]:
        standings = [
            ((status.function, device.device_id, replica), standing)
            for device in self._devices
            for replica, standing in device.quotas.standings().items()
            if (status := device.core.actual.get(replica)) is not None
        ]
        yield Family(catalog.TIME_SHARE, tuple(Value(labels, standing.time_share) for labels, standing in standings))
        yield Family(catalog.QUOTA_ERROR, tuple(Value(labels, standing.error) for labels, standing in standings))


def _of_devices(statuses: list[DeviceStatus]) -> Iterator[Family]:
    yield Family(catalog.DEVICE_HEALTHY, tuple(Value((one.device, one.kind), float(one.healthy)) for one in statuses))
    yield by_label(catalog.DEVICE_SMS, {one.device: one.sms for one in statuses})
    yield by_label(catalog.DEVICE_MEMORY_LIMIT, {one.device: one.memory_mib * BYTES_PER_MIB for one in statuses})
    yield by_label(catalog.DEVICE_MEMORY, {one.device: one.used_mib * BYTES_PER_MIB for one in statuses})
    yield by_label(catalog.DEVICE_UTILIZATION, dict(_gauge(statuses, _UTILIZATION)))
    yield by_label(catalog.DEVICE_OCCUPANCY, dict(_gauge(statuses, _OCCUPANCY)))
    others = [
        Value((one.device, name), value)
        for one in statuses
        for name, value in one.gauges.items()
        if name not in _UTILIZATION and name not in _OCCUPANCY
    ]
    yield Family(catalog.DEVICE_GAUGE, tuple(others))


def _promised(device: DeviceManager) -> float:
    if not device.core.chunks:
        return 0.0
    held = [
        (status.chunks, status.slice)
        for status in device.core.actual.values()
        if not status.loan and status.state is not ReplicaState.FAILED  # one that failed holds nothing
    ]
    return sum(len(chunks) * own.quota_request for chunks, own in held if own is not None) / device.core.chunks


def _gauge(statuses: list[DeviceStatus], scales: dict[str, float]) -> Iterator[tuple[str, float]]:
    for one in statuses:
        for name, scale in scales.items():
            if name in one.gauges:
                yield one.device, one.gauges[name] * scale


def _by_state(replicas: list[ReplicaStatus]) -> Family:
    counted = Counter((status.function, status.device, status.state.value) for status in replicas if not status.loan)
    return Family(catalog.REPLICAS, tuple(Value(labels, count) for labels, count in counted.items()))


def _of_replicas(replicas: list[tuple[ReplicaStatus, DeviceStatus | None]]) -> Iterator[Family]:
    own = [(_labels(status), status, device) for status, device in replicas if not status.loan]
    yield Family(catalog.RESTARTS, tuple(Value(labels, status.restarts) for labels, status, _ in own))
    yield Family(catalog.LOAD_TIME, tuple(Value(labels, status.load_ms / MS_PER_S) for labels, status, _ in own))
    sliced = [(labels, status.slice) for labels, status, _ in own if status.slice is not None]
    yield Family(catalog.QUOTA_REQUEST, tuple(Value(labels, held.quota_request) for labels, held in sliced))
    yield Family(catalog.QUOTA_LIMIT, tuple(Value(labels, held.quota_limit) for labels, held in sliced))
    told = [(labels, status.replica, device) for labels, status, device in own if device is not None]
    queues = [(labels, device.depth[name]) for labels, name, device in told if name in device.depth]
    yield Family(catalog.QUEUE, tuple(Value(labels, depth) for labels, depth in queues))
    uses = [(labels, device.use[name]) for labels, name, device in told if name in device.use]
    yield Family(catalog.TOKEN_WAIT, tuple(Value(labels, use.token_wait_ms / MS_PER_S) for labels, use in uses))
    yield Family(catalog.DRIFT, tuple(Value(labels, use.drift) for labels, use in uses))


def _labels(status: ReplicaStatus) -> tuple[str, ...]:
    return (status.function, status.device, status.replica)
