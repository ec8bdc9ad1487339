"""The fleet of a scenario: devices and nodes with the names that failures call them by.

Nodes are `node-0`, `node-1` and so on over all groups, the devices of one `node-0-gpu0`, `node-0-gpu1`.
"""

from collections.abc import Iterator, Sequence

from fastgshare.node_manager.devices.sim.gpus import GPUS
from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.simulator.core.run import DevicePlan
from fastgshare.simulator.core.scenario.definition import DeviceGroup


def fleet_of(groups: Sequence[DeviceGroup]) -> tuple[DevicePlan, ...]:
    """All devices of checked groups."""
    return tuple(_devices(groups))


def kinds_of(groups: Sequence[DeviceGroup]) -> dict[str, DevicePlan]:
    """One device of each kind, whatever the counts."""
    return {device.kind: device for device in (_device(group, 0, 0) for group in groups)}


def _devices(groups: Sequence[DeviceGroup]) -> Iterator[DevicePlan]:
    first_node = 0
    for group in groups:
        nodes = group.nodes or group.count
        for nth in range(group.count):
            yield _device(group, first_node + nth % nodes, nth // nodes)
        first_node += nodes


def _device(group: DeviceGroup, node: int, nth: int) -> DevicePlan:
    name = NodeId(f"node-{node}")
    device = DeviceId(f"{name}-gpu{nth}")
    if group.gpu is not None:
        gpu = GPUS[group.gpu]
        return DevicePlan(device, name, gpu.kind, gpu.chunks, gpu.memory_mib)
    return DevicePlan(device, name, group.kind or "", group.chunks or 0, group.memory_mib or 0)
