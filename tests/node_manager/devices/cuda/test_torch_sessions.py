"""Torch programs with torch's CPU build for a GPU: it has buffers and shapes, but no streams or graphs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="the device is called through cuda-bindings, which is missing here")
pytest.importorskip("torch", reason="torch is optional and not installed here")
pytest.importorskip(
    "fastgshare.node_manager.devices.torch_models", reason="torch models cannot be loaded without their package"
)

import torch

from fastgshare.node_manager.devices.cuda.device import CudaDevice, open_cuda
from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.node_manager.devices.cuda.torch_placement import Recorded, Tensors, gemm_on, spans
from fastgshare.node_manager.devices.cuda.torch_sessions import WARM_UPS, TorchEngine, TorchModel
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Device, Lane, ModelInfo, StoredModel
from fastgshare.node_manager.devices.torch_models import LoadedModule
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import ReplicaId
from tests.node_manager.devices.contract import DeviceContract
from tests.node_manager.devices.cuda.copying import honest
from tests.node_manager.devices.cuda.stub import Stub


class CpuPlacement:
    """Torch's CPU where a GPU would be: a replay computes anew into the outputs of the first time."""

    device = "cpu"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def bring(self, module: Any) -> Any:
        self.calls.append("bring")
        return module

    def on(self, place: PartitionStream) -> AbstractContextManager[Any]:
        return nullcontext()

    def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.zeros(shape, dtype=dtype)

    def settle(self, place: PartitionStream) -> None:
        self.calls.append("settle")

    def record(self, work: Callable[[], Tensors], place: PartitionStream) -> Recorded:
        self.calls.append("record")
        outputs = work()

        def replay() -> None:
            for name, result in work().items():
                outputs[name].copy_(result)

        return Recorded(replay, outputs, lambda: self.calls.append("forget"))

    def trim(self) -> None:
        self.calls.append("trim")


def open_torch(placement: CpuPlacement) -> CudaDevice:
    engine = TorchEngine(placement)
    return open_cuda(0, {"torch": engine, "torch_export": engine}, honest)


class TestTorchInTheCudaDevice(DeviceContract):
    """The whole device on the stub driver, with torch computing."""

    @pytest.fixture
    def device(self, stub: Stub) -> Iterator[Device]:
        device = open_torch(CpuPlacement())
        yield device
        device.close()
        assert stub.left() == {}

    def stored(self, directory: Path, scale: float) -> StoredModel:
        authored = pytest.importorskip("tests.node_manager.devices.torch.authored")
        model: StoredModel = authored.stored(directory, weights=authored.scaled(scale))
        return model


class Module:
    """Adds the batch's total to every row, so that rows that do not belong there show."""

    calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return x.double() + x.sum()


def loaded(shape: tuple[int, ...] = (-1, 3), module: Any = None) -> LoadedModule:
    info = ModelInfo(inputs=(TensorSpec("x", "FP32", shape),), outputs=(TensorSpec("y", "FP32", shape),), metadata={})
    return LoadedModule(module or Module(), info, 0.0)


@pytest.fixture
def place(stub: Stub) -> PartitionStream:
    return PartitionStream((0,), 8, None, 0, None)  # type: ignore[arg-type]


def run(program: Any, x: Any, rows: int) -> Any:
    program.feed({"x": x})
    program.launch()
    program.fetch()
    return program.outputs(rows)["y"]


def test_unused_rows_are_zero_whatever_ran_before(place: PartitionStream) -> None:
    program = TorchModel(CpuPlacement(), loaded()).program(place, 4)
    run(program, np.full((4, 3), 100, np.float32), 4)
    answer = run(program, np.ones((2, 3), np.float32), 2)
    np.testing.assert_array_equal(answer, np.full((2, 3), 7, np.float32))
    assert answer.dtype == np.float32


def test_an_answer_stays_as_it_is_when_the_next_batch_runs(place: PartitionStream) -> None:
    program = TorchModel(CpuPlacement(), loaded()).program(place, 1)
    first = run(program, np.ones((1, 3), np.float32), 1)
    run(program, np.zeros((1, 3), np.float32), 1)
    np.testing.assert_array_equal(first, np.full((1, 3), 4, np.float32))


def test_it_is_warm_and_settled_before_it_is_captured(place: PartitionStream) -> None:
    placement, module = CpuPlacement(), Module()
    TorchModel(placement, loaded(module=module)).program(place, 2)
    assert module.calls == WARM_UPS + 1
    assert placement.calls == ["settle", "record"]


def test_closing_frees_the_graph_and_what_the_allocator_kept(place: PartitionStream) -> None:
    placement = CpuPlacement()
    TorchModel(placement, loaded()).program(place, 2).close()
    assert placement.calls[-2:] == ["forget", "trim"]


def test_a_model_without_a_batch_axis_keeps_its_shape(place: PartitionStream) -> None:
    program = TorchModel(CpuPlacement(), loaded((3,))).program(place, 1)
    np.testing.assert_array_equal(run(program, np.ones(3, np.float32), 1), np.full(3, 4, np.float32))


def test_a_model_with_free_shapes_runs_them_all(place: PartitionStream) -> None:
    program = TorchModel(CpuPlacement(), loaded((-1, -1))).program(place, 0)
    for width in (2, 5):
        answer = run(program, np.ones((1, width), np.float32), 1)
        np.testing.assert_array_equal(answer, np.full((1, width), 1 + width, np.float32))


def test_a_model_whose_outputs_lack_rows_is_refused_at_its_capture(place: PartitionStream) -> None:
    class Pooling:
        def __call__(self, x: Any) -> Any:
            return x.sum(0, keepdim=True)

    with pytest.raises(ModelFault, match=r"'y' has shape \[1, 3\] for a batch of 4 rows"):
        TorchModel(CpuPlacement(), loaded(module=Pooling())).program(place, 4)


def test_torchs_want_of_memory_is_told_as_such(place: PartitionStream) -> None:
    class Greedy:
        def __call__(self, x: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(MemoryRefused, match="Tried to allocate"):
        TorchModel(CpuPlacement(), loaded(module=Greedy())).program(place, 1)


def test_a_modules_weights_are_brought_by_the_placement(stub: Stub, tmp_path: Path) -> None:
    authored = pytest.importorskip("tests.node_manager.devices.torch.authored")
    placement = CpuPlacement()
    device = open_torch(placement)
    lane = Lane(ReplicaId("a"), (0,), 1024, max_batch=2)
    device.open_session(authored.stored(tmp_path, weights=authored.scaled(2.0)), lane).close()
    assert placement.calls.count("bring") == 1


def test_the_gates_product_is_computed_in_bf16(place: PartitionStream) -> None:
    a, b = np.full((2, 3), 1.5, np.float32), np.full((3, 2), 2, np.float32)
    product = gemm_on(CpuPlacement())(place, a, b)
    np.testing.assert_array_equal(product, a @ b)
    assert product.dtype == np.float32


@pytest.mark.parametrize(("size", "expected"), [(0, []), (4, [(0, 4, 0)]), (10, [(0, 4, 0), (4, 8, 1), (8, 10, 0)])])
def test_staging_buffers_take_turns_over_a_tensors_bytes(size: int, expected: list[tuple[int, int, int]]) -> None:
    assert list(spans(size, 4, 2)) == expected
