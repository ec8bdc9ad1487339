"""What the driver's management library (NVML) tells of one GPU. No context is made: that would cost its memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.nvml import handle_of, text_of, visible_gpus
from fastgshare.shared.units import BYTES_PER_MIB

KIND = "mps"
SMS_PER_CHUNK = 8
# CUDA Programming Guide, "Compute Capabilities": cores of an SM where it is not 128.
_CORES_PER_SM = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's facts; `handle` is NVML's."""

    name: str
    uuid: str
    memory_mib: int
    sms: int
    handle: Any

    @property
    def chunks(self) -> int:
        """How many parts it is shared in: as many as a device that partitions its SMs would have."""
        return max(self.sms // SMS_PER_CHUNK, 1)

    def memory_by_pid(self) -> dict[int, float]:
        """What each process takes of it, in MiB; only what the driver tells.

        In a container the ids may be the host's, so that none of ours is among them.
        """
        import pynvml

        found: dict[int, float] = {}
        for ask in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetMPSComputeRunningProcesses):
            for process in _or_none(lambda ask=ask: ask(self.handle)) or ():  # type: ignore[misc]
                if process.usedGpuMemory is not None:
                    found[process.pid] = process.usedGpuMemory / BYTES_PER_MIB
        return found


def open_gpu(index: int) -> Gpu:
    """The GPU that CUDA_VISIBLE_DEVICES, or else the driver, calls `index`. Raises DeviceUnavailable."""
    import pynvml

    name = f"{KIND}-{index}"
    visible = visible_gpus(name)
    if index >= len(visible):
        reason = f"there is no GPU {index} among those this process may use: {', '.join(visible)}"
        raise DeviceUnavailable(device=name, reason=reason)
    try:
        pynvml.nvmlInit()
        handle = handle_of(visible[index])
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        cores = pynvml.nvmlDeviceGetNumGpuCores(handle)
        return Gpu(
            name=text_of(pynvml.nvmlDeviceGetName(handle)),
            uuid=text_of(pynvml.nvmlDeviceGetUUID(handle)),
            memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // BYTES_PER_MIB,
            sms=cores // _CORES_PER_SM.get((major, minor), 128),
            handle=handle,
        )
    except pynvml.NVMLError as error:
        raise DeviceUnavailable(device=name, reason=f"the NVIDIA driver shows no such GPU: {error}") from error


def count_gpus() -> int:
    """How many GPUs this process may use; 0 without a driver."""
    try:
        return len(visible_gpus(KIND))
    except DeviceUnavailable:
        return 0


def _or_none(ask: Callable[[], Any]) -> Any:
    """The answer, or None where this driver has none: a device works without it."""
    import pynvml

    try:
        return ask()
    except pynvml.NVMLError:
        return None
