"""What every kind of device keeps to. A subclass brings its device and its models:

    class TestCpuDevice(DeviceContract):
        @pytest.fixture
        def device(self) -> Iterator[Device]: ...
        def stored(self, directory: Path, scale: float) -> StoredModel: ...

`stored` makes a model `y = scale * x` over FP32 `[-1, WIDTH]` with weights; another scale is another model of a class.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Device, Lane, Session, StoredModel
from fastgshare.shared.ids import Digest, ReplicaId, is_name

Made = TypeVar("Made")

WIDTH = 8
WAIT_S = 30.0
ROOMY_MIB = 1024


class DeviceContract:
    """The tests. `computes`: answers are the model's; `shares`: weights are the device's and not each replica's."""

    computes = True
    shares = True
    roomy_mib = ROOMY_MIB

    @abstractmethod
    def stored(self, directory: Path, scale: float) -> StoredModel:
        """A model `y = scale * x`, under its own digest."""

    def lane(self, device: Device, name: str = "a", chunks: tuple[int, ...] = (0,)) -> Lane:
        return Lane(ReplicaId(name), chunks, self.roomy_mib, max_batch=4)

    def check(self, session: Session, scale: float, rows: int = 2) -> None:
        x = np.arange(rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH)
        outputs, device_us = session.run({"x": x})
        assert list(outputs) == ["y"]
        assert outputs["y"].shape == (rows, WIDTH)
        assert outputs["y"].dtype == np.float32
        assert device_us >= 0
        if self.computes:
            assert np.allclose(outputs["y"].astype(np.float32), scale * x, rtol=1e-5)

    def test_it_says_what_it_is(self, device: Device) -> None:
        assert is_name(device.kind)
        assert device.chunks >= 1
        assert device.memory_mib >= 1
        state = device.state()
        assert state.healthy
        assert state.reason == ""
        assert state.models == ()

    def test_a_session_runs_batches_of_any_size_up_to_its_limit(self, device: Device, tmp_path: Path) -> None:
        session = device.open_session(self.stored(tmp_path, 2.0), self.lane(device))
        assert session.info.is_batched
        assert [spec.name for spec in session.info.inputs] == ["x"]
        for rows in (1, 3, 4, 2):
            self.check(session, 2.0, rows)
        session.close()

    def test_a_second_replica_of_a_model_shares_its_weights(self, device: Device, tmp_path: Path) -> None:
        model = self.stored(tmp_path, 2.0)
        first = device.open_session(model, self.lane(device, "a"))
        second = on_its_own_thread(lambda: device.open_session(model, self.lane(device, "b", (device.chunks - 1,))))
        assert not first.footprint.was_loaded
        assert second.footprint.was_loaded is self.shares
        [held] = device.state().models
        assert held.digest == model.digest
        assert held.replicas == 2
        first.close()
        [left] = device.state().models
        assert left.replicas == 1
        second.close()
        assert device.state().models == ()

    def test_two_models_of_one_class_never_mix(self, device: Device, tmp_path: Path) -> None:
        doubling, halving = self.stored(tmp_path, 2.0), self.stored(tmp_path, 0.5)
        assert doubling.digest != halving.digest
        first = device.open_session(doubling, self.lane(device, "a"))
        second = device.open_session(halving, self.lane(device, "b"))
        for _ in range(2):
            self.check(first, 2.0)
            self.check(second, 0.5)
        assert {held.digest for held in device.state().models} == {doubling.digest, halving.digest}
        first.close()
        self.check(second, 0.5)
        second.close()

    def test_a_model_can_come_back_after_its_last_replica_left(self, device: Device, tmp_path: Path) -> None:
        model = self.stored(tmp_path, 2.0)
        for _ in range(2):
            session = device.open_session(model, self.lane(device))
            assert not session.footprint.was_loaded
            self.check(session, 2.0)
            session.close()
            session.close()  # closing again costs nothing
            assert device.state().models == ()

    def test_what_does_not_fit_is_refused_with_the_numbers_and_leaves_nothing(
        self, device: Device, tmp_path: Path
    ) -> None:
        greedy = Lane(ReplicaId("greedy"), (0,), device.memory_mib + 1, max_batch=4)
        with pytest.raises(MemoryRefused, match=str(device.memory_mib)):
            device.open_session(self.stored(tmp_path, 2.0), greedy)
        assert device.state().models == ()
        self.test_a_session_runs_batches_of_any_size_up_to_its_limit(device, tmp_path)

    def test_a_damaged_model_says_why_and_leaves_nothing(self, device: Device, tmp_path: Path) -> None:
        good = self.stored(tmp_path, 2.0)
        bad_path = tmp_path / "damaged"
        bad_path.write_bytes(b"not a model at all")
        bad = StoredModel(Digest("0" * 64), bad_path, good.format, good.factory)
        with pytest.raises(ModelFault) as fault:
            device.open_session(bad, self.lane(device))
        assert str(bad_path) not in fault.value.reason
        assert device.state().models == ()
        session = device.open_session(good, self.lane(device))
        self.check(session, 2.0)
        session.close()

    def test_a_format_it_does_not_know_is_refused_with_those_it_does(self, device: Device, tmp_path: Path) -> None:
        good = self.stored(tmp_path, 2.0)
        with pytest.raises(ModelFault, match=good.format):
            device.open_session(StoredModel(good.digest, good.path, "papyrus"), self.lane(device))
        assert device.state().models == ()

    def test_a_replica_moves_to_other_chunks_and_answers_as_before(self, device: Device, tmp_path: Path) -> None:
        def life() -> None:
            session = device.open_session(self.stored(tmp_path, 2.0), self.lane(device))
            self.check(session, 2.0)
            session.move(tuple(range(device.chunks)))
            self.check(session, 2.0)
            session.move((device.chunks - 1,))
            self.check(session, 2.0)
            session.close()

        on_its_own_thread(life)
        assert device.state().models == ()

    def test_a_closed_session_runs_no_more(self, device: Device, tmp_path: Path) -> None:
        session = device.open_session(self.stored(tmp_path, 2.0), self.lane(device))
        session.close()
        with pytest.raises(ModelFault, match="closed"):
            self.check(session, 2.0)

    def test_an_input_that_does_not_fit_costs_its_own_run_only(self, device: Device, tmp_path: Path) -> None:
        session = device.open_session(self.stored(tmp_path, 2.0), self.lane(device))
        if self.computes:
            with pytest.raises(ModelFault):
                session.run({"x": np.zeros((1, WIDTH + 1), np.float32)})
        self.check(session, 2.0)
        session.close()

    def test_replicas_on_threads_of_their_own_run_at_once(self, device: Device, tmp_path: Path) -> None:
        model = self.stored(tmp_path, 2.0)
        together = threading.Barrier(2, timeout=WAIT_S)

        def life(name: str, chunk: int) -> None:
            session = device.open_session(model, self.lane(device, name, (chunk,)))
            together.wait()
            for _ in range(5):
                self.check(session, 2.0)
            together.wait()
            session.close()

        lives = [lambda: life("a", 0), lambda: life("b", device.chunks - 1)]
        threads = [Outcome(target) for target in lives]
        for thread in threads:
            thread.finish()
        assert device.state().models == ()


class Outcome(Generic[Made]):
    """A function on a thread of its own, and what became of it."""

    def __init__(self, target: Callable[[], Made]) -> None:
        self.results: list[Made] = []
        self.error: BaseException | None = None
        self._target = target
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> Made:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "it did not end"
        if self.error is not None:
            raise self.error
        return self.results[0]

    def _run(self) -> None:
        try:
            self.results.append(self._target())
        except BaseException as error:
            self.error = error


def on_its_own_thread(target: Callable[[], Made]) -> Made:
    """Replicas live on threads of their own, which a device may pin for good."""
    return Outcome(target).finish()
