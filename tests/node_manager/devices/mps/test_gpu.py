"""What the driver's library tells, and what the device makes of it; the library is played by a few functions here."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices import catalog
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.mps.gpu import count_gpus, open_gpu
from fastgshare.shared.units import BYTES_PER_MIB
from tests.node_manager.devices.mps.conftest import OpenDevice
from tests.node_manager.devices.mps.fake_control import FakeControl
from tests.node_manager.devices.mps.lives import check, lane
from tests.node_manager.devices.mps.toy import toy

UUIDS = ("GPU-a", "GPU-b")


@dataclass
class FakeDriver:
    """Two GPUs of 132 SMs; what processes take is settable."""

    memory_mib: dict[int, float] = field(default_factory=dict)

    def processes(self, _handle: object) -> list[SimpleNamespace]:
        hidden = SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)
        told = self.memory_mib.items()
        return [hidden, *(SimpleNamespace(pid=pid, usedGpuMemory=int(mib * BYTES_PER_MIB)) for pid, mib in told)]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    def no_such(_handle: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def by_index(index: int) -> str:
        if index >= len(UUIDS):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return UUIDS[index]

    fake = FakeDriver()
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(UUIDS),
        "nvmlDeviceGetHandleByIndex": by_index,
        "nvmlDeviceGetHandleByUUID": lambda uuid: UUIDS[UUIDS.index(uuid)],
        "nvmlDeviceGetName": lambda _: "NVIDIA H200",
        "nvmlDeviceGetUUID": lambda handle: handle,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=1000 * BYTES_PER_MIB),
        "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
        "nvmlDeviceGetNumGpuCores": lambda _: 132 * 128,
        "nvmlDeviceGetComputeRunningProcesses": fake.processes,
        "nvmlDeviceGetMPSComputeRunningProcesses": no_such,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_a_gpu_is_shared_in_as_many_chunks_as_it_has_groups_of_sms(driver: FakeDriver) -> None:
    gpu = open_gpu(1)
    assert (gpu.uuid, gpu.memory_mib, gpu.sms, gpu.chunks) == ("GPU-b", 1000, 132, 16)
    assert count_gpus() == 2


def test_only_gpus_that_the_worker_may_see_count(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    assert count_gpus() == 1
    assert open_gpu(0).uuid == "GPU-b"
    with pytest.raises(DeviceUnavailable, match="no GPU 1 among those this process may use: GPU-b"):
        open_gpu(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 0")
    assert [open_gpu(index).uuid for index in range(count_gpus())] == ["GPU-b", "GPU-a"]


def test_a_gpu_that_is_not_there_is_unavailable(driver: FakeDriver) -> None:
    with pytest.raises(DeviceUnavailable, match="no GPU 7 among those this process may use: 0, 1"):
        open_gpu(7)


def test_a_replicas_process_is_bound_to_its_gpu_and_share(
    driver: FakeDriver, open_device: OpenDevice, tmp_path: Path, control: FakeControl
) -> None:
    device = open_device(compute="cuda", context_mib=500)
    assert (device.kind, device.chunks, device.memory_mib) == ("mps-nvidia-h200", 16, 1000)
    session = device.open_session(toy(tmp_path / "m.json"), lane("a", (7, 8), memory_mib=100))
    seen = session.info.metadata
    assert seen["env:CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert seen["env:CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "13"
    assert seen["env:CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=600M"
    assert control.environments()[0]["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    before = session.pid
    session.move((0, 1))  # a share has no place: nothing to do
    assert session.pid == before
    check(session)


def test_memory_is_the_drivers_word_and_a_guess_only_without_it(
    driver: FakeDriver, open_device: OpenDevice, tmp_path: Path
) -> None:
    device = open_device(compute="cuda", context_mib=300)
    session = device.open_session(toy(tmp_path / "m.json"), lane("a", memory_mib=100))
    assert session.footprint == (1.5, 298.5, False)  # toys allocate nothing beside the context
    assert device.state().used_mib == 300
    assert session.pid is not None
    driver.memory_mib = {session.pid: 420.0}
    assert device.state().used_mib == 420


def test_a_context_is_budgeted_as_the_driver_measured_it(
    driver: FakeDriver, open_device: OpenDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = open_device(compute="cuda", context_mib=300)

    def told(_handle: object) -> list[SimpleNamespace]:
        children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        pids = [int(pid) for tids in children for pid in tids.read_text().split()]
        return [SimpleNamespace(pid=pid, usedGpuMemory=420 * BYTES_PER_MIB) for pid in pids]

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", told)
    device.open_session(toy(tmp_path / "m.json"), lane("a", memory_mib=100))
    assert device.state().gauges["mps_context_mib"] == 420
    second = device.open_session(toy(tmp_path / "m.json"), lane("b", memory_mib=100))
    assert second.info.metadata["env:CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=520M"


def test_the_catalog_finds_every_gpu_and_says_what_a_host_without_one_lacks(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert catalog.discover("mps") == [catalog.DeviceName("mps", 0), catalog.DeviceName("mps", 1)]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    with pytest.raises(DeviceUnavailable, match="knows no GPU"):
        catalog.discover("mps")
    assert catalog.discover("mps", DeviceSettings(mps_compute="cpu")) == [catalog.DeviceName("mps", 0)]


def test_the_catalog_opens_it_on_cores_where_that_is_asked(
    control: FakeControl, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = DeviceSettings(data_dir=str(tmp_path_factory.mktemp("d")), mps_compute="cpu", mps_chunks=8)
    device = catalog.open_device(catalog.DeviceName("mps", 0), settings)
    assert device.chunks == 8
    device.close()
    wrong = DeviceSettings(mps_compute="tpu")
    with pytest.raises(DeviceUnavailable, match="mps_compute is tpu, expected cuda or cpu"):
        catalog.open_device(catalog.DeviceName("mps", 0), wrong)
