"""The cuda device on the stub driver: the contract, and what it promises beyond."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import DeviceLost, DeviceUnavailable, MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Device, Lane, Session, StoredModel
from fastgshare.shared.ids import ReplicaId
from tests.node_manager.devices.contract import WIDTH, DeviceContract, on_its_own_thread
from tests.node_manager.devices.cuda.stub import Stub

pytest.importorskip("cuda.bindings", reason="the device is called through cuda-bindings, which is missing here")

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.gate import Matrix
from fastgshare.node_manager.devices.cuda.graphs import CAPTURE
from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from tests.node_manager.devices.cuda import copying

LAUNCH_FAILED, ILLEGAL_ADDRESS, OUT_OF_MEMORY, NOT_SUPPORTED = 719, 700, 2, 801
LANE = Lane(ReplicaId("a"), (0,), 64, max_batch=4)
X = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)


class TestCudaDeviceOnTheStub(DeviceContract):
    @pytest.fixture
    def device(self, stub: Stub) -> Iterator[Device]:
        device = copying.open_copying()
        yield device
        device.close()
        device.close()
        assert stub.left() == {}
        assert not any("LEAKS" in line for line in stub.log())

    def stored(self, directory: Path, scale: float) -> StoredModel:
        model: StoredModel = copying.stored(directory / f"{scale}.copy", scale)
        return model


@pytest.fixture
def model(tmp_path: Path) -> StoredModel:
    made: StoredModel = copying.stored(tmp_path / "m.copy", 3.0)
    return made


def assert_trebled(session: Session) -> None:
    np.testing.assert_array_equal(session.run({"x": X}).outputs["y"], 3 * X)


def test_it_is_split_once_whatever_is_opened_on_it(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    session = device.open_session(model, LANE)
    for chunks in ((1,), (0, 1), (2, 5)):
        session.move(chunks)
    session.close()
    device.close()
    assert stub.count("splits") == 1


def test_it_has_as_many_chunks_as_the_driver_gives(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert copying.open_copying().chunks == 16
    monkeypatch.setenv("STUB_CUDA_SMS", "120")
    device = copying.open_copying()
    assert device.chunks == 15
    assert device.kind == "cuda-stub-h200-120sm"


def test_two_sessions_on_the_same_chunks_share_a_context_and_not_a_stream(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    first = device.open_session(model, LANE)
    second = device.open_session(model, Lane(ReplicaId("b"), (0,), 64))
    assert stub.count("contexts") == 1
    assert stub.count("streams") == 2
    first.close()
    assert stub.count("contexts") == 1
    second.close()
    assert stub.count("contexts") == 0


def test_graphs_are_captured_ahead_for_a_ladder_of_batch_sizes(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    session = device.open_session(model, Lane(ReplicaId("a"), (0,), 64, max_batch=6))
    assert stub.count("graphs") == 4  # 1, 2, 4, 6
    session.run({"x": X})
    assert stub.count("graphs") == 4
    session.close()


def test_going_back_to_the_chunks_it_came_from_captures_nothing(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    session = device.open_session(model, LANE)
    session.move((1,))
    made = sum(line.startswith("graph+") for line in stub.log())
    session.move((0,))
    session.move((1,))
    assert sum(line.startswith("graph+") for line in stub.log()) == made
    assert_trebled(session)
    session.move((2,))
    assert stub.count("contexts") == 2
    session.close()


def test_a_session_reports_what_it_took_beside_the_weights(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying(copying.CopyEngine(per_program_bytes=2 << 20))
    session = device.open_session(model, LANE)
    assert session.footprint.weights_mib == copying.WEIGHTS_MIB
    assert session.footprint.own_mib == pytest.approx(6, abs=0.1)  # batches of 1, 2 and 4
    assert device.state().used_mib == pytest.approx(10, abs=0.1)
    session.close()


def test_a_session_that_takes_more_than_its_slice_is_taken_down_again(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying(copying.CopyEngine(per_program_bytes=40 << 20))
    with pytest.raises(MemoryRefused, match=r"it took 120 MiB .* gpu_mem_mib is 64"):
        device.open_session(model, LANE)
    assert stub.count("allocations") == 0
    device.open_session(model, Lane(ReplicaId("a"), (0,), 256)).close()


def test_a_move_that_would_take_two_places_at_once_frees_the_first(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying(copying.CopyEngine(per_program_bytes=15 << 20))
    session = device.open_session(model, LANE)
    session.move((1, 2))
    assert session.footprint.own_mib == pytest.approx(45, abs=0.1)
    assert stub.count("contexts") == 1
    session.close()


def test_memory_that_others_use_refuses_a_load_with_the_numbers(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = copying.open_copying()
    with model.path.open("ab") as file:
        file.truncate(2 << 20)
    monkeypatch.setenv("STUB_CUDA_OTHERS_MIB", "16383")
    with pytest.raises(MemoryRefused, match=r"needs 2 MiB .* has 1 MiB free"):
        device.open_session(model, LANE)
    assert device.state().healthy


@pytest.mark.parametrize("call", ["cuMemAlloc", "cuGreenCtxCreate", "cuGreenCtxStreamCreate", "cuEventCreate"])
def test_out_of_memory_while_a_session_opens_is_refused_and_leaves_nothing(
    stub: Stub, model: StoredModel, call: str
) -> None:
    device = copying.open_copying()
    stub.fail(call, OUT_OF_MEMORY)
    with pytest.raises(MemoryRefused, match=call):
        device.open_session(model, LANE)
    for after in range(8):
        stub.fail(call, OUT_OF_MEMORY, after)
        with suppress(MemoryRefused):  # the later calls are beyond what one opening makes
            device.open_session(model, LANE).close()
        stub.fail("", 0)
        assert stub.left() == {"primaries": 1}
        assert device.state().models == ()
    assert device.state().healthy


def test_a_recoverable_error_costs_one_run(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    session = device.open_session(model, LANE)
    stub.fail("cuGraphLaunch", NOT_SUPPORTED)
    with pytest.raises(ModelFault, match="cuGraphLaunch: CUDA_ERROR_NOT_SUPPORTED"):
        session.run({"x": X})
    assert_trebled(session)
    assert device.state().healthy
    session.close()


@pytest.mark.parametrize("code", [LAUNCH_FAILED, ILLEGAL_ADDRESS])
def test_a_sticky_error_fences_the_device_for_everyone(stub: Stub, model: StoredModel, code: int) -> None:
    device = copying.open_copying()
    session = device.open_session(model, LANE)
    bystander = device.open_session(model, Lane(ReplicaId("b"), (1,), 64))
    stub.fail("cuEventSynchronize", code)
    with pytest.raises(DeviceLost, match=str(code)):
        session.run({"x": X})
    with pytest.raises(DeviceLost):
        bystander.run({"x": X[:1]})
    with pytest.raises(DeviceLost):
        bystander.move((2,))
    with pytest.raises(DeviceLost):
        device.open_session(model, Lane(ReplicaId("c"), (2,), 64))
    state = device.state()
    assert not state.healthy
    assert str(code) in state.reason
    session.close()
    bystander.close()
    device.close()


def test_a_runtimes_own_exception_is_a_model_fault_unless_the_driver_says_otherwise(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        raise RuntimeError("the runtime's words")

    device = copying.open_copying()
    session = device.open_session(model, LANE)
    monkeypatch.setattr(copying.CopyProgram, "launch", fails)
    with pytest.raises(ModelFault, match="the runtime's words"):
        session.run({"x": X})
    assert device.state().healthy
    stub.fail("cuStreamSynchronize", LAUNCH_FAILED)
    with pytest.raises(DeviceLost, match="719"):
        session.run({"x": X})
    assert "the runtime's words" in device.state().reason


def test_what_a_runtime_raises_while_it_lets_go_of_a_lost_device_hides_nothing(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's allocator raises exceptions of its own then; the worker must still learn that the device is lost."""

    def fails(self: object) -> None:
        raise RuntimeError("nothing can be freed")

    device = copying.open_copying()
    session = device.open_session(model, LANE)
    stub.fail("cuEventSynchronize", LAUNCH_FAILED)
    with pytest.raises(DeviceLost):
        session.run({"x": X})
    monkeypatch.setattr(copying.CopyProgram, "close", fails)
    monkeypatch.setattr(copying.CopyModel, "close", fails)
    session.close()
    session.close()
    state = device.state()
    assert state.models == ()
    assert "719" in state.reason


