"""Small ONNX models made on the spot, each for one thing that the platform must do with models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WIDTH = 16
MATRIX = 256
OPSET = 21
IR_VERSION = 10

Constant = np.generic | np.ndarray[tuple[int, ...], np.dtype[np.generic]]


def times(path: Path, factor: float) -> Path:
    """`y` = `factor` times `x`, FP32 [-1, -1]: whose answer tells which generation gave it; any size."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    constants = {"factor": np.float32(factor)}
    return _write(path, nodes, [_fp32("x", "rows", "width")], [_fp32("y", "rows", "width")], constants)


def slow(path: Path, products: int) -> Path:
    """`y` = `x`, FP32 [-1, 16], after `products` matrix products, whatever the batch: 0.1 to 0.5 ms each."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["gate"]),
        helper.make_node("Mul", ["unit", "gate"], ["m0"]),  # hangs on the input, so nothing can be computed ahead
        *(helper.make_node("MatMul", [f"m{i}", "unit"], [f"m{i + 1}"]) for i in range(products)),
        helper.make_node("ReduceMax", [f"m{products}"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["x", "largest"], ["y"]),
    ]
    constants: dict[str, Constant] = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "unit": np.eye(MATRIX, dtype=np.float32),
    }
    return _write(path, nodes, [_fp32("x", "rows", WIDTH)], [_fp32("y", "rows", WIDTH)], constants)


def words_and_numbers(path: Path) -> Path:
    """`said` = `word` (BYTES) and `next` = `number` + 1 (INT64), each [-1, 1]."""
    nodes = [helper.make_node("Identity", ["word"], ["said"]), helper.make_node("Add", ["number", "one"], ["next"])]
    inputs = [_value("word", TensorProto.STRING, "rows", 1), _value("number", TensorProto.INT64, "rows", 1)]
    outputs = [_value("said", TensorProto.STRING, "rows", 1), _value("next", TensorProto.INT64, "rows", 1)]
    return _write(path, nodes, inputs, outputs, {"one": np.int64(1)})


def total(path: Path) -> Path:
    """`sum` = `a` + `b`, FP32 [-1, 4]."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"])]
    return _write(path, nodes, [_fp32("a", "rows", 4), _fp32("b", "rows", 4)], [_fp32("sum", "rows", 4)], {})


def picky(path: Path) -> Path:
    """`y` = ten times `index`, INT64 [-1], for 0 to 3; any other index makes the run fail."""
    nodes = [helper.make_node("Gather", ["table", "index"], ["y"])]
    inputs = [_value("index", TensorProto.INT64, "rows")]
    outputs = [_value("y", TensorProto.INT64, "rows")]
    return _write(path, nodes, inputs, outputs, {"table": np.arange(4, dtype=np.int64) * 10})


def grow(path: Path) -> Path:
    """`y` = zeros FP32 [1, length], for `length` INT64 [1, 1]: a small question with a large answer."""
    nodes = [
        helper.make_node("Concat", ["one", "length"], ["shape"], axis=1),
        helper.make_node("Reshape", ["shape", "two"], ["flat"]),
        helper.make_node("ConstantOfShape", ["flat"], ["y"]),
    ]
    constants = {"one": np.array([[1]]), "two": np.array([2])}
    return _write(path, nodes, [_value("length", TensorProto.INT64, 1, 1)], [_fp32("y", 1, "length")], constants)


def broken(path: Path) -> Path:
    """A file that is no model."""
    path.write_bytes(b"this is no model")
    return path


def _write(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, Constant],
) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(model, path)
    return path


def _fp32(name: str, *shape: str | int) -> ValueInfoProto:
    return _value(name, TensorProto.FLOAT, *shape)


def _value(name: str, kind: int, *shape: str | int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
