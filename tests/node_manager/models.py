"""Small ONNX models, made as they are needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save


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


def scaled(path: Path, scale: float, width: int = 8) -> Path:
    """y = scale * x over [batch, width], as a product with weights."""
    return _product(path, [np.eye(width, dtype=np.float32) * scale])


def heavy(path: Path, weights_mib: int) -> Path:
    """Layer after layer of products over [batch, 512], a MiB of weights each."""
    generator = np.random.default_rng(7)
    return _product(path, [generator.standard_normal((512, 512), dtype=np.float32) for _ in range(weights_mib)])


def _product(path: Path, layers: "list[np.ndarray]") -> Path:
    weights = [numpy_helper.from_array(layer, f"w{number}") for number, layer in enumerate(layers)]
    names = ["x", *(f"h{number}" for number in range(1, len(layers))), "y"]
    nodes = [
        helper.make_node("MatMul", [names[number], f"w{number}"], [names[number + 1]]) for number in range(len(layers))
    ]
    shape = ["batch", layers[0].shape[0]]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y"))
    model = helper.make_model(
        helper.make_graph(nodes, "test", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    save(model, str(path))
    return path


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
