"""The contract on a real GPU under a real control daemon."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.mps.control import BINARY
from fastgshare.node_manager.devices.mps.device import open_mps
from fastgshare.node_manager.devices.mps.gpu import count_gpus
from fastgshare.node_manager.devices.ports import Device, StoredModel
from tests.node_manager.devices.contract import DeviceContract

pytest.importorskip("torch", reason="torch is optional")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(count_gpus() == 0, reason="the driver shows no GPU"),
    pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"{BINARY} is not installed"),
    pytest.mark.timeout(300),
]


class TestMpsOnGpu(DeviceContract):
    shares = False

    @pytest.fixture
    def device(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
        device = open_mps(0, tmp_path_factory.mktemp("m"))
        yield device
        device.close()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        from tests.node_manager.devices.torch.authored import scaled, stored

        return stored(directory, weights=scaled(scale))
