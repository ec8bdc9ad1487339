"""How many NVIDIA GPUs this process may use, as CUDA would count them.

Asked of NVML, which leaves the driver of the asking process alone: a manager that initialised CUDA could not fork
workers that use it.
"""

import os

from fastgshare.node_manager.devices.faults import DeviceUnavailable


def count_gpus(device: str) -> int:
    """At least one, for the kind of device that wants them. Raises DeviceUnavailable with the reason."""
    visible = visible_of(os.environ.get("CUDA_VISIBLE_DEVICES"), _installed_gpus(device))
    if not visible:
        raise DeviceUnavailable(device=device, reason="CUDA_VISIBLE_DEVICES hides every GPU of this host")
    return visible


def visible_of(setting: str | None, installed: int) -> int:
    """How many of `installed` GPUs a value of CUDA_VISIBLE_DEVICES shows: those before the first that is none."""
    if setting is None:
        return installed
    count = 0
    for entry in (entry.strip() for entry in setting.split(",")):
        is_known = int(entry) < installed if entry.isdecimal() else entry.startswith(("GPU-", "MIG-"))
        if not is_known:
            break
        count += 1
    return min(count, installed)


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
