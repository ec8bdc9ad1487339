"""Which devices a host has, and how each kind is opened: the only place that knows all of them.

A device is opened by its worker alone; a manager only counts. Every kind is imported when it is asked for, so that a
host without a GPU needs none of its packages.
"""

from dataclasses import dataclass

from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.ports import Device

AUTO, CPU = "auto", "cpu"
KINDS = (CPU,)


@dataclass(frozen=True, slots=True)
class DeviceName:
    """One device of this host: its implementation, and which of several."""

    kind: str
    index: int


def discover(wanted: str) -> list[DeviceName]:
    """The devices that `wanted` stands for on this host. Raises DeviceUnavailable where there are none."""
    if wanted not in (AUTO, *KINDS):
        raise DeviceUnavailable(device=wanted, reason=f"expected one of {', '.join((AUTO, *KINDS))}")
    return [DeviceName(CPU, 0)]


def open_device(name: DeviceName, settings: DeviceSettings) -> Device:
    """Open a device in this process. Raises DeviceUnavailable with the reason."""
    from fastgshare.node_manager.devices.cpu import CpuDevice
    from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime

    return CpuDevice({"onnx": OnnxRuntime()}, settings.cores)
