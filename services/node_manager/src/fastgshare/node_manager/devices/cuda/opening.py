"""How many GPUs can be computed on, and a GPU opened with all that is installed to compute on it."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.nvml import visible_gpus
from fastgshare.node_manager.devices.ports import Device
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT

CUDA = "cuda"
NEEDED = {"cuda.bindings": "fastgshare-node-manager[cuda]", "torch": "fastgshare-node-manager[torch]"}


def count_gpus() -> int:
    """GPUs that a worker of this process would see, at least one. Raises DeviceUnavailable with the reason."""
    count = len(visible_gpus(CUDA))
    for package, extra in NEEDED.items():
        if not _is_installed(package):
            raise DeviceUnavailable(device=CUDA, reason=f"{package} is not installed: pip install '{extra}'")
    if _torch_version().endswith("+cpu"):  # not imported here: it takes seconds and 200 MiB
        raise _built_for_cpus(CUDA, _torch_version())
    return count


def open_gpu(index: int) -> Device:
    """Open a GPU with an engine for each format that is installed. Raises DeviceUnavailable with the reason."""
    try:
        import torch

        from fastgshare.node_manager.devices.cuda.device import open_cuda
    except ImportError as error:
        raise DeviceUnavailable(device=f"{CUDA}:{index}", reason=f"a package is missing: {error}") from error
    if torch.version.cuda is None:
        raise _built_for_cpus(f"{CUDA}:{index}", torch.__version__)

    from fastgshare.node_manager.devices.cuda.onnx_sessions import OnnxEngine, has_cuda_provider
    from fastgshare.node_manager.devices.cuda.ports import Engine
    from fastgshare.node_manager.devices.cuda.torch_placement import CudaPlacement, gemm_on
    from fastgshare.node_manager.devices.cuda.torch_sessions import TorchEngine

    placement = CudaPlacement(index)
    engine = TorchEngine(placement)
    engines: dict[str, Engine] = {TORCH: engine, TORCH_EXPORT: engine}
    if has_cuda_provider():
        engines["onnx"] = OnnxEngine(index)
    return open_cuda(index, engines, gemm_on(placement))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:  # importable, but not as a distribution: opening it will tell
        return ""


def _built_for_cpus(device: str, torch_version: str) -> DeviceUnavailable:
    return DeviceUnavailable(device=device, reason=f"torch {torch_version} is built for CPUs: install a build for CUDA")
