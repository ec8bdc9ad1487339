"""Functions that do nothing, ONNX models of one Identity node: all that is measured is the way there and back."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

INPUT, OUTPUT = "x", "y"
# What every ONNX Runtime of the last years reads; the newest of the `onnx` package may be ahead of the runtime.
OPSET, IR_VERSION = 17, 9


def write_model(path: Path, floats: int) -> Path:
    """FP32 of shape [batch, floats], in and out."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", floats]) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph([helper.make_node("Identity", [INPUT], [OUTPUT])], "identity", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))
    return path


def row(floats: int) -> npt.NDArray[np.float32]:
    """One row of input whose values tell their places apart."""
    return (np.arange(floats) / 8).astype(np.float32).reshape(1, floats)
