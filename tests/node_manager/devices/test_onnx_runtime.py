"""ONNX Runtime behind its port: what a model says of itself, runs, and faults in its own words."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.shared.handler import TensorSpec
from tests.node_manager import models


def test_a_model_tells_its_tensors_and_metadata(tmp_path: Path) -> None:
    info = OnnxRuntime().load(models.identity(tmp_path / "m.onnx"), 1).info
    assert info.inputs == (TensorSpec("x", "FP32", (-1, -1)),)
    assert info.outputs == (TensorSpec("y", "FP32", (-1, -1)),)
    assert info.metadata == {"made_by": "tests"}
    assert info.is_batched


def test_a_model_of_fixed_shape_is_not_batched(tmp_path: Path) -> None:
    assert not OnnxRuntime().load(models.fixed(tmp_path / "m.onnx"), 1).info.is_batched


def test_it_runs(tmp_path: Path) -> None:
    session = OnnxRuntime().load(models.identity(tmp_path / "m.onnx"), 1)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(session.run({"x": x})["y"], x)


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    session = OnnxRuntime().load(models.reshape_to(tmp_path / "m.onnx", 4), 1)
    with pytest.raises(ModelFault) as caught:
        session.run({"x": np.zeros((1, 3), np.float32)})
    assert "eshape" in caught.value.reason


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100])
def test_what_is_no_model_does_not_load(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFault):
        OnnxRuntime().load(path, 1)


def test_a_type_without_a_tensor_datatype_is_refused_by_name(tmp_path: Path) -> None:
    path = models.identity(tmp_path / "m.onnx", TensorProto.COMPLEX64)
    with pytest.raises(ModelFault):
        OnnxRuntime().load(path, 1)
