"""Which devices a host has, and how each kind is opened: the only place that knows all of them.

A device is opened by its worker alone; a manager only counts. Every kind is imported when it is asked for, so that a
host without a GPU needs none of its packages.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.ports import Device

AUTO, CPU, MPS = "auto", "cpu", "mps"
KINDS = (CPU, MPS)


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may choose about devices. `cores` 0 means all this process may use.

    `mps_compute` is `cuda`, or `cpu` for machines without a GPU; `mps_chunks` 0 means as many as the device would have;
    `mps_context_mib` is what a process takes of a GPU before it has a model, until that was measured. `data_dir` holds
    what a device keeps on disk.
    """

    cores: int = 0
    data_dir: str = ".fastgshare"
    mps_compute: str = "cuda"
    mps_chunks: int = 0
    mps_context_mib: int = 500


@dataclass(frozen=True, slots=True)
class DeviceName:
    """One device of this host: its implementation, and which of several."""

    kind: str
    index: int


def discover(wanted: str) -> list[DeviceName]:
    """The devices that `wanted` stands for on this host. Raises DeviceUnavailable where there are none."""
    if wanted not in (AUTO, *KINDS):
        raise DeviceUnavailable(device=wanted, reason=f"expected one of {', '.join((AUTO, *KINDS))}")
    if wanted == MPS:
        from fastgshare.node_manager.devices.mps.gpu import count_gpus

        return [DeviceName(MPS, index) for index in range(max(count_gpus(), 1))]  # one may compute on cores
    return [DeviceName(CPU, 0)]


def open_device(name: DeviceName, settings: DeviceSettings) -> Device:
    """Open a device in this process. Raises DeviceUnavailable with the reason."""
    if name.kind == MPS:
        from fastgshare.node_manager.devices.mps.device import open_mps

        return open_mps(
            name.index,
            Path(settings.data_dir),
            compute=settings.mps_compute,
            chunks=settings.mps_chunks,
            context_mib=settings.mps_context_mib,
        )
    from fastgshare.node_manager.devices.cpu import CpuDevice
    from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime

    return CpuDevice({"onnx": OnnxRuntime()}, settings.cores)
