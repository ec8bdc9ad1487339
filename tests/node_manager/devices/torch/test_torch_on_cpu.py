"""The cpu device with torch models keeps to what every device keeps to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.cpu import CpuDevice
from fastgshare.node_manager.devices.ports import Device, StoredModel
from fastgshare.node_manager.devices.torch_runtime import TorchRuntime
from tests.node_manager.devices.contract import DeviceContract
from tests.node_manager.devices.torch.authored import exported, scaled, stored, torch


class TestTorchOnCpu(DeviceContract):
    """A factory with safetensors weights."""

    @pytest.fixture
    def device(self) -> Iterator[Device]:
        device = CpuDevice({"torch": TorchRuntime(), "torch_export": TorchRuntime()})
        yield device
        device.close()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        return stored(directory, weights=scaled(scale))


class TestExportedOnCpu(TestTorchOnCpu):
    """A program that torch.export saved."""

    def stored(self, directory: Path, scale: float) -> StoredModel:
        class Scaling(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = torch.nn.Parameter(torch.full((8,), scale))

            def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"y": x * self.scale}

        return exported(
            directory,
            torch.export.export(Scaling(), (torch.ones(2, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)),
        )
