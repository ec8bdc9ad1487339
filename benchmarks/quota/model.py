"""A network for real inference on cores: convolutions with seeded random weights, as long as it should take.

How fast it runs does not depend on the values of its weights.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save_model

# What every ONNX Runtime of the last years reads; the newest of the `onnx` package may be ahead of the runtime.
OPSET, IR_VERSION = 17, 9
CHANNELS, SIDE, KERNEL = 32, 56, 3
WIDE, COMPACT = 1024, 16
SEED = 7


def write_convolutions(path: Path, layers: int) -> Path:
    """`x` [batch, 32, 56, 56] through `layers` convolutions of 3 x 3."""
    weights: list[TensorProto] = []
    nodes: list[NodeProto] = []
    name = _convolve("x", layers, nodes, weights, np.random.default_rng(SEED))
    shape: list[str | int] = ["batch", CHANNELS, SIDE, SIDE]
    return _save(path, nodes, weights, {"x": shape, name: shape})


def write_compact(path: Path, layers: int) -> Path:
    """`x` [batch, 16] to `y` [batch, 32], as much work as `write_convolutions` but for its inputs: what small messages
    carry, so that the way of a request costs little beside it."""
    generator = np.random.default_rng(SEED)
    spread = generator.standard_normal((COMPACT, CHANNELS * SIDE * SIDE), dtype=np.float32)
    weights = [
        numpy_helper.from_array(spread, "spread"),
        numpy_helper.from_array(np.array([-1, CHANNELS, SIDE, SIDE], np.int64), "image"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "spread"], ["wide"]),
        helper.make_node("Reshape", ["wide", "image"], ["r"]),
    ]
    name = _convolve("r", layers, nodes, weights, generator)
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    shapes: dict[str, list[str | int]] = {"x": ["batch", COMPACT], "y": ["batch", CHANNELS]}
    return _save(path, nodes, weights, shapes)


def write_heavy(path: Path, weights_mib: int) -> Path:
    """`x` [batch, 1024] through products with 4 MiB of weights each: loading it takes time."""
    generator = np.random.default_rng(SEED)
    count = max(weights_mib // 4, 1)
    weights = [
        numpy_helper.from_array(generator.standard_normal((WIDE, WIDE), dtype=np.float32), f"w{layer}")
        for layer in range(count)
    ]
    names = ["x", *(f"h{layer}" for layer in range(count))]
    nodes = [helper.make_node("MatMul", [names[layer], f"w{layer}"], [names[layer + 1]]) for layer in range(count)]
    shape: list[str | int] = ["batch", WIDE]
    return _save(path, nodes, weights, {"x": shape, names[-1]: shape})


def _convolve(
    name: str, layers: int, nodes: list[NodeProto], weights: list[TensorProto], generator: np.random.Generator
) -> str:
    """Add convolutions after the tensor `name`; what the last of them gives is called."""
    for layer in range(layers):
        kernel = generator.standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL), dtype=np.float32) / CHANNELS
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    return name


def _save(
    path: Path, nodes: list[NodeProto], weights: list[TensorProto], shapes: Mapping[str, list[str | int]]
) -> Path:
    """`shapes`: of the input, then of the output."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "bench", tensors[:1], tensors[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    save_model(model, str(path))
    return path
