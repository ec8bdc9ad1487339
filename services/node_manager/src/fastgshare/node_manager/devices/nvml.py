"""Which GPUs this process may use, as the driver's management library (NVML) tells.

Asking it leaves the driver of the asking process alone: a manager that initialised CUDA could not fork workers that use
it. `CUDA_VISIBLE_DEVICES` counts as CUDA would: entries up to the first that is no GPU.
"""

import os
from typing import Any

from fastgshare.node_manager.devices.faults import DeviceUnavailable


def visible_gpus(device: str) -> tuple[str, ...]:
    """Each GPU by its index or its UUID, at least one. Raises DeviceUnavailable for `device` with the reason."""
    visible = visible_of(os.environ.get("CUDA_VISIBLE_DEVICES"), _installed_gpus(device))
    if not visible:
        raise DeviceUnavailable(device=device, reason="CUDA_VISIBLE_DEVICES hides every GPU of this host")
    return visible


def uuid_of(index: int, device: str) -> str:
    """The UUID of the GPU that this process would call `index`. Raises DeviceUnavailable for `device` with the reason.

    As a driver's index where CUDA orders its devices by speed instead, in a host with GPUs of several kinds, unless
    CUDA_DEVICE_ORDER says PCI_BUS_ID.
    """
    visible = visible_gpus(device)
    if index >= len(visible):
        reason = f"there is no GPU {index} among those this process may use: {', '.join(visible)}"
        raise DeviceUnavailable(device=device, reason=reason)
    wanted = visible[index]
    if wanted.startswith("MIG-"):
        return wanted
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return text_of(pynvml.nvmlDeviceGetUUID(handle_of(wanted)))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if not wanted.isdecimal():
            return wanted  # CUDA takes the beginning of a UUID, NVML does not
        raise DeviceUnavailable(device=device, reason=f"the NVIDIA driver shows no such GPU: {error}") from error


def handle_of(wanted: str) -> Any:
    """NVML's handle of a GPU by its index or its UUID, while NVML is initialised. Raises NVMLError."""
    import pynvml

    if wanted.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(wanted))
    return pynvml.nvmlDeviceGetHandleByUUID(wanted)


def text_of(value: str | bytes) -> str:
    """What NVML answers as text or, in older versions, as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def visible_of(setting: str | None, installed: int) -> tuple[str, ...]:
    """Which of `installed` GPUs a value of CUDA_VISIBLE_DEVICES shows, in its order."""
    if setting is None:
        return tuple(map(str, range(installed)))
    visible: list[str] = []
    for entry in (entry.strip() for entry in setting.split(",")):
        is_known = int(entry) < installed if entry.isdecimal() else entry.startswith(("GPU-", "MIG-"))
        if not is_known:
            break
        visible.append(entry)
    return tuple(visible)


def _installed_gpus(device: str) -> int:
    try:
        import pynvml
    except ImportError as error:
        raise DeviceUnavailable(device=device, reason=str(error)) from error
    try:
        pynvml.nvmlInit()
        try:
            count = int(pynvml.nvmlDeviceGetCount())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise DeviceUnavailable(device=device, reason=f"no NVIDIA driver answers: {error}") from error
    if not count:
        raise DeviceUnavailable(device=device, reason="the NVIDIA driver knows no GPU")
    return count
