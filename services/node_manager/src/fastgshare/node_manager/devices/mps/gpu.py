"""What the driver's management library (NVML) tells of one GPU. No context is made: that would cost its memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.shared.units import BYTES_PER_MIB

KIND = "mps"
SMS_PER_CHUNK = 8
MAX_NAME = 63
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

    def kind(self) -> str:
        """The key of its profiles."""
        return kind_of(self.name)


def open_gpu(index: int) -> Gpu:
    """The GPU that CUDA_VISIBLE_DEVICES, or else the driver, calls `index`. Raises DeviceUnavailable."""
    import pynvml

    name = f"{KIND}-{index}"
    try:
        pynvml.nvmlInit()
        handle = _handle(index)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        cores = pynvml.nvmlDeviceGetNumGpuCores(handle)
        return Gpu(
            name=_text(pynvml.nvmlDeviceGetName(handle)),
            uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
            memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // BYTES_PER_MIB,
            sms=cores // _CORES_PER_SM.get((major, minor), 128),
            handle=handle,
        )
    except pynvml.NVMLError as error:
        raise DeviceUnavailable(device=name, reason=f"the NVIDIA driver shows no such GPU: {error}") from error
    except IndexError:
        reason = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} names no GPU {index}"
        raise DeviceUnavailable(device=name, reason=reason) from None


def kind_of(name: str) -> str:
    """A name for devices that run a model equally fast, as a bucket's key may hold it."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in name.lower()).split()
    return "-".join([KIND, *words])[:MAX_NAME].rstrip("-")


def _handle(index: int) -> Any:
    import pynvml

    visible = _visible()
    wanted = str(index) if visible is None else visible[index]
    return (
        pynvml.nvmlDeviceGetHandleByIndex(int(wanted)) if wanted.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(wanted)
    )


def _visible() -> list[str] | None:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if given is None else [word.strip() for word in given.split(",") if word.strip()]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _or_none(ask: Callable[[], Any]) -> Any:
    """The answer, or None where this driver has none: a device works without it."""
    import pynvml

    try:
        return ask()
    except pynvml.NVMLError:
        return None
