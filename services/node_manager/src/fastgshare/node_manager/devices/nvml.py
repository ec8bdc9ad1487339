"""Which GPUs this process may use, as the driver's management library (NVML) tells.

Asking it leaves the driver of the asking process alone: a manager that initialised CUDA could not fork workers that use
it. `CUDA_VISIBLE_DEVICES` counts as CUDA would: entries up to the first that is no GPU.
"""

import os

from fastgshare.node_manager.devices.faults import DeviceUnavailable


def visible_gpus(device: str) -> tuple[str, ...]:
    """Each GPU by its index or its UUID, at least one. Raises DeviceUnavailable for `device` with the reason."""
    visible = visible_of(os.environ.get("CUDA_VISIBLE_DEVICES"), _installed_gpus(device))
    if not visible:
        raise DeviceUnavailable(device=device, reason="CUDA_VISIBLE_DEVICES hides every GPU of this host")
    return visible


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
