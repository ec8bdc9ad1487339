"""The mps device keeps to what every kind of device keeps to."""

from pathlib import Path

from fastgshare.node_manager.devices.ports import StoredModel
from tests.node_manager.devices.contract import WIDTH, DeviceContract
from tests.node_manager.devices.mps.toy import toy


class TestMpsDevice(DeviceContract):
    shares = False  # each process has weights of its own

    def stored(self, directory: Path, scale: float) -> StoredModel:
        return toy(directory / f"{scale}.json", scale, width=WIDTH)