def test_a_device_found_lost_while_something_is_freed_is_fenced(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        stub.fail("cuMemGetInfo", LAUNCH_FAILED)
        raise RuntimeError("nothing can be freed")

    device = copying.open_copying()
    session = device.open_session(model, LANE)
    monkeypatch.setattr(copying.CopyModel, "close", fails)
    session.close()
    assert "nothing can be freed" in device.state().reason
    with pytest.raises(DeviceLost):
        device.open_session(model, LANE)


def test_what_a_healthy_device_cannot_free_is_told(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        raise RuntimeError("the allocator's books are wrong")

    session = copying.open_copying().open_session(model, LANE)
    monkeypatch.setattr(copying.CopyModel, "close", fails)
    with pytest.raises(RuntimeError, match="books"):
        session.close()


def test_a_look_that_meets_a_sticky_error_fences_the_device(stub: Stub) -> None:
    device = copying.open_copying()
    stub.fail("cuMemGetInfo", ILLEGAL_ADDRESS)
    assert not device.state().healthy
    assert "700" in device.state().reason


def test_weights_come_and_go_while_nobodys_memory_is_measured(
    stub: Stub, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a session took is told by the free memory before and after."""
    seen: list[bool] = []

    def note() -> bool:
        seen.append(on_its_own_thread(lambda: CAPTURE.acquire(blocking=False)))
        return seen[-1]

    class Watched(copying.CopyEngine):
        def load(self, model: StoredModel) -> copying.CopyModel:
            note()
            return super().load(model)

    device = copying.open_copying(Watched())
    session = device.open_session(model, LANE)
    free = driver.free

    def noted(address: int) -> None:
        note()
        free(address)

    monkeypatch.setattr(driver, "free", noted)
    session.close()
    assert seen == [False] * 11  # a load; three programs' three buffers and the weights are freed


def test_a_batch_beyond_the_limit_is_refused_with_it(stub: Stub, model: StoredModel) -> None:
    session = copying.open_copying().open_session(model, LANE)
    with pytest.raises(ModelFault, match=r"5 rows.* 4 at most"):
        session.run({"x": np.zeros((5, WIDTH), np.float32)})
    session.close()


def test_a_move_that_fails_leaves_the_session_where_it_was(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    session = device.open_session(model, LANE)
    stub.fail("cuGreenCtxCreate", NOT_SUPPORTED)
    with pytest.raises(ModelFault):
        session.move((1,))
    with pytest.raises(ModelFault, match="expected some of the device's 16"):
        session.move((16,))
    assert_trebled(session)
    assert stub.count("contexts") == 1
    session.close()


def test_one_thread_captures_at_a_time(stub: Stub, model: StoredModel) -> None:
    device = copying.open_copying()
    together = threading.Barrier(4, timeout=30)

    def life(name: str) -> None:
        together.wait()
        for chunk in range(4):
            device.open_session(model, Lane(ReplicaId(name), (chunk,), 64)).close()

    threads = [threading.Thread(target=life, args=(name,), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert stub.count("captures_peak") == 1
    assert stub.left() == {"primaries": 1}


def test_an_sm_count_that_computes_wrong_serves_nobody(stub: Stub, model: StoredModel) -> None:
    def wrong_at_24(place: PartitionStream, a: Matrix, b: Matrix) -> Matrix:
        product: Matrix = copying.right_product()
        return product * 0.1 if place.sms == 24 else product

    device = copying.open_copying(gemm=wrong_at_24)
    assert device.state().gauges["gate_refused_sm_counts"] == 1
    assert stub.count("contexts") == 0  # the gate's own are gone
    with pytest.raises(ModelFault, match=r"24 SMs failed .* relative error"):
        device.open_session(model, Lane(ReplicaId("a"), (3, 7, 9), 64))
    session = device.open_session(model, LANE)
    with pytest.raises(ModelFault, match="24 SMs"):
        session.move((0, 1, 2))
    session.close()


def test_a_device_that_computes_wrong_everywhere_is_not_opened(stub: Stub) -> None:
    with pytest.raises(DeviceUnavailable, match="8 SMs failed"):
        copying.open_copying(gemm=lambda place, a, b: copying.right_product() * 2)
    assert stub.left() == {}


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("STUB_CUDA_FAIL", "cuInit=100", "CUDA_ERROR_NO_DEVICE"),
        ("STUB_CUDA_FAIL", "cuDevSmResourceSplitByCount=801", "CUDA_ERROR_NOT_SUPPORTED"),
        ("STUB_CUDA_DEVICES", "0", "sees 0 CUDA devices"),
        ("STUB_CUDA_SMS", "4", "cannot be split"),
    ],
)
def test_what_cannot_be_opened_says_why(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(DeviceUnavailable, match=reason):
        copying.open_copying()
    assert stub.left() == {}


def test_more_hardware_queues_are_asked_for_before_the_driver_starts(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS")
    copying.open_copying()
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "32"


def test_a_host_without_a_driver_has_no_such_device_and_says_so(tmp_path: Path) -> None:
    """In a process of its own, which has no stub."""
    code = (
        "from tests.node_manager.devices.cuda.copying import open_copying\n"
        "try:\n    open_copying()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a driver")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("DeviceUnavailable"), done.stderr
    assert "libcuda" in done.stdout
