"""The cpu device: chunks are cores, threads stay on theirs, weights stand once in memory."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.cpu import WORKER_ENV, CpuDevice, cpu_kind
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxModel, OnnxRuntime, OnnxSession
from fastgshare.node_manager.devices.ports import Device, Lane, StoredModel
from fastgshare.shared.ids import ReplicaId, is_name
from fastgshare.shared.objects import digest_of
from tests.node_manager.devices.contract import WIDTH, DeviceContract, on_its_own_thread
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
    """Measured on a process that lives as a worker does."""
    model, warm = heavy(tmp_path / "heavy.onnx", HEAVY_MIB), scaled(tmp_path / "warm.onnx", 2.0)
    argv = [sys.executable, "-m", "tests.node_manager.devices.weigh", str(warm), str(model)]
    done = subprocess.run(argv, env={**os.environ, **WORKER_ENV}, capture_output=True, check=True, timeout=50)
    taken_mib = json.loads(done.stdout)
    assert HEAVY_MIB * 0.9 < taken_mib["one"] < HEAVY_MIB * 1.3
    assert taken_mib["three"] - taken_mib["one"] < HEAVY_MIB * 0.1
    assert taken_mib["none"] < HEAVY_MIB * 0.2


def test_a_second_replica_tells_that_its_weights_were_there(tmp_path: Path) -> None:
    device = cpu()
    model = stored(heavy(tmp_path / "heavy.onnx", 4))
    lanes = [Lane(ReplicaId(name), (0,), 64) for name in ("a", "b")]
    first, second = [on_its_own_thread(partial(device.open_session, model, lane)).footprint for lane in lanes]
    assert (first.was_loaded, second.was_loaded) == (False, True)
    assert first.weights_mib == second.weights_mib == pytest.approx(4, rel=0.05)


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

    on_its_own_thread(live)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_each_thread_of_a_session_has_a_core_of_its_own(tmp_path: Path) -> None:
    device = cpu()
    cores = sorted(os.sched_getaffinity(0))[:2]

    def live() -> None:
        before = set(os.listdir("/proc/self/task"))
        session = device.open_session(stored(scaled(tmp_path / "m.onnx", 2.0)), Lane(ReplicaId("a"), (0, 1), 64))
        pool = set(os.listdir("/proc/self/task")) - before
        assert os.sched_getaffinity(0) == {cores[0]}
        assert [os.sched_getaffinity(int(thread)) for thread in pool] == [{cores[1]}]
        session.close()

    on_its_own_thread(live)


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_move_that_fails_leaves_the_thread_on_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    device = cpu()
    chunks = tuple(range(device.chunks)) if is_whole else (device.chunks - 1,)
    model = stored(scaled(tmp_path / "m.onnx", 2.0))

    def refuse(self: OnnxModel, cores: int) -> OnnxSession:
        raise ModelFault(reason="no threads are left")

    def live() -> None:
        session = device.open_session(model, Lane(ReplicaId("a"), chunks, 64))
        before = os.sched_getaffinity(0)
        with monkeypatch.context() as patched:
            patched.setattr(OnnxModel, "session", refuse)
            with pytest.raises(ModelFault, match="no threads"):
                session.move((0,) if is_whole else tuple(range(device.chunks)))
        assert os.sched_getaffinity(0) == before
        assert session.run({"x": np.ones((1, WIDTH), np.float32)}).outputs["y"].tolist() == [[2.0] * WIDTH]
        session.close()
        with pytest.raises(ModelFault, match="closed"):
            session.move((0,))
        assert device.state().models == ()

    on_its_own_thread(live)
