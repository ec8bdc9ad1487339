"""The cpu device: chunks are cores, threads stay on theirs, weights stand once in memory."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.cpu import CpuDevice, cpu_kind
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import Device, Lane, StoredModel
from fastgshare.shared.ids import ReplicaId, is_name
from fastgshare.shared.objects import digest_of
from fastgshare.shared.service import rss_mib
from tests.node_manager.devices.contract import DeviceContract, on_its_own_thread
from tests.node_manager.models import heavy, scaled

HEAVY_MIB = 64


def cpu(cores: int = 0) -> CpuDevice:
    return CpuDevice({"onnx": OnnxRuntime()}, cores)


def stored(path: Path) -> StoredModel:
    return StoredModel(digest_of(path), path, "onnx")


@pytest.fixture(autouse=True)
def affinity() -> Iterator[None]:
    """A test that opens a session pins its thread."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


class TestCpuDevice(DeviceContract):
    @pytest.fixture
    def device(self) -> Device:
        return cpu()

    def stored(self, directory: Path, scale: float) -> StoredModel:
        return stored(scaled(directory / f"{scale}.onnx", scale))


def test_every_core_this_process_may_use_is_a_chunk() -> None:
    assert cpu().chunks == len(os.sched_getaffinity(0))


def test_the_number_of_cores_can_be_limited() -> None:
    assert cpu(cores=1).chunks == 1


def test_its_kind_can_be_part_of_a_key() -> None:
    assert is_name(cpu_kind())


def test_a_replicas_thread_stays_on_its_chunks_and_moves_with_them(tmp_path: Path) -> None:
    device = cpu()
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def live() -> None:
        session = device.open_session(
            stored(scaled(tmp_path / "m.onnx", 2.0)), Lane(ReplicaId("a"), (device.chunks - 1,), 64)
        )
        seen.append(os.sched_getaffinity(0))
        session.move((0,))
        seen.append(os.sched_getaffinity(0))
        session.close()

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    assert seen == [{max(before)}, {min(before)}]
    assert os.sched_getaffinity(0) == before


def test_weights_stand_once_in_memory_and_leave_with_the_last_replica(tmp_path: Path) -> None:
    """Measured on the process, with room for what the runtime and other tests' leftovers take."""
    device = cpu()
    model = stored(heavy(tmp_path / "heavy.onnx", HEAVY_MIB))
    warm = device.open_session(stored(scaled(tmp_path / "m.onnx", 2.0)), Lane(ReplicaId("warm"), (0,), 64))
    before_mib = rss_mib()
    sessions = [
        on_its_own_thread(lambda name=name: device.open_session(model, Lane(ReplicaId(name), (0,), 256)))  # type: ignore[misc]
        for name in ("a", "b", "c")
    ]
    loaded_mib = rss_mib() - before_mib
    assert HEAVY_MIB * 0.9 < loaded_mib < HEAVY_MIB * 1.5
    assert [session.footprint.was_loaded for session in sessions] == [False, True, True]
    assert sessions[0].footprint.weights_mib == pytest.approx(HEAVY_MIB, rel=0.05)
    assert all(session.footprint.own_mib < HEAVY_MIB / 4 for session in sessions[1:])
    for session in sessions:
        session.close()
    assert rss_mib() - before_mib < HEAVY_MIB * 0.3
    warm.close()


def test_a_model_that_ran_on_one_core_and_then_on_all_stands_once(tmp_path: Path) -> None:
    device = cpu()
    model = stored(heavy(tmp_path / "heavy.onnx", 1))
    everywhere = tuple(range(device.chunks))

    def live() -> None:
        session = device.open_session(model, Lane(ReplicaId("a"), everywhere, 64))
        [held] = device.state().models
        assert held.weights_mib == pytest.approx(1, rel=0.1)
        assert session.run({"x": np.ones((2, 512), np.float32)}).outputs["y"].shape == (2, 512)
        session.move((0,))
        assert session.run({"x": np.ones((2, 512), np.float32)}).outputs["y"].shape == (2, 512)
        [held] = device.state().models
        assert held.weights_mib == pytest.approx(1, rel=0.1)
        session.close()

    on_its_own_thread(lambda: live())
