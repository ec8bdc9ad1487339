"""Torch models in a process of their own: on cores as anywhere, on the GPU eagerly on torch's default stream.

The process is alone in its context, whose share of threads MPS holds it to, so nothing is captured and nothing of torch
is out of bounds: models that no graph can take run here. Device time is taken by CUDA events around the module's call;
copies of inputs and outputs are not in it.
"""

from typing import TYPE_CHECKING, Any

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.devices.ports import Ran
from fastgshare.node_manager.devices.torch_models import load_module
from fastgshare.node_manager.devices.torch_package import import_torch
from fastgshare.node_manager.devices.torch_runtime import TorchRuntime, fault_of
from fastgshare.node_manager.replica_host.on_cores import ModelOnCores
from fastgshare.node_manager.replica_host.opening import OpenModel, stored_model
from fastgshare.shared.arrays import Array
from fastgshare.shared.units import BYTES_PER_MIB, ms_to_us

if TYPE_CHECKING:
    import torch

GPU = "cuda"


def open_on_cores(load: Load) -> OpenModel:
    """The model on this process's cores. Raises ModelFault."""
    return ModelOnCores(TorchRuntime(), load)


def open_on_gpu(load: Load) -> OpenModel:
    """The model on the GPU. Raises ModelFault, also where torch finds none."""
    import_torch()
    import torch

    if not torch.cuda.is_available():
        raise ModelFault(reason=f"torch {torch.__version__} finds no GPU in the replica's process")
    return _TorchOnGpu(load)


class _TorchOnGpu:
    def __init__(self, load: Load) -> None:
        import torch

        self._loaded = load_module(stored_model(load), GPU)
        self.info = self._loaded.info
        self.weights_mib = self._loaded.weights_mib
        cuda: Any = torch.cuda  # torch's types leave events out
        self._begun = cuda.Event(enable_timing=True)
        self._done = cuda.Event(enable_timing=True)

    def allocated_mib(self) -> float:
        import torch

        return float(torch.cuda.memory_reserved() / BYTES_PER_MIB)

    def run(self, feed: dict[str, Array]) -> Ran:
        import torch

        try:
            with torch.inference_mode():
                inputs = [_on_gpu(feed[spec.name]) for spec in self.info.inputs]
                self._begun.record()
                outputs = self._loaded.by_name(self._loaded.module(*inputs))
                self._done.record()
                arrays: dict[str, Array] = {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
                self._done.synchronize()
        except ModelFault:
            raise
        except Exception as error:
            raise fault_of(error, self.info) from error
        return Ran(arrays, ms_to_us(self._begun.elapsed_time(self._done)))

    def is_lost(self) -> bool:
        """A fault that sticks to the context comes up again at every call, this one among them."""
        import torch

        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False

    def close(self) -> None:
        import torch

        torch.cuda.synchronize()
        del self._loaded


def _on_gpu(array: Array) -> "torch.Tensor":
    import torch

    tensor: torch.Tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).to(GPU)
    return tensor
