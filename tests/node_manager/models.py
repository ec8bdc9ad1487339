"""Small ONNX models, made as they are needed."""

from collections.abc import Sequence
from pathlib import Path

from onnx import NodeProto, TensorProto, helper, save


def identity(path: Path, datatype: int = TensorProto.FLOAT) -> Path:
    """y = x, with free batch and width."""
    return _save(path, [helper.make_node("Identity", ["x"], ["y"])], datatype, ["batch", "width"])


def reshape_to(path: Path, width: int) -> Path:
    """Fails at run time unless a row holds a multiple of `width` elements."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, width])
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    return _save(path, nodes, TensorProto.FLOAT, ["batch", "width"], [shape])


def fixed(path: Path) -> Path:
    """y = x of shape [2, 3]: nothing in it is a batch."""
    return _save(path, [helper.make_node("Identity", ["x"], ["y"])], TensorProto.FLOAT, [2, 3])


def _save(
    path: Path,
    nodes: list[NodeProto],
    datatype: int,
    shape: Sequence[str | int | None],
    weights: Sequence[TensorProto] = (),
) -> Path:
    x = helper.make_tensor_value_info("x", datatype, shape)
    y = helper.make_tensor_value_info("y", datatype, [None] * len(shape) if weights else shape)
    graph = helper.make_graph(nodes, "test", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.metadata_props.add(key="made_by", value="tests")
    save(model, str(path))
    return path
