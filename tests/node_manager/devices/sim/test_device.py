"""The sim device: what every device keeps to, and batches that take what their curve says, in the time they are in."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.core.speed import Contention
from fastgshare.node_manager.devices.faults import DeviceLost, DeviceUnavailable, MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Device, Footprint, Lane, StoredModel
from fastgshare.node_manager.devices.sim.device import SimDevice, SimSession
from fastgshare.node_manager.devices.sim.gpus import GPUS, gpu_named
from fastgshare.node_manager.devices.sim.pace import RealPace, VirtualPace
from fastgshare.shared.arrays import Array
from fastgshare.shared.ids import ReplicaId
from tests.node_manager.devices.contract import WIDTH, DeviceContract
from tests.node_manager.devices.sim.descriptions import description, stored

WAIT_S = 30.0
ALL = tuple(range(16))
LOWER, UPPER = ALL[:8], ALL[8:]


class TestSimDevice(DeviceContract):
    computes = False  # answers are zeros

    @pytest.fixture
    def device(self) -> Device:
        return SimDevice(GPUS["v100"])

    def stored(self, directory: Path, scale: float) -> StoredModel:
        return stored(directory / f"{scale}.sim.json", description(metadata={"scale": str(scale)}))


class PaceWithGuests(VirtualPace):
    """Virtual time in which something else may happen while a batch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []

    def pause_until(self, deadline_us: int) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()
        super().pause_until(deadline_us)


def virtual(pace: VirtualPace | None = None, stretch_permille: int = 500) -> SimDevice:
    contention = Contention(stretch_permille=stretch_permille)
    return SimDevice(GPUS["v100"], contention=contention, pace=pace or VirtualPace())


def opened(
    device: SimDevice, directory: Path, name: str = "a", chunks: tuple[int, ...] = ALL, **changed: object
) -> SimSession:
    model = stored(directory / f"{name}.sim.json", description(**changed))
    return device.open_session(model, Lane(ReplicaId(name), chunks, 1024, max_batch=8))


def feed(rows: int = 1) -> dict[str, Array]:
    return {"x": np.ones((rows, WIDTH), np.float32)}


def test_a_batch_takes_what_its_curve_says_for_its_chunks_and_rows(tmp_path: Path) -> None:
    pace = VirtualPace()
    session = opened(virtual(pace), tmp_path)
    assert session.run(feed(1)).device_us == 2_000
    assert session.run(feed(3)).device_us == 4_000
    session.move(LOWER)
    assert session.run(feed(3)).device_us == 7_000
    assert pace.now_us() == 13_000


def test_in_real_time_a_batch_lasts_at_least_as_long_as_it_says(tmp_path: Path) -> None:
    pace = RealPace()
    session = opened(SimDevice(GPUS["v100"], pace=pace), tmp_path)
    started_us = pace.now_us()
    ran = session.run(feed(4))
    assert ran.device_us == 5_000
    assert pace.now_us() - started_us >= 5_000


def test_a_neighbour_on_other_chunks_stretches_a_batch_in_proportion_to_its_size(tmp_path: Path) -> None:
    pace = PaceWithGuests()
    device = virtual(pace)
    first = opened(device, tmp_path, "a", LOWER)
    second = opened(device, tmp_path, "b", UPPER)
    guests = []
    pace.meanwhile = [lambda: guests.append(second.run(feed(1)).device_us)]
    assert first.run(feed(1)).device_us == 3_000  # it was alone when it started
    assert guests == [3_750]  # half of the device at half of the stretch: a quarter longer
    assert second.run(feed(1)).device_us == 3_000


def test_batches_on_the_same_chunks_share_them(tmp_path: Path) -> None:
    pace = PaceWithGuests()
    device = virtual(pace)
    first, second = opened(device, tmp_path, "a"), opened(device, tmp_path, "b")
    guests = []
    pace.meanwhile = [lambda: guests.append(second.run(feed(1)).device_us)]
    first.run(feed(1))
    assert guests == [3_000]


def test_a_batch_that_fails_leaves_its_chunks(tmp_path: Path) -> None:
    device = virtual()
    huge = [{"name": "y", "datatype": "FP64", "shape": [-1, 1 << 40, 1 << 20]}]
    failing = opened(device, tmp_path, "a", LOWER, outputs=huge)
    with pytest.raises(ModelFault, match="outputs cannot be made"):
        failing.run(feed())
    assert device.state().gauges["running_batches"] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"z": np.ones((1, WIDTH), np.float32)}, r"inputs \['z'\], expected \['x'\]"),
        ({"x": np.ones((1, WIDTH + 1), np.float32)}, r"shape \[1, 9\], expected \[-1, 8\]"),
        ({"x": np.ones((1, WIDTH), np.float64)}, "type float64, expected FP32"),
        ({"x": np.ones((0, WIDTH), np.float32)}, "at least 1"),
    ],
)
def test_an_input_that_does_not_fit_the_signature_is_refused(
    given: dict[str, Array], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFault, match=words):
        opened(virtual(), tmp_path).run(given)


