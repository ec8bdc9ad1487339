"""The `cpu` device with real inference: replicas as a worker has them, threads, gate and sessions, without the bus.

Load is closed-loop without a client in the way (an answer puts the next request in), or open-loop by a timetable of
arrivals. Every run is recorded where it happens, on the session, so that shares and overlaps are judged by what ran and
not by what the token core believes.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.quota.figures import Run
from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of, permille_of
from fastgshare.node_manager.devices.cpu import CpuDevice
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import Lane, Ran, Session, StoredModel
from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.shared.arrays import Array
from fastgshare.shared.clock import monotonic_us, thread_us, unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.objects import digest_of

WINDOW_US = 100_000
FAR_US = 3_600_000_000
MEMORY_MIB = 1024
WAIT_S = 30.0
AHEAD = 2  # requests of a closed loop that wait, so that the replica never runs dry


@dataclass
class Recorded:
    """A session that notes when it ran; everything else is the device's own.

    `core` has processor time: what the replica's thread spent up to the end of each batch since the end of the one
    before, as the kernel counts it.
    """

    session: Session
    replica: str
    mask: int
    runs: list[Run]
    core: list[Run]
    spent_us: int = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.session, name)

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch, noted."""
        start_us = monotonic_us()
        ran = self.session.run(feed)
        end_us, spent_us = monotonic_us(), thread_us()
        self.runs.append(Run(self.replica, self.mask, start_us, end_us))
        self.core.append(Run(self.replica, self.mask, end_us - (spent_us - self.spent_us), end_us))
        self.spent_us = spent_us
        return ran


@dataclass
class Guest:
    """A replica under load, with what it finished: when each request arrived and when it was answered."""

    name: str
    runner: Runner
    feed: dict[str, Array]
    latencies_us: list[int] = field(default_factory=list)
    answered: int = 0
    is_looping: bool = False
    failures: list[str] = field(default_factory=list)
    idle: threading.Event = field(default_factory=threading.Event)
    outstanding: int = 0

    def put(self) -> None:
        """One more request."""
        now_us = unix_us()
        request = Request("", AttemptId(""), None, now_us + FAR_US, now_us, arrays=self.feed)
        self.outstanding += 1
        self.runner.submit(Job(request.deadline_us, 1, "x", now_us, request))

    def loop(self) -> None:
        """Always have work from now on."""
        self.is_looping = True
        for _ in range(AHEAD):
            self.put()

    def finished(self, ends: list[Finished]) -> None:
        """In the replica's thread."""
        now_us = unix_us()
        for end in ends:
            self.outstanding -= 1
            self.answered += 1
            self.latencies_us.append(now_us - end.job.arrived_us)
            if isinstance(end.result, ErrorBody):
                self.failures.append(end.result.message)
            if self.is_looping:
                self.put()
        if not self.outstanding:
            self.idle.set()


class Stand:
    """One device with its gate, and the guests on it."""

    def __init__(self, model: Path, input_shape: tuple[int, ...]) -> None:
        self.device = CpuDevice({"onnx": OnnxRuntime()})
        self.gate = TokenGate(self.device.chunks, WINDOW_US)
        self.runs: list[Run] = []
        self.core: list[Run] = []
        self._model = StoredModel(digest_of(model), model, "onnx")
        self._feed: dict[str, Array] = {"x": np.ones(input_shape, np.float32)}

    @contextmanager
    def guest(self, name: str, chunks: tuple[int, ...], request: float, limit: float) -> Iterator[Guest]:
        """A replica on this slice, ready; gone afterwards."""
        share = Share(mask_of(chunks), permille_of(request), permille_of(limit))
        guest: Guest | None = None

        def deliver(ends: list[Finished]) -> None:
            assert guest is not None
            guest.finished(ends)

        runner = Runner(ReplicaId(name), share, self.gate, WorkQueue(1, WINDOW_US), deliver, _end_all)
        guest = Guest(name, runner, self._feed)
        lane = Lane(ReplicaId(name), chunks, MEMORY_MIB)
        opened = runner.start(lambda: self._open(name, lane, share.mask))
        opened.result(WAIT_S)
        try:
            yield guest
        finally:
            guest.is_looping = False
            runner.stop()
            self._await_end(name)
            assert not guest.failures, guest.failures[0]

    def _open(self, name: str, lane: Lane, mask: int) -> Session:
        session = self.device.open_session(self._model, lane)
        spent_us = thread_us()
        recorded: Session = Recorded(session, name, mask, self.runs, self.core, spent_us)  # type: ignore[assignment]
        return recorded

    def _await_end(self, name: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while ReplicaId(name) in self.gate.take_use():
            assert time.monotonic() < deadline_s, f"{name} does not end"
            time.sleep(0.002)


def spend(seconds: float) -> tuple[int, int]:
    """Let the guests run; from when to when, in microseconds."""
    begin_us = monotonic_us()
    time.sleep(seconds)
    return begin_us, monotonic_us()


def open_loop(guest: Guest, gaps_s: list[float]) -> list[int]:
    """Put a request after each gap; every latency in microseconds, once all are answered."""
    due_s = time.monotonic()
    guest.idle.clear()
    for gap_s in gaps_s:
        due_s += gap_s
        time.sleep(max(due_s - time.monotonic(), 0))
        guest.put()
    deadline_s = time.monotonic() + WAIT_S
    while guest.outstanding and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return list(guest.latencies_us)


def layers_for(make: Callable[[Path, int], Path], directory: Path, batch_us: int, shape: tuple[int, ...]) -> int:
    """How many layers make a batch of about `batch_us` on the last core of this machine."""
    runtime, layers = OnnxRuntime(), 4
    path = make(directory / "probe.onnx", layers)
    feed: dict[str, Array] = {"x": np.ones(shape, np.float32)}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        session = runtime.load(StoredModel(digest_of(path), path, "onnx")).session(1)
        times_us = []
        for _ in range(20):
            started_us = monotonic_us()
            session.run(feed)
            times_us.append(monotonic_us() - started_us)
    finally:
        os.sched_setaffinity(0, before)
    return max(round(batch_us * layers / sorted(times_us)[len(times_us) // 2]), 1)


def _end_all(error: BaseException) -> None:
    """A replica's thread broke: nothing that is measured from here on would mean anything."""
    print(f"a replica's thread ended: {type(error).__name__}: {error}", flush=True)
    os._exit(1)
