"""Torch models in processes: on cores for real, on a GPU with the few functions of CUDA played here."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is optional")

from fastgshare.node_manager.devices.faults import ModelFault  # noqa: E402
from fastgshare.node_manager.devices.mps.device import CPU, OPENERS  # noqa: E402
from fastgshare.node_manager.devices.mps.messages import Load  # noqa: E402
from fastgshare.node_manager.devices.ports import StoredModel  # noqa: E402
from fastgshare.node_manager.replica_host import torch_model  # noqa: E402
from tests.node_manager.devices.mps.conftest import OpenDevice  # noqa: E402
from tests.node_manager.devices.mps.lives import lane  # noqa: E402
from tests.node_manager.devices.torch.authored import WIDTH, scaled, stored  # noqa: E402


class FakeEvent:
    """Tells 1.25 ms for whatever was between."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, _later: "FakeEvent") -> float:
        return 1.25


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_model, "GPU", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


def load_of(model: StoredModel) -> Load:
    return Load("", model.digest, str(model.path), model.format, model.factory, (), 4)


def test_a_torch_model_runs_in_a_process(open_device: OpenDevice, tmp_path: Path) -> None:
    device = open_device(openers=OPENERS[CPU])
    session = device.open_session(stored(tmp_path, weights=scaled(3.0)), lane(memory_mib=1024))
    x = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
    np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], 3 * x)
    with pytest.raises(ModelFault):
        session.run({"x": x[:, :3]})
    np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], 3 * x)


@pytest.mark.usefixtures("fake_cuda")
def test_device_time_is_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch_model.open_on_gpu(load_of(stored(tmp_path, weights=scaled(3.0))))
    x = np.ones((2, WIDTH), np.float32)
    outputs, device_us = model.run({"x": x})
    np.testing.assert_array_equal(outputs["y"], 3 * x)
    assert device_us == 1250
    with pytest.raises(ModelFault):
        model.run({"x": x[:, :3]})
    assert not model.is_lost()

    def sticks() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", sticks)
    assert model.is_lost()


def test_a_process_without_a_gpu_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelFault, match="finds no GPU"):
        torch_model.open_on_gpu(load_of(stored(tmp_path)))
