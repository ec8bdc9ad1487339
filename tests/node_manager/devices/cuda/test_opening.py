"""Which GPUs a host has, and what `auto` makes of a host that has none."""

import importlib.machinery
import sys
from types import SimpleNamespace

import pynvml
import pytest

from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.catalog import DeviceName, discover, gpu_uuid, open_device
from fastgshare.node_manager.devices.cuda import opening
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.nvml import visible_of


@pytest.fixture(autouse=True)
def unhidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str, torch_version: str = "2.13.0") -> None:
    def find(name: str) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, None) if name in packages else None

    monkeypatch.setattr(opening, "find_spec", find)
    monkeypatch.setattr(opening, "version", lambda name: torch_version)


def nvml(monkeypatch: pytest.MonkeyPatch, gpus: int | None) -> None:
    """A host with so many GPUs; None: without a driver."""

    def start() -> None:
        if gpus is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def by_uuid(uuid: str) -> str:
        if len(uuid) < len("GPU-00"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    fake = SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=start,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: gpus,
        nvmlDeviceGetHandleByIndex=lambda index: f"GPU-{index}{index}",
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetUUID=lambda handle: handle,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


def test_auto_prefers_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "cuda.bindings", "torch")
    nvml(monkeypatch, 2)
    assert discover("auto") == discover("cuda") == [DeviceName("cuda", 0), DeviceName("cuda", 1)]
    assert discover("cpu") == [DeviceName("cpu", 0)]


@pytest.mark.parametrize(
    ("packages", "torch_version", "gpus", "reason"),
    [
        ((), "2.13.0", 1, r"cuda\.bindings is not installed: pip install 'fastgshare-node-manager\[cuda\]'"),
        (("cuda.bindings",), "2.13.0", 1, r"torch is not installed: .*\[torch\]"),
        (("cuda.bindings", "torch"), "2.13.0+cpu", 1, r"torch 2\.13\.0\+cpu is built for CPUs"),
        (("cuda.bindings", "torch"), "2.13.0", None, "no NVIDIA driver answers"),
        (("cuda.bindings", "torch"), "2.13.0", 0, "knows no GPU"),
    ],
)
def test_a_host_that_lacks_something_says_what_and_auto_takes_its_cores(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], torch_version: str, gpus: int | None, reason: str
) -> None:
    installed(monkeypatch, *packages, torch_version=torch_version)
    nvml(monkeypatch, gpus)
    with pytest.raises(DeviceUnavailable, match=reason):
        discover("cuda")
    assert discover("auto") == [DeviceName("cpu", 0)]


def test_auto_works_on_this_very_host() -> None:
    assert discover("auto")


@pytest.mark.parametrize(
    ("setting", "gpus", "visible"),
    [
        (None, 4, 4),
        ("", 4, 0),
        ("-1", 4, 0),
        ("1,3", 4, 2),
        ("0,9,1", 4, 1),
        ("GPU-8932f937-d72c", 4, 1),
        ("no-such", 4, 0),
    ],
)
def test_gpus_are_counted_as_cuda_counts_them(setting: str | None, gpus: int, visible: int) -> None:
    assert len(visible_of(setting, gpus)) == visible


def test_a_host_whose_gpus_are_hidden_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "cuda.bindings", "torch")
    nvml(monkeypatch, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceUnavailable, match="CUDA_VISIBLE_DEVICES"):
        discover("cuda")


def test_a_gpu_that_is_not_there_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceUnavailable):
        open_device(DeviceName("cuda", 99), DeviceSettings())


@pytest.mark.parametrize(
    ("setting", "index", "uuid"),
    [(None, 1, "GPU-11"), ("3,2", 1, "GPU-22"), ("GPU-77", 0, "GPU-77"), ("GPU-7", 0, "GPU-7"), ("MIG-1", 0, "MIG-1")],
)
def test_a_gpu_is_known_by_its_uuid_without_being_opened(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, index: int, uuid: str
) -> None:
    nvml(monkeypatch, 4)
    if setting is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert gpu_uuid(DeviceName("cuda", index), DeviceSettings()) == uuid
    assert gpu_uuid(DeviceName("mps", index), DeviceSettings()) == uuid
    assert gpu_uuid(DeviceName("mps", index), DeviceSettings(mps_compute="cpu")) == ""
    assert gpu_uuid(DeviceName("cpu", index), DeviceSettings()) == ""
    with pytest.raises(DeviceUnavailable, match="there is no GPU 9"):
        gpu_uuid(DeviceName("cuda", 9), DeviceSettings())
