"""Which devices a host has, and how each kind is opened: the only place that knows all of them.

A device is opened by its worker alone; a manager only counts. Every kind is imported when it is asked for, so that a
host without a GPU needs none of its packages.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.nvml import uuid_of, visible_gpus
from fastgshare.node_manager.devices.ports import Device, Runtime
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT

AUTO, CPU, CUDA, SIM, MPS = "auto", "cpu", "cuda", "sim", "mps"
KINDS = (CPU, CUDA, SIM, MPS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceName:
    """One device of this host: its implementation, and which of several."""

    kind: str
    index: int


def discover(wanted: str, settings: DeviceSettings | None = None) -> list[DeviceName]:
    """The devices that `wanted` stands for on this host; `auto` means its GPUs, or else its cores.

    Raises:
        DeviceUnavailable: there are none of the kind asked for; says why. Never for `auto`.
    """
    if wanted not in (AUTO, *KINDS):
        raise DeviceUnavailable(device=wanted, reason=f"expected one of {', '.join((AUTO, *KINDS))}")
    if wanted == MPS:
        on_cores = settings is not None and settings.mps_compute == CPU
        return [DeviceName(MPS, index) for index in range(1 if on_cores else len(visible_gpus(MPS)))]
    if wanted == CUDA:
        return _gpus()
    if wanted == AUTO:
        try:
            return _gpus()
        except DeviceUnavailable as unavailable:
            logger.info("serving on the CPU: %s", unavailable.fields["reason"])
            return [DeviceName(CPU, 0)]
    return [DeviceName(wanted, 0)]


def _gpus() -> list[DeviceName]:
    from fastgshare.node_manager.devices.cuda.opening import count_gpus

    return [DeviceName(CUDA, index) for index in range(count_gpus())]


def open_device(name: DeviceName, settings: DeviceSettings) -> Device:
    """Open a device in this process. Raises DeviceUnavailable with the reason."""
    if name.kind == CUDA:
        from fastgshare.node_manager.devices.cuda.opening import open_gpu

        return open_gpu(name.index)
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


def gpu_uuid(name: DeviceName, settings: DeviceSettings) -> str:
    """Which GPU of the host a device is, known without opening it; empty for what is none.

    Raises:
        DeviceUnavailable: there is no such GPU.
    """
    is_gpu = name.kind == CUDA or (name.kind == MPS and settings.mps_compute != CPU)
    return uuid_of(name.index, name.kind) if is_gpu else ""


def host_runtimes() -> dict[str, Runtime]:
    """What runs models on cores, by format."""
    from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
    from fastgshare.node_manager.devices.torch_runtime import TorchRuntime

    by_torch = TorchRuntime()  # imports torch with its first model
    return {"onnx": OnnxRuntime(), TORCH: by_torch, TORCH_EXPORT: by_torch}
