"""A device has one worker at a time; a GPU one of its whole host, whatever the nodes' data directories."""

import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from fastgshare.node_manager.config import WorkerConfig
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.protocol import DeviceFaulted, FromWorker, Pulse
from fastgshare.node_manager.worker import app, device_lock
from fastgshare.node_manager.worker.device_lock import hold_device, lock_path


async def test_the_next_waits_until_the_former_has_let_go(tmp_path: Path) -> None:
    order: list[str] = []
    path = tmp_path / "n-cpu0.lock"

    async def second() -> None:
        async with hold_device("n-cpu0", path):
            order.append("second")

    async with anyio.create_task_group() as tasks, hold_device("n-cpu0", path):
        tasks.start_soon(second)
        await anyio.sleep(0.05)
        order.append("first lets go")
    assert order == ["first lets go", "second"]


async def test_one_that_does_not_end_is_told_with_its_process(tmp_path: Path) -> None:
    async with hold_device("n-cpu0", tmp_path / "0.lock"):
        with pytest.raises(DeviceUnavailable, match=f"process {os.getpid()} has held it for 0.05 s"):
            async with hold_device("n-cpu0", tmp_path / "0.lock", patience_s=0.05):
                pytest.fail("two hold it")
        async with hold_device("n-cpu1", tmp_path / "1.lock", patience_s=0.05):
            pass  # another device is nobody's


async def test_it_can_be_held_again_after_it_was_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        async with hold_device("n-cpu0", tmp_path / "new" / "0.lock", patience_s=0.05):
            pass


async def test_whoever_waits_says_that_it_is_alive_before_while_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_lock, "SAY_S", 0.0)
    said: list[None] = []
    path = tmp_path / "0.lock"
    async with hold_device("n-cpu0", path, alive=partial(said.append, None)):
        assert said == []  # it did not wait
        with pytest.raises(DeviceUnavailable):
            async with hold_device("n-cpu0", path, patience_s=0.2, alive=partial(said.append, None)):
                pytest.fail("two hold it")
    assert len(said) >= 3


@pytest.mark.parametrize("blocked_by", ["file", "directory", "link"])
async def test_a_lock_that_cannot_be_opened_is_told_as_what_is_wrong_with_the_device(
    tmp_path: Path, blocked_by: str
) -> None:
    path = tmp_path / "devices" / "0.lock"
    if blocked_by == "file":
        path.parent.touch()
    elif blocked_by == "directory":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.symlink_to(tmp_path / "somebody's file")
    with pytest.raises(DeviceUnavailable, match="its lock cannot be opened"):
        async with hold_device("n-cpu0", path):
            pytest.fail("held")


async def test_a_lock_that_is_another_users_holds_though_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu.lock"
    path.write_text("4242\n")
    plain = os.open

    def as_another(name: Path, flags: int, *rest: int) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(name))
        return plain(name, flags, *rest)

    async with hold_device("a", path):
        path.write_text("4242\n")
        with monkeypatch.context() as changed:
            changed.setattr(os, "open", as_another)
            with pytest.raises(DeviceUnavailable, match="process 4242 has held it"):
                async with hold_device("b", path, patience_s=0.05):
                    pytest.fail("two hold it")
    monkeypatch.setattr(os, "open", as_another)
    async with hold_device("b", path, patience_s=0.05):
        assert path.read_text() == "4242\n"


def test_the_lock_of_a_gpu_is_the_hosts_and_any_others_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path / "locks"
    host.mkdir()
    one, other = tmp_path / "one", tmp_path / "other"
    assert lock_path("n-cpu0", one, "") == one / "devices" / "n-cpu0.lock"
    assert lock_path("a-cuda0", one, "GPU-7", host) == lock_path("b-cuda1", other, "GPU-7", host)
    assert lock_path("a-cuda0", one, "GPU-7", host) == host / "fastgshare-GPU-7.lock"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert lock_path("a-cuda0", one, "GPU-7", tmp_path / "no such") == tmp_path / "fastgshare-GPU-7.lock"


class Channel:
    """To a manager that only listens."""

    def __init__(self) -> None:
        self.sent: list[FromWorker] = []

    def send_nowait(self, message: FromWorker) -> None:
        self.sent.append(message)


async def test_two_nodes_with_a_directory_each_do_not_open_one_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "gpu_uuid", lambda *_: "GPU-7")
    monkeypatch.setattr(app, "hold_device", partial(hold_device, patience_s=0.05))
    monkeypatch.setattr(app, "lock_path", partial(lock_path, host_directory=tmp_path))
    manager = Channel()
    first = WorkerConfig(nats_url="", device_id="a-cuda0", device="cuda", data_dir=str(tmp_path / "a"))
    async with hold_device("b-cuda0", lock_path("b-cuda0", tmp_path / "b", "GPU-7", tmp_path)):
        with pytest.raises(DeviceUnavailable):
            async with app._open_device(first, manager):  # type: ignore[arg-type]
                pytest.fail("it is open twice")
    assert isinstance(manager.sent[0], Pulse)
    last = manager.sent[-1]
    assert isinstance(last, DeviceFaulted)
    assert f"process {os.getpid()} has held it" in last.reason


async def test_a_directory_for_locks_that_cannot_be_made_is_told_to_the_manager(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    manager = Channel()
    config = WorkerConfig(nats_url="", device_id="a-cpu0", data_dir=str(tmp_path / "data"))
    with pytest.raises(DeviceUnavailable):
        async with app._open_device(config, manager):  # type: ignore[arg-type]
            pytest.fail("open")
    (told,) = manager.sent
    assert isinstance(told, DeviceFaulted)
    assert "its lock cannot be opened" in told.reason
