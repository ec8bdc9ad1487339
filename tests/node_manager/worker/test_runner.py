"""A replica's thread: batches under tokens, nobody pays for another's input, everyone is answered before it ends."""

import threading
import time

import pytest

from fastgshare.node_manager.core.batching import WorkQueue
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.faults import DeviceLost, ModelFault
from fastgshare.node_manager.worker.pace import HERE_BELOW_US
from fastgshare.node_manager.worker.runner import HERE_LIMIT_US, Runner
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Tensor
from tests.node_manager.worker.runners import WAIT_S, FakeSession, job, new_gate, scene, wait_for


def test_jobs_that_wait_run_as_one_batch_and_get_their_own_rows_back() -> None:
    here = scene()
    here.runner.submit(job(0.0))  # keeps the thread busy until `begin`
    for value in (1.0, 2.0, 3.0):
        here.runner.submit(job(value))
    here.session.begin.set()
    ends = [here.next() for _ in range(4)]
    values = {float(end.result["y"][0, 0]) for end in ends if not isinstance(end.result, ErrorBody)}
    assert values == {0.0, 1.0, 2.0, 3.0}
    assert sum(here.session.batches) == 4
    assert len(here.session.batches) <= 2
    assert ends[-1].timing.batch == here.session.batches[-1]


def test_a_failing_input_costs_its_own_request_only() -> None:
    here = scene()
    here.runner.submit(job(0.0))
    for value in (1.0, -1.0, 3.0):
        here.runner.submit(job(value))
    here.session.begin.set()
    ends = [here.next() for _ in range(4)]
    errors = [end.result for end in ends if isinstance(end.result, ErrorBody)]
    assert [error.code for error in errors] == [ErrorCode.MODEL_FAILED]
    assert "cannot be negative" in errors[0].message


def test_tensors_that_do_not_fit_their_shape_are_refused_alone() -> None:
    here = scene()
    here.session.begin.set()
    here.runner.submit(job(tensor=Tensor("x", "FP32", (1, 2), memoryview(b"123"))))
    end = here.next()
    assert isinstance(end.result, ErrorBody)
    assert end.result.code is ErrorCode.INVALID


def test_a_job_past_its_deadline_is_told_and_never_run() -> None:
    here = scene()
    here.session.begin.set()
    here.runner.submit(job(left_us=-1))
    end = here.next()
    assert isinstance(end.result, ErrorBody)
    assert end.result.code is ErrorCode.DEADLINE_EXCEEDED
    assert here.session.batches == []


def test_everyone_who_waits_is_answered_before_the_thread_ends() -> None:
    here = scene()
    for _ in range(9):
        here.runner.submit(job())
    here.runner.stop()
    here.session.begin.set()
    assert len([here.next() for _ in range(9)]) == 9


def test_whoever_comes_after_the_end_is_told_that_it_ended() -> None:
    here = scene()
    here.session.begin.set()
    here.runner.stop()
    assert here.runner._thread is not None
    here.runner._thread.join(WAIT_S)
    here.runner.submit(job())
    end = here.next()
    assert isinstance(end.result, ErrorBody)
    assert end.result.code is ErrorCode.UNAVAILABLE


def test_one_long_run_on_the_calling_thread_sends_the_rest_back_to_the_replicas_own() -> None:
    here = scene()
    here.session.begin.set()
    here.runner._pace.usual_us = HERE_BELOW_US  # however slow the machine is
    here.session.inside = lambda: time.sleep(2 * HERE_LIMIT_US / 1e6)
    finished = here.runner.run_here([job() for _ in range(6)])  # at most 4 in a batch
    assert finished is not None
    assert len(finished) == 4
    assert not here.runner.is_quick
    assert len([here.next() for _ in range(2)]) == 2


def test_a_model_that_does_not_load_ends_the_thread_with_its_reason() -> None:
    def load() -> FakeSession:
        raise ModelFault(reason="no such operator")

    runner = Runner(ReplicaId("r"), Share(1, 500, 1000), new_gate(), WorkQueue(1, 1), lambda _: None, lambda _: None)
    with pytest.raises(ModelFault, match="no such operator"):
        runner.start(load).result(WAIT_S)


def test_an_error_nobody_can_be_blamed_for_is_reported_as_a_fault() -> None:
    def broken() -> None:
        raise MemoryError

    here = scene(FakeSession(inside=broken))
    here.session.begin.set()
    here.runner.submit(job())
    while not here.faults:
        threading.Event().wait(0.001)
    assert isinstance(here.faults[0], MemoryError)


def test_replicas_that_share_a_chunk_never_run_at_the_same_time() -> None:
    gate = new_gate()
    running = threading.Semaphore(1)
    overlaps: list[str] = []

    def inside() -> None:
        if not running.acquire(blocking=False):
            overlaps.append("!")
            return
        threading.Event().wait(0.0005)
        running.release()

    scenes = [scene(FakeSession(inside=inside), gate, name, (0,)) for name in ("a", "b", "c")]
    for here in scenes:
        here.session.begin.set()
        for _ in range(30):
            here.runner.submit(job())
    for here in scenes:
        for _ in range(30):
            here.next()
    assert overlaps == []


def test_a_lost_device_is_a_fault_of_the_worker_and_the_request_stays_open() -> None:
    def lost() -> None:
        raise DeviceLost(device="d", reason="the card fell off the bus")

    here = scene(FakeSession(inside=lost))
    here.session.begin.set()
    here.runner.submit(job())
    wait_for(lambda: here.faults)
    assert isinstance(here.faults[0], DeviceLost)
    assert here.finished.empty()
    wait_for(lambda: here.session.closed == 1)


def test_a_stopped_replica_closes_its_session_and_leaves_the_gate() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.session.begin.set()
    here.runner.stop()
    wait_for(lambda: here.session.closed == 1)
    assert gate._book.shares() == {}
    assert here.runner.run_here([job()]) is None


def test_a_session_that_is_bound_to_its_thread_never_runs_elsewhere() -> None:
    here = scene(FakeSession(is_portable=False))
    here.runner._pace.usual_us = HERE_BELOW_US
    assert not here.runner.is_quick


@pytest.mark.parametrize("is_on_cores", [False, True])
def test_what_a_batch_takes_is_charged_and_told(is_on_cores: bool) -> None:
    gate = new_gate()
    here = scene(FakeSession(inside=lambda: time.sleep(0.002), is_on_cores=is_on_cores), gate=gate)
    here.session.begin.set()
    for _ in range(3):
        here.runner.submit(job(rows=4))
        here.next()
    wait_for(lambda: not gate._book.running())
    use = gate.take_use()[ReplicaId("r")]
    assert use.batches == 3
    assert use.used_us >= 6_000
    assert use.backlogged_us >= 6_000
