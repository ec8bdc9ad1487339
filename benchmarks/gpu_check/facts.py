"""On what hardware and software a check ran."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastgshare.node_manager.devices.cuda.opening import count_gpus
from fastgshare.node_manager.devices.faults import DeviceUnavailable

PACKAGES = ("cuda-bindings", "nvidia-ml-py", "torch", "onnxruntime", "onnxruntime-gpu", "numpy")


def gpu_missing() -> str:
    """Why this machine has nothing to check; empty where it has."""
    try:
        count_gpus()
    except DeviceUnavailable as unavailable:
        return str(unavailable.fields["reason"])
    return ""


def collect() -> dict[str, Any]:
    """Device, driver and versions, as NVML and the packages tell them."""
    import pynvml

    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        hardware = {
            "device": pynvml.nvmlDeviceGetName(handle),
            "compute_capability": f"{major}.{minor}",
            "memory_mib": pynvml.nvmlDeviceGetMemoryInfo(handle).total >> 20,
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "cuda_driver": pynvml.nvmlSystemGetCudaDriverVersion_v2(),
        }
    finally:
        pynvml.nvmlShutdown()
    return {
        **hardware,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
