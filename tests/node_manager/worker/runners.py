"""A replica's thread over a session that only pretends, for the tests of what the thread does."""

import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.measurement import Measurement
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo, Ran
from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.shared.arrays import Array, to_tensor
from fastgshare.shared.clock import monotonic_us, unix_us
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


def asked(
    batch: int = 1, runs: int = 3, warmup_runs: int = 1, open_ms: int = 0, load: float = 0.8, slowest_ms: int = 0
) -> Measurement:
    """A measurement of so many runs after its warm-up."""
    request = MeasureRequest(
        batch=batch,
        warmup_runs=warmup_runs,
        min_runs=runs,
        max_runs=runs,
        budget_ms=0,
        open_ms=open_ms,
        load=load,
        slowest_ms=slowest_ms,
    )
    return Measurement(request, random.Random(7).expovariate)


def rows(batch: int, value: float = 1.0) -> dict[str, Array]:
    return {"x": np.full((batch, 2), value, np.float32)}


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.001)
