"""What a device's workers, one after the other, tell of themselves."""

from types import SimpleNamespace
from typing import cast

from fastgshare.node_manager.adapters.device_manager import DeviceManager, WorkerChild
from fastgshare.node_manager.adapters.status_writer import StatusWriter
from fastgshare.node_manager.config import NodeConfig
from fastgshare.node_manager.devices.catalog import DeviceName
from fastgshare.node_manager.protocol import FromWorker, Pulse
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import DeviceId, HostId


class Lives:
    """A worker that says these things, then ends."""

    pid = 1
    returncode = 1

    def __init__(self, *messages: FromWorker) -> None:
        self._messages = list(messages)
        self.channel = self

    async def receive(self) -> FromWorker | None:
        return self._messages.pop(0) if self._messages else None


async def test_what_workers_let_go_of_is_never_less_than_before() -> None:
    manager = DeviceManager(
        NodeConfig(),
        DeviceId("d"),
        DeviceName("cpu", 0),
        HostId("h"),
        cast(Bus, SimpleNamespace()),
        cast(StatusWriter, SimpleNamespace()),
    )
    for spans, total in ((5, 5), (2, 7)):
        await manager._listen(cast(WorkerChild, Lives(Pulse({}, 1.0), Pulse({}, 1.0, dropped={"spans": spans}))))
        assert (manager.dropped("spans"), manager.dropped("traces")) == (total, 0)
        manager._forget_pulse()
        assert manager.dropped("spans") == total
