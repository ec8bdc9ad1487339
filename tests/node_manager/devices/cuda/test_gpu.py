"""The device contract on a real GPU, with each engine; `make gpu-check` runs these in a process of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.cuda.opening import count_gpus, open_gpu
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.ports import Device, StoredModel
from tests.node_manager.devices.contract import DeviceContract
from tests.node_manager.devices.cuda.stub import SONAME, driver_of_this_process
from tests.node_manager.models import scaled

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu() -> None:
    """A GPU, and the real driver in this process."""
    try:
        count_gpus()
    except DeviceUnavailable as unavailable:
        pytest.skip(f"there is no usable GPU: {unavailable.fields['reason']}")
    if driver_of_this_process().endswith(f"/{SONAME}"):
        pytest.skip("this process has loaded the stub driver; `pytest -m gpu` runs these tests on their own")


class TestCopiesOnAGpu(DeviceContract):
    """The device alone, as on the stub."""

    @pytest.fixture
    def device(self, gpu: None) -> Iterator[Device]:
        from fastgshare.node_manager.devices.cuda.torch_placement import CudaPlacement, gemm_on
        from tests.node_manager.devices.cuda import copying

        device = copying.open_copying(gemm=gemm_on(CudaPlacement(0)))
        yield device
        device.close()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        from tests.node_manager.devices.cuda import copying

        return copying.stored(directory / f"{scale}.copy", scale)


class TestTorchOnAGpu(DeviceContract):
    """As it is opened by a worker, with a factory and safetensors weights."""

    @pytest.fixture
    def device(self, gpu: None) -> Iterator[Device]:
        device = open_gpu(0)
        yield device
        device.close()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        authored = pytest.importorskip("tests.node_manager.devices.torch.authored")
        model: StoredModel = authored.stored(directory, weights=authored.scaled(scale))
        return model


class TestOnnxOnAGpu(DeviceContract):
    """ONNX Runtime's CUDA provider, where it is installed."""

    shares = False

    @pytest.fixture
    def device(self, gpu: None) -> Iterator[Device]:
        from fastgshare.node_manager.devices.cuda.onnx_sessions import PROVIDER, has_cuda_provider

        if not has_cuda_provider():
            pytest.skip(f"the installed ONNX Runtime has no {PROVIDER}")
        device = open_gpu(0)
        yield device
        device.close()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        from fastgshare.shared.objects import digest_of

        path = scaled(directory / f"{scale}.onnx", scale)
        return StoredModel(digest_of(path), path, "onnx")