def test_a_sessions_thread_may_be_any(tmp_path: Path) -> None:
    session = opened(virtual(), tmp_path)
    ran: list[int] = []
    thread = threading.Thread(target=lambda: ran.append(session.run(feed()).device_us))
    thread.start()
    thread.join(WAIT_S)
    assert session.is_portable
    assert ran == [2_000]


def test_weights_come_onto_the_device_once_and_take_their_time(tmp_path: Path) -> None:
    pace = VirtualPace()
    device = virtual(pace)
    model = stored(tmp_path / "m.sim.json", description(load_ms=30, own_mib=10))
    first = device.open_session(model, Lane(ReplicaId("a"), LOWER, 128))
    assert pace.now_us() == 30_000
    second = device.open_session(model, Lane(ReplicaId("b"), UPPER, 128))
    assert pace.now_us() == 30_000
    assert first.footprint == Footprint(64, 10, was_loaded=False)
    assert second.footprint == Footprint(64, 10, was_loaded=True)
    assert device.state().used_mib == 64 + 2 * 10
    first.close()
    second.close()
    assert device.state().used_mib == 0


def test_a_replica_whose_slice_is_too_small_is_refused_with_the_numbers(tmp_path: Path) -> None:
    model = stored(tmp_path / "m.sim.json", description(weights_mib=90, own_mib=60))
    device = virtual()
    with pytest.raises(MemoryRefused, match=r"150 MiB \(90 of weights and 60 of its own\).* gpu_mem_mib is 128"):
        device.open_session(model, Lane(ReplicaId("a"), LOWER, 128))
    assert device.state().models == ()


def test_a_second_replica_that_does_not_fit_leaves_the_first(tmp_path: Path) -> None:
    device = virtual()
    model = stored(tmp_path / "m.sim.json", description())
    first = device.open_session(model, Lane(ReplicaId("a"), LOWER, 16_000))
    with pytest.raises(MemoryRefused, match="not promised to others"):
        device.open_session(model, Lane(ReplicaId("b"), UPPER, 1_000))
    [held] = device.state().models
    assert held.replicas == 1
    assert first.run(feed()).device_us == 3_000


def test_its_gauges_tell_how_busy_it_was_since_the_last_look(tmp_path: Path) -> None:
    pace = VirtualPace()
    device = virtual(pace)
    session = opened(device, tmp_path, chunks=LOWER)
    device.state()
    session.run(feed(1))
    pace.pause_until(pace.now_us() + 3_000)
    assert device.state().gauges == {"sm_utilization": 0.25, "contention_stretch": 1.0, "running_batches": 0.0}
    pace.pause_until(pace.now_us() + 1_000)
    assert device.state().gauges["sm_utilization"] == 0.0


@pytest.mark.parametrize("chunks", [(), (16,), (-1,), (1, 0), (2, 2)])
def test_chunks_it_does_not_have_are_refused(chunks: tuple[int, ...], tmp_path: Path) -> None:
    device = virtual()
    with pytest.raises(ModelFault, match="expected at least one of 0 to 15"):
        opened(device, tmp_path, chunks=chunks)
    with pytest.raises(ModelFault, match="expected at least one of 0 to 15"):
        opened(device, tmp_path).move(chunks)


def test_a_closed_device_is_lost(tmp_path: Path) -> None:
    device = virtual()
    session = opened(device, tmp_path)
    device.close()
    device.close()
    assert not device.state().healthy
    with pytest.raises(DeviceLost, match="closed"):
        session.run(feed())
    with pytest.raises(DeviceLost, match="closed"):
        opened(device, tmp_path, "b")


def test_the_gpus_have_sixteen_chunks_each() -> None:
    assert {name: (gpu.chunks, gpu.kind) for name, gpu in GPUS.items()} == {
        "v100": (16, "sim-v100-16g"),
        "h200": (16, "sim-h200-141g"),
    }


def test_an_unknown_gpu_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeviceUnavailable, match="expected one of v100, h200"):
        gpu_named("abacus")
