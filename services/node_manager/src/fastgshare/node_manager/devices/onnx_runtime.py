"""ONNX models through ONNX Runtime.

One session a replica, its threads as many as the slice has cores and never spinning: a spinning thread would burn the
core that another replica's token covers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.tensors import BYTES

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_ERRORS_ONLY = 3


class OnnxRuntime:
    """The `Runtime` port for ONNX files."""

    def load(self, path: Path, cores: int) -> "OnnxSession":
        """Load on the calling thread, whose affinity the session's threads inherit. Raises ModelFault."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            return OnnxSession(session)
        except ModelFault:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public base
            words = str(error).replace(str(path), "the model file")  # where a node keeps it is nobody's business
            raise ModelFault(reason=f"it is no model that ONNX Runtime can load: {words}") from error


class OnnxSession:
    """A loaded ONNX model."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._output_names = [output.name for output in session.get_outputs()]
        self.info = ModelInfo(
            inputs=tuple(_spec(value) for value in session.get_inputs()),
            outputs=tuple(_spec(value) for value in session.get_outputs()),
            metadata=dict(session.get_modelmeta().custom_metadata_map),
        )
        self._has_text = any(spec.datatype == BYTES for spec in self.info.inputs)

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        """One batch. Raises ModelFault with ONNX Runtime's words, InputUnusable for text that is none."""
        if self._has_text:
            feed = {name: _text(name, array) if array.dtype == object else array for name, array in feed.items()}
        try:
            outputs = self._session.run(self._output_names, feed)
        except Exception as error:  # as in `load`
            raise ModelFault(reason=error) from error
        return {name: np.asarray(output) for name, output in zip(self._output_names, outputs, strict=True)}


def _text(name: str, array: Array) -> Array:
    """BYTES elements as ONNX strings, which are text: of `bytes` ONNX Runtime would take Python's notation for them."""
    text = np.empty(array.size, dtype=object)
    try:
        text[:] = [element.decode() if isinstance(element, bytes) else element for element in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InputUnusable(reason=f"input '{name}' is for text, expected UTF-8: {error}") from error
    return text.reshape(array.shape)


def _spec(value: Any) -> TensorSpec:
    datatype = _DATATYPES.get(value.type)
    if datatype is None:
        raise ModelFault(reason=f"'{value.name}' has type {value.type}, which no tensor datatype stands for")
    shape = tuple(length if isinstance(length, int) and length >= 0 else -1 for length in value.shape)
    return TensorSpec(value.name, datatype, shape)
