"""A measurement on a replica's thread: between real work, under tokens, and without one where nothing has arrived."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fastgshare.node_manager.core.batching import WorkQueue
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.faults import DeviceLost, ModelFault
from fastgshare.node_manager.devices.ports import Device, DeviceState
from fastgshare.node_manager.worker.changes import Changes
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.watch import OCCUPANCY, Watch
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import ReplicaId
from tests.node_manager.worker.runners import WAIT_S, FakeSession, asked, job, new_gate, rows, scene, wait_for

LOAN = Share(0b1, 0, 1000)
OTHER = ReplicaId("other")


@dataclass
class Warming(FakeSession):
    """A move of it takes a turn, as those to SMs that were not captured on yet do."""

    turn: Callable[[], AbstractContextManager[None]] = nullcontext

    def move(self, chunks: tuple[int, ...]) -> None:
        with self.turn():
            super().move(chunks)


@dataclass
class Growing:
    """A device whose memory grows by `step_mib` whenever somebody looks."""

    step_mib: float = 0.0
    gauges: dict[str, float] = field(default_factory=dict)
    used_mib: float = 100.0

    def state(self) -> DeviceState:
        self.used_mib += self.step_mib
        return DeviceState(True, "", self.used_mib - self.step_mib, (), self.gauges)

    def watched(self, limit_mib: float = 1000.0, changes: Changes | None = None) -> Watch:
        return Watch(cast("Device", self), limit_mib, (changes or Changes()).mark)


def test_a_measurement_runs_between_jobs_and_tells_every_time() -> None:
    here = scene()
    here.session.begin.set()
    done = here.runner.measure(asked(batch=2), rows(2))
    here.runner.submit(job())
    measured = done.result(WAIT_S)
    assert len(measured.execute_us) == 3
    assert not isinstance(here.next().result, ErrorBody)
    assert here.session.batches.count(2) == 3 + measured.warmup_runs


def test_a_measurement_that_fails_says_so() -> None:
    here = scene()
    here.session.begin.set()
    done = here.runner.measure(asked(), rows(1, -1))
    with pytest.raises(ModelFault, match="negative"):
        done.result(WAIT_S)


def test_a_second_measurement_is_refused_and_the_model_is_not_to_blame() -> None:
    here = scene()
    first = here.runner.measure(asked(), rows(1))
    second = here.runner.measure(asked(), rows(1))
    here.session.begin.set()
    with pytest.raises(MeasurementRefused, match="another"):
        second.result(WAIT_S)
    assert len(first.result(WAIT_S).execute_us) == 3


def test_a_stopped_replica_refuses_to_be_measured() -> None:
    here = scene()
    here.session.begin.set()
    here.runner.stop()
    early = here.runner.measure(asked(), rows(1))
    with pytest.raises(MeasurementRefused, match="stopped"):
        early.result(WAIT_S)
    assert here.runner._thread is not None
    here.runner._thread.join(WAIT_S)
    late = here.runner.measure(asked(), rows(1))
    with pytest.raises(MeasurementRefused, match="stopped"):
        late.result(WAIT_S)


def test_a_measurement_that_nobody_waits_for_any_more_is_not_made() -> None:
    here = scene()
    here.runner.submit(job())  # keeps the thread busy until `begin`
    given_up = here.runner.measure(asked(), rows(1))
    given_up.cancel()
    here.session.begin.set()
    wanted = here.runner.measure(asked(runs=1), rows(1))
    assert len(wanted.result(WAIT_S).execute_us) == 1
    assert here.faults == []


def test_inputs_that_arrive_one_by_one_run_in_batches_of_what_has_arrived() -> None:
    here = scene()
    here.session.begin.set()
    pause = threading.Event()
    here.session.inside = lambda: cast("None", pause.wait(0.002))
    measured = here.runner.measure(asked(batch=4, open_ms=50), rows(4)).result(WAIT_S)
    alone = here.session.batches[3 + measured.warmup_runs :]
    assert 0 < sum(alone) <= len(measured.latency_us)  # on a busy machine some have not run by the end
    assert set(alone) <= {1, 2, 3, 4}
    assert measured.load_rps == pytest.approx(0.8 * measured.throughput_rps)


def test_while_nothing_arrives_others_have_the_device() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    gate.set_share(OTHER, Share(0b1, 500, 1000))
    here.session.begin.set()
    runs = threading.Semaphore(0)
    here.session.inside = runs.release
    # One run in 60 seconds or so: the arrival is far off, and the thread neither holds a token nor spins for it.
    done = here.runner.measure(asked(runs=1, warmup_runs=0, open_ms=60_000, load=1e-6), rows(1))
    assert runs.acquire(timeout=WAIT_S)
    gate.acquire(OTHER, 100)
    gate.release(OTHER, 100)
    here.runner.submit(job())
    assert not isinstance(here.next().result, ErrorBody)
    here.runner.stop().result(WAIT_S)
    assert done.done()


def test_a_request_beside_a_loan_that_is_measured_waits_for_the_batch_under_way_and_no_other() -> None:
    gate = new_gate()
    lent = scene(gate=gate, name="lent", chunks=(0, 1))
    lent.runner.resize(Share(0b11, 0, 1000), (0, 1)).result(WAIT_S)
    under_way = threading.Semaphore(0)
    go_on = threading.Semaphore(0)

    def run() -> None:
        under_way.release()
        assert go_on.acquire(timeout=WAIT_S)

    lent.session.inside = run
    lent.session.begin.set()
    measured = lent.runner.measure(asked(runs=5, warmup_runs=0), rows(1))
    here = scene(gate=gate, name="here")
    begun: list[int] = []
    here.session.inside = lambda: begun.append(len(lent.session.batches))
    for number in range(1, 4):
        assert under_way.acquire(timeout=WAIT_S)
        begun.clear()
        here.session.begin.set()
        here.runner.submit(job())
        here.runner.submit(job())
        wait_for(lambda: gate._book.is_waiting(ReplicaId("here")))
        go_on.release()
        assert not isinstance(here.next().result, ErrorBody)
        assert not isinstance(here.next().result, ErrorBody)
        assert set(begun) == {number}
    for _ in range(2):
        go_on.release()
    assert len(measured.result(WAIT_S).execute_us) == 5


def test_a_loan_that_is_taken_back_ends_though_others_keep_it_waiting() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.resize(LOAN, (0,)).result(WAIT_S)
    gate.set_share(OTHER, Share(0b1, 500, 1000))
    gate.acquire(OTHER, 100)
    done = here.runner.measure(asked(), rows(1))
    wait_for(lambda: gate._book.is_waiting(ReplicaId("r")))
    _always_at_work_until(gate, here.runner.stop())
    with pytest.raises(MeasurementRefused, match="stopped"):
        done.result(WAIT_S)
    assert here.session.batches == []


def test_a_loan_that_is_to_end_while_it_loads_gets_its_turns() -> None:
    """Nothing ends a replica before it is loaded, and it would load for as long as others have work."""
    gate = new_gate()
    gate.set_share(OTHER, Share(0b1, 500, 1000))
    gate.acquire(OTHER, 100)
    session = FakeSession()
    runner = Runner(ReplicaId("r"), LOAN, gate, WorkQueue(4, 10**9), lambda ends: None, lambda error: None)

    def load() -> FakeSession:
        with runner.turn():
            return session

    opened = runner.start(load)
    wait_for(lambda: gate._book.is_waiting(ReplicaId("r")))
    runner.step_forward()
    _always_at_work_until(gate, opened)
    assert opened.result(WAIT_S) is session
    runner.stop().result(WAIT_S)


def test_a_turn_of_a_loan_is_put_off_for_a_while_only() -> None:
    """Whoever captures a program on a GPU keeps all others from it until it had its turn."""
    gate = new_gate()
    gate.set_share(OTHER, Share(0b1, 500, 1000))
    gate.acquire(OTHER, 100)
    session = FakeSession()
    name, queue = ReplicaId("r"), WorkQueue(4, 10**9)
    runner = Runner(name, LOAN, gate, queue, lambda ends: None, lambda error: None, turn_patience_us=1_000)

    def load() -> FakeSession:
        with runner.turn():
            return session

    opened = runner.start(load)
    _always_at_work_until(gate, opened)
    assert opened.result(WAIT_S) is session
    wait_for(lambda: gate._book.share_of(name) == LOAN)
    gate.release(OTHER, 100)
    runner.stop().result(WAIT_S)


def test_a_measurement_that_takes_the_device_down_is_told_by_its_end_and_by_nobody_before() -> None:
    def lost() -> None:
        raise DeviceLost(device="d", reason="the card fell off the bus")

    here = scene(FakeSession(inside=lost))
    here.session.begin.set()
    done = here.runner.measure(asked(), rows(1))
    wait_for(here.runner._ended.done)
    assert isinstance(here.faults[0], DeviceLost)
    assert not done.done()


def test_a_loan_that_is_taken_back_on_its_way_to_other_chunks_ends_too() -> None:
    gate = new_gate()
    here = scene(Warming(), gate=gate)
    assert isinstance(here.session, Warming)
    here.session.turn = here.runner.turn
    here.runner.resize(LOAN, (0,)).result(WAIT_S)
    gate.set_share(OTHER, Share(0b11, 500, 1000))
    gate.acquire(OTHER, 100)
    moved = here.runner.resize(Share(0b11, 0, 1000), (0, 1))
    wait_for(lambda: gate._book.is_waiting(ReplicaId("r")))
    stopped = here.runner.stop()
    _always_at_work_until(gate, stopped)
    assert moved.done()
    assert here.session.closed == 1


def _always_at_work_until(gate: TokenGate, done: "Future[Any]") -> None:
    """The other replica always has more to do."""
    while not done.done():
        gate.release(OTHER, 100, again_us=100)
        gate.wait(OTHER)


def test_real_work_beside_a_measurement_disturbs_it() -> None:
    here = scene()
    here.session.begin.set()
    begun = threading.Event()
    inside = threading.Event()

    def run() -> None:
        begun.set()
        inside.wait(WAIT_S if len(here.session.batches) == 1 else 0.003)

    here.session.inside = run
    done = here.runner.measure(asked(runs=3, warmup_runs=0), rows(1))
    assert begun.wait(WAIT_S)
    here.runner.submit(job())
    inside.set()
    here.session.inside = lambda: cast("None", threading.Event().wait(0.003))
    measured = done.result(WAIT_S)
    assert measured.disturbed > 0


def test_how_memory_grew_is_told() -> None:
    here = scene()
    here.session.begin.set()
    watch = Growing(3.0, {OCCUPANCY: 40.0}).watched()
    assert here.runner.measure(asked(), rows(1), watch).result(WAIT_S).settled in (True, False)
    assert watch.grown_mib == 3.0
    assert watch.occupancy_percent == 40.0


def test_a_model_that_leaks_is_measured_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgshare.node_manager.worker.watch.LOOK_EVERY_US", 0)
    here = scene()
    here.session.begin.set()
    done = here.runner.measure(asked(runs=1000), rows(1), Growing(60.0).watched(limit_mib=150.0))
    measured = done.result(WAIT_S)
    assert not measured.settled
    assert "memory grew by 180 MiB, more than the 150 MiB the replica may use" in measured.note
    assert len(here.session.batches) == 3


@pytest.mark.parametrize("when", ["all along", "at the beginning", "in between", "at the end"])
def test_memory_that_others_took_while_they_came_or_left_is_not_blamed_on_who_is_measured(when: str) -> None:
    changes = Changes()
    watch = Growing(step_mib=500.0).watched(limit_mib=1.0, changes=changes)
    with ExitStack() as stack:
        if when in ("all along", "at the beginning"):
            stack.enter_context(changes.one())
        watch.begin(0)
        if when == "at the beginning":
            stack.close()
        if when == "in between":
            with changes.one():
                pass
        if when == "at the end":
            stack.enter_context(changes.one())
        assert watch.look(1, is_busy=True, at_once=True) == ""
    assert watch.grown_mib == 0.0
    watch.begin(2)
    assert "memory grew" in watch.look(3, is_busy=True, at_once=True)


def test_a_batch_that_is_too_slow_ends_the_measurement() -> None:
    here = scene()
    here.session.begin.set()
    here.session.inside = lambda: cast("None", threading.Event().wait(0.005))
    measured = here.runner.measure(asked(runs=100, slowest_ms=1), rows(1)).result(WAIT_S)
    assert not measured.settled
    assert "longer than 0.001 s" in measured.note
    assert len(here.session.batches) == 2


def test_on_cores_the_measured_runs_are_charged_as_work_is() -> None:
    gate = new_gate()
    here = scene(FakeSession(is_on_cores=True), gate)
    here.session.begin.set()
    here.runner.measure(asked(), rows(1)).result(WAIT_S)
    here.runner.stop().result(WAIT_S)
    assert here.faults == []
