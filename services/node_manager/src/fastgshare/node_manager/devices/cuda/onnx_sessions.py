"""ONNX models through ONNX Runtime's CUDA provider, on a partition's stream.

ONNX Runtime binds a session to one stream and gives every session weights of its own: here they are each replica's, not
the device's, and a move brings them up anew. Batches run kernel by kernel, without graphs.
"""

import numpy as np
import onnxruntime as ort

from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.node_manager.devices.cuda.ports import Program
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.shared.arrays import Array
from fastgshare.shared.tensors import BYTES

PROVIDER = "CUDAExecutionProvider"
_ERRORS_ONLY = 3
_NO_MEMORY = ("out of memory", "Failed to allocate memory")


def has_cuda_provider() -> bool:
    """Whether the installed ONNX Runtime computes on GPUs."""
    return PROVIDER in ort.get_available_providers()


class OnnxEngine:
    """The `Engine` port for ONNX files."""

    shares_weights = False

    def __init__(self, index: int) -> None:
        self._index = index

    def load(self, model: StoredModel) -> "OnnxModel":
        """Read the signature; weights follow with each program. Raises ModelFault."""
        host = OnnxRuntime().load(model)
        try:
            texts = [spec.name for spec in (*host.info.inputs, *host.info.outputs) if spec.datatype == BYTES]
            if texts:
                raise ModelFault(reason=f"'{texts[0]}' is text, which does not live on a GPU")
            return OnnxModel(model, host.info, self._index)
        finally:
            host.close()


class OnnxModel:
    """A model's file and signature."""

    can_capture = False
    weights_mib = 0.0  # of the device: every replica has its own

    def __init__(self, model: StoredModel, info: ModelInfo, index: int) -> None:
        self.info = info
        self._model = model
        self._index = index

    def program(self, place: PartitionStream, rows: int) -> Program:
        """A session on the place's stream, for batches of any shape. Raises ModelFault, MemoryRefused."""
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        provider = (PROVIDER, {"device_id": str(self._index), "user_compute_stream": str(place.number)})
        try:
            session = ort.InferenceSession(self._model.path, options, providers=[provider])
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public base
            raise _fault(error) from error
        if PROVIDER not in session.get_providers():  # it falls back to the CPU without a word
            raise ModelFault(reason=f"ONNX Runtime's {PROVIDER} does not load on this host")
        return OnnxProgram(self.info, session, self._index)

    def close(self) -> None:
        """Nothing is held beside the programs."""


class OnnxProgram:
    """One session with its bindings."""

    def __init__(self, info: ModelInfo, session: ort.InferenceSession, index: int) -> None:
        self._info = info
        self._index = index
        self._session: ort.InferenceSession | None = session
        self._binding = session.io_binding()

    def feed(self, feed: dict[str, Array]) -> None:
        """Copy the inputs to the device."""
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        for spec in self._info.inputs:
            self._binding.bind_cpu_input(spec.name, np.ascontiguousarray(feed[spec.name]))
        for spec in self._info.outputs:
            self._binding.bind_output(spec.name, "cuda", self._index)

    def launch(self) -> None:
        """Run the session. Raises ModelFault, MemoryRefused."""
        if self._session is None:
            raise ModelFault(reason="its program was closed")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # see above
            raise _fault(error) from error

    def fetch(self) -> None:
        """Bring the outputs back; waits for them."""
        self._back = dict(
            zip((spec.name for spec in self._info.outputs), self._binding.copy_outputs_to_cpu(), strict=True)
        )

    def outputs(self, rows: int) -> dict[str, Array]:
        """What came back."""
        return self._back

    def close(self) -> None:
        """Free the session and its weights."""
        self._session = None
        del self._binding


def _fault(error: Exception) -> ModelFault:
    is_memory = any(words in str(error) for words in _NO_MEMORY)
    return MemoryRefused(reason=error) if is_memory else ModelFault(reason=error)
