"""Which devices a host has, and how each kind is opened: the only place that knows all of them.

A device is opened by its worker alone; a manager only counts. Every kind is imported when it is asked for, so that a
host without a GPU needs none of its packages.
"""

from dataclasses import dataclass
from pathlib import Path

from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.ports import Device, Runtime
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT

AUTO, CPU, SIM, MPS = "auto", "cpu", "sim", "mps"
KINDS = (CPU, SIM, MPS)


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
    return [DeviceName(CPU if wanted == AUTO else wanted, 0)]


def open_device(name: DeviceName, settings: DeviceSettings) -> Device:
    """Open a device in this process. Raises DeviceUnavailable with the reason."""
    if name.kind == SIM:
        from fastgshare.node_manager.devices.sim.device import SimDevice
        from fastgshare.node_manager.devices.sim.gpus import gpu_named

        return SimDevice(gpu_named(settings.sim_gpu), host_runtimes(), settings.sim_tables)
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

    return CpuDevice(host_runtimes(), settings.cores)


def host_runtimes() -> dict[str, Runtime]:
    """What runs models on cores, by format."""
    from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
    from fastgshare.node_manager.devices.torch_runtime import TorchRuntime

    by_torch = TorchRuntime()  # imports torch with its first model
    return {"onnx": OnnxRuntime(), TORCH: by_torch, TORCH_EXPORT: by_torch}
