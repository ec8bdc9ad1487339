"""ONNX models on a GPU: refused where ONNX Runtime has no provider for it; the rest is tried with the one for cores."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.replica_host import onnx_model
from fastgshare.shared.ids import Digest
from tests.node_manager.models import scaled


def load_of(path: Path) -> Load:
    return Load("", Digest("0" * 64), str(path), "onnx", "", (), 4)


@pytest.mark.skipif(onnx_model.PROVIDER in ort.get_available_providers(), reason="this ONNX Runtime has the provider")
def test_without_the_provider_it_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match=r"no CUDAExecutionProvider on this node \(it has .*CPUExecutionProvider"):
        onnx_model.open_on_gpu(load_of(scaled(tmp_path / "m.onnx", 2.0)))


def test_a_batch_runs_and_a_bad_one_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "PROVIDER", "CPUExecutionProvider")
    model = onnx_model.open_on_gpu(load_of(scaled(tmp_path / "m.onnx", 2.0)))
    x = np.ones((2, 8), np.float32)
    outputs, device_us = model.run({"x": x})
    np.testing.assert_array_equal(outputs["y"], 2 * x)
    assert device_us >= 0
    with pytest.raises(ModelFault):
        model.run({"x": np.ones((2, 9), np.float32)})
    assert not model.is_lost()
    model.close()
