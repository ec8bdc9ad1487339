"""A replica's thread: batches under tokens, nobody pays for another's input, everyone is answered before it ends."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of
from fastgshare.node_manager.devices.faults import DeviceLost, ModelFault
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo, Ran
from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import HERE_BELOW_US, HERE_LIMIT_US, Runner
from fastgshare.shared.arrays import Array, to_tensor
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import MeasureRequest, Tensor

WAIT_S = 20.0
WINDOW_US = 100_000
UNREACHABLE = (9,)
NOTHING = Footprint(0.0, 0.0, False)
INFO = ModelInfo(inputs=(TensorSpec("x", "FP32", (-1, 2)),), outputs=(TensorSpec("y", "FP32", (-1, 2)),), metadata={})


@dataclass
class FakeSession:
    """y = x; negative numbers are beyond it; the first run waits for `begin`."""

    info: ModelInfo = INFO
    begin: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    inside: Callable[[], None] = lambda: None
    footprint: Footprint = NOTHING
    is_portable: bool = True
    is_on_cores: bool = False
    moves: list[tuple[int, ...]] = field(default_factory=list)
    closed: int = 0

    def run(self, feed: dict[str, Array]) -> Ran:
        started_us = monotonic_us()
        assert self.begin.wait(WAIT_S)
        self.batches.append(feed["x"].shape[0])
        self.inside()
        if (feed["x"] < 0).any():  # type: ignore[operator]
            raise ModelFault(reason="cannot be negative")
        return Ran({"y": feed["x"]}, monotonic_us() - started_us)

    def move(self, chunks: tuple[int, ...]) -> None:
        if chunks == UNREACHABLE:
            raise ModelFault(reason="no room there")
        self.moves.append(chunks)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Scene:
    session: FakeSession
    finished: "queue.Queue[Finished]"
    faults: list[BaseException]
    runner: Runner

    def next(self) -> Finished:
        return self.finished.get(timeout=WAIT_S)


def new_gate() -> TokenGate:
    return TokenGate(2, WINDOW_US)


def scene(
    session: FakeSession | None = None, gate: TokenGate | None = None, name: str = "r", chunks: tuple[int, ...] = (0,)
) -> Scene:
    finished: queue.Queue[Finished] = queue.Queue()
    faults: list[BaseException] = []

    def deliver(ends: list[Finished]) -> None:
        for end in ends:
            finished.put(end)

    share = Share(mask_of(chunks), 500, 1000)
    runner = Runner(ReplicaId(name), share, gate or new_gate(), WorkQueue(4, 10**9), deliver, faults.append)
    made = Scene(session or FakeSession(), finished, faults, runner)
    assert runner.start(lambda: made.session).result(WAIT_S) is made.session
    return made


def job(value: float = 1.0, rows: int = 1, left_us: int = 60_000_000, tensor: Tensor | None = None) -> Job:
    now_us = unix_us()
    x = tensor or to_tensor("x", np.full((rows, 2), value, np.float32))
    request = Request("inbox", AttemptId("a.1"), None, now_us + left_us, now_us, inputs=(x,))
    return Job(request.deadline_us, rows, "key", now_us, request)


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


def test_a_measurement_runs_between_jobs_and_tells_every_time() -> None:
    here = scene()
    here.session.begin.set()
    request = MeasureRequest(batch=2, warmup_runs=1, min_runs=3, max_runs=3)
    done = here.runner.measure(request, {"x": np.ones((2, 2), np.float32)})
    here.runner.submit(job())
    assert len(done.result(WAIT_S)) == 3
    assert not isinstance(here.next().result, ErrorBody)
    assert here.session.batches.count(2) == 4


def test_a_measurement_that_fails_says_so() -> None:
    here = scene()
    here.session.begin.set()
    done = here.runner.measure(MeasureRequest(batch=1), {"x": np.full((1, 2), -1, np.float32)})
    with pytest.raises(ModelFault, match="negative"):
        done.result(WAIT_S)


def test_a_second_measurement_is_refused_and_the_model_is_not_to_blame() -> None:
    here = scene()
    feed: dict[str, Array] = {"x": np.ones((1, 2), np.float32)}
    first = here.runner.measure(MeasureRequest(batch=1, min_runs=3, max_runs=3), feed)
    second = here.runner.measure(MeasureRequest(batch=1), feed)
    here.session.begin.set()
    with pytest.raises(MeasurementRefused, match="another"):
        second.result(WAIT_S)
    assert len(first.result(WAIT_S)) == 3


def test_whoever_comes_after_the_end_is_told_that_it_ended() -> None:
    here = scene()
    here.session.begin.set()
    feed: dict[str, Array] = {"x": np.ones((1, 2), np.float32)}
    here.runner.stop()
    early = here.runner.measure(MeasureRequest(batch=1), feed)
    with pytest.raises(MeasurementRefused, match="stopped"):
        early.result(WAIT_S)
    assert here.runner._thread is not None
    here.runner._thread.join(WAIT_S)
    late = here.runner.measure(MeasureRequest(batch=1), feed)
    with pytest.raises(MeasurementRefused, match="stopped"):
        late.result(WAIT_S)
    here.runner.submit(job())
    end = here.next()
    assert isinstance(end.result, ErrorBody)
    assert end.result.code is ErrorCode.UNAVAILABLE


def test_a_measurement_that_nobody_waits_for_any_more_is_not_made() -> None:
    here = scene()
    feed: dict[str, Array] = {"x": np.ones((1, 2), np.float32)}
    here.runner.submit(job())  # keeps the thread busy until `begin`
    given_up = here.runner.measure(MeasureRequest(batch=1), feed)
    given_up.cancel()
    here.session.begin.set()
    wanted = here.runner.measure(MeasureRequest(batch=1, max_runs=1), feed)
    assert len(wanted.result(WAIT_S)) == 1
    assert here.faults == []


def test_one_long_run_on_the_calling_thread_sends_the_rest_back_to_the_replicas_own() -> None:
    here = scene()
    here.session.begin.set()
    here.runner._usual_us = HERE_BELOW_US  # however slow the machine is
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


def test_a_replica_moves_between_two_batches_and_asks_for_its_new_chunks() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())
    moved = here.runner.resize(Share(0b10, 300, 1000), (1,))
    assert not moved.done()
    here.session.begin.set()
    here.next()
    moved.result(WAIT_S)
    assert here.session.moves == [(1,)]
    assert gate._book.shares()[ReplicaId("r")] == Share(0b10, 300, 1000)
    here.runner.submit(job())
    here.next()


def test_a_move_that_fails_says_so_and_the_replica_stays_where_it_was() -> None:
    here = scene()
    here.session.begin.set()
    with pytest.raises(ModelFault, match="no room there"):
        here.runner.resize(Share(1 << 9, 300, 1000), UNREACHABLE).result(WAIT_S)
    here.runner.submit(job())
    assert not isinstance(here.next().result, ErrorBody)


def test_the_last_of_several_changes_holds_even_if_it_leads_back() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())  # keeps the thread busy until `begin`
    away = here.runner.resize(Share(0b10, 300, 1000), (1,))
    back = here.runner.resize(Share(0b01, 100, 200), (0,))
    assert not back.done()
    here.session.begin.set()
    away.result(WAIT_S)
    back.result(WAIT_S)
    assert here.session.moves == [(1,), (0,)]
    assert gate._book.shares()[ReplicaId("r")] == Share(0b01, 100, 200)


def test_nothing_runs_elsewhere_while_the_replica_moves() -> None:
    here = scene()
    here.session.begin.set()
    moving, go_on = threading.Event(), threading.Event()

    def slowly(chunks: tuple[int, ...]) -> None:
        moving.set()
        assert go_on.wait(WAIT_S)

    here.session.move = slowly  # type: ignore[method-assign]
    moved = here.runner.resize(Share(0b10, 500, 1000), (1,))
    assert moving.wait(WAIT_S)
    assert here.runner.run_here([job()]) is None
    go_on.set()
    moved.result(WAIT_S)
    assert here.runner.run_here([job()]) is not None


def test_a_change_before_the_start_counts_from_the_start_and_leaves_nothing_behind() -> None:
    gate = new_gate()

    def made() -> Runner:
        return Runner(ReplicaId("r"), Share(0b01, 500, 1000), gate, WorkQueue(4, 1), lambda _: None, lambda _: None)

    never_started = made()
    never_started.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    moved = never_started.resize(Share(0b10, 100, 200), (1,))
    never_started.stop().result(WAIT_S)
    moved.result(WAIT_S)
    assert gate._book.shares() == {}
    runner = made()
    runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    runner.start(FakeSession).result(WAIT_S)
    assert gate._book.shares() == {ReplicaId("r"): Share(0b01, 100, 200)}


def test_a_change_after_the_end_leaves_nothing_at_the_gate() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.stop().result(WAIT_S)
    assert here.session.closed == 1
    here.runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    here.runner.resize(Share(0b10, 100, 200), (1,)).result(WAIT_S)
    assert gate._book.shares() == {}


def test_a_change_that_comes_with_the_end_is_answered() -> None:
    here = scene()
    here.runner.submit(job())
    here.runner.submit(job())
    moved = here.runner.resize(Share(0b10, 300, 1000), (1,))
    here.runner.stop()
    here.session.begin.set()
    moved.result(WAIT_S)


def test_quotas_change_at_once_even_while_a_batch_runs() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())
    here.runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    assert gate._book.shares()[ReplicaId("r")] == Share(0b01, 100, 200)
    here.session.begin.set()
    here.next()


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
    here.runner._usual_us = HERE_BELOW_US
    assert not here.runner.is_quick


def test_what_computes_outside_of_batches_takes_turns_on_the_chunks_it_computes_on() -> None:
    gate = new_gate()
    other = ReplicaId("other")
    gate.set_share(other, Share(0b10, 500, 1000))
    gate.acquire(other, 1_000)
    here = scene(gate=gate)
    here.session.begin.set()

    def warming_up(chunks: tuple[int, ...]) -> None:
        with here.runner.turn():
            assert gate._book.running() == {ReplicaId("r"): 0b10}
        here.session.moves.append(chunks)

    here.session.move = warming_up  # type: ignore[method-assign]
    moved = here.runner.resize(Share(0b10, 500, 1000), (1,))
    wait_for(lambda: gate._book.waiting() == [ReplicaId("r")])
    assert not moved.done()
    gate.release(other, 1_000)
    moved.result(WAIT_S)
    assert here.session.moves == [(1,)]


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


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.001)
