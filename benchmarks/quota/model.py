"""A network for real inference on cores: convolutions with seeded random weights, as long as it should take.

How fast it runs does not depend on the values of its weights.
"""

from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save_model

# What every ONNX Runtime of the last years reads; the newest of the `onnx` package may be ahead of the runtime.
OPSET, IR_VERSION = 17, 9
CHANNELS, SIDE, KERNEL = 32, 56, 3
WIDE = 1024
SEED = 7


def write_convolutions(path: Path, layers: int) -> Path:
    """`x` [batch, 32, 56, 56] through `layers` convolutions of 3 x 3."""
    generator = np.random.default_rng(SEED)
    weights, nodes, name = [], [], "x"
    for layer in range(layers):
        kernel = generator.standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL), dtype=np.float32) / CHANNELS
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    return _save(path, nodes, weights, name, ["batch", CHANNELS, SIDE, SIDE])


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
    return _save(path, nodes, weights, names[-1], ["batch", WIDE])


def _save(path: Path, nodes: list[NodeProto], weights: list[TensorProto], output: str, shape: list[str | int]) -> Path:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", output)]
    graph = helper.make_graph(nodes, "bench", tensors[:1], tensors[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    save_model(model, str(path))
    return path
