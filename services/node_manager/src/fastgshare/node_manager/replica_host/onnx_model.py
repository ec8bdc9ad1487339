"""ONNX models in a process of their own: on cores, or on the GPU where ONNX Runtime has its CUDA provider.

ONNX Runtime copies inputs to the GPU and outputs back within a run and gives no event to time with, so the device time
of a GPU run is the time of the call, copies included.
"""

from time import monotonic_ns

import numpy as np
import onnxruntime as ort

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import Ran
from fastgshare.node_manager.replica_host.on_cores import ModelOnCores
from fastgshare.node_manager.replica_host.opening import OpenModel, stored_model
from fastgshare.shared.arrays import Array
from fastgshare.shared.units import NS_PER_US

PROVIDER = "CUDAExecutionProvider"
_LOST = ("CUDA failure", "CUDA error")  # ONNX Runtime's words before the driver's


def open_on_cores(load: Load) -> OpenModel:
    """The model on this process's cores. Raises ModelFault."""
    return ModelOnCores(OnnxRuntime(), load)


def open_on_gpu(load: Load) -> OpenModel:
    """The model on the GPU. Raises ModelFault, also where ONNX Runtime cannot use one."""
    available = ort.get_available_providers()
    if PROVIDER not in available:
        reason = f"ONNX Runtime has no {PROVIDER} on this node (it has {', '.join(available)}), torch models run here"
        raise ModelFault(reason=reason)
    return _OnnxOnGpu(load)


class _OnnxOnGpu:
    """One session on the GPU; what the model says of itself is read through one on cores, which is dropped."""

    def __init__(self, load: Load) -> None:
        model = OnnxRuntime().load(stored_model(load))
        self.info = model.info
        self.weights_mib = model.weights_mib
        model.close()
        self._session = ort.InferenceSession(load.path, providers=[PROVIDER])
        if PROVIDER not in self._session.get_providers():  # it falls back to cores without a word
            raise ModelFault(reason=f"ONNX Runtime's {PROVIDER} does not work with this node's driver")
        self._names = [spec.name for spec in self.info.outputs]
        self._last_words = ""

    def allocated_mib(self) -> float:
        """At least the weights: ONNX Runtime does not tell what its arena takes."""
        return self.weights_mib

    def run(self, feed: dict[str, Array]) -> Ran:
        started_ns = monotonic_ns()
        try:
            outputs = self._session.run(self._names, feed)
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public base
            self._last_words = str(error)
            raise ModelFault(reason=error) from error
        device_us = (monotonic_ns() - started_ns) // NS_PER_US
        return Ran({name: np.asarray(output) for name, output in zip(self._names, outputs, strict=True)}, device_us)

    def is_lost(self) -> bool:
        return any(words in self._last_words for words in _LOST)

    def close(self) -> None:
        del self._session
