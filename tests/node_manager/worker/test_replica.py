"""A replica's life where its surroundings fail: the disk is its own end, the bus is waited for."""

import errno
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
import pytest
from msgspec.structs import replace

from fastgshare.node_manager.config import WorkerConfig
from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo, Ran
from fastgshare.node_manager.protocol import FromWorker, ReplicaChanged, ReplicaDrained
from fastgshare.node_manager.worker import replica as module
from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.changes import Changes
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.replica import Replica
from fastgshare.node_manager.worker.traces import SpanTeller
from fastgshare.shared.arrays import Array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import NoAnswer
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import AttemptId, DeviceId, Digest, FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, ModelRef, Placement, ReplicaState, Timing
from fastgshare.shared.telemetry.otlp_spans import NoSpans
from fastgshare.shared.telemetry.spans_request import BatchRun

X = (TensorSpec("x", "FP32", (-1, 2)),)
WAIT_S = 20.0
CLOSING_S = 0.05


class FakeSession:
    info = ModelInfo(inputs=X, outputs=X, metadata={})
    footprint = Footprint(weights_mib=7.0, own_mib=1.0, was_loaded=True)
    is_portable = True
    is_on_cores = False
    is_closed = False

    def run(self, feed: dict[str, Array]) -> Ran:
        return Ran(feed, 10)

    def move(self, chunks: tuple[int, ...]) -> None: ...

    def close(self) -> None:
        threading.Event().wait(CLOSING_S)
        self.is_closed = True


@dataclass
class Fakes:
    """Everything a replica finds in its worker."""

    fetches: list[Exception] = field(default_factory=list)
    flushes: list[Exception] = field(default_factory=list)
    reports: list[FromWorker] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    session: FakeSession = field(default_factory=FakeSession)
    changes: Changes = field(default_factory=Changes)
    drain_quiet_ms: int = 0
    chunks: int = 1
    kind: str = "cpu-fake"
    memory_mib: int = 100

    async def fetch(self, _digest: Digest, _cache: Path) -> Path:
        if self.fetches:
            raise self.fetches.pop(0)
        return Path("model")

    async def flush(self) -> None:
        if self.flushes:
            raise self.flushes.pop(0)

    async def subscribe(self, *_: object) -> "Fakes":
        return self

    subscribe_prompt = subscribe

    async def unsubscribe(self) -> None: ...

    def open_session(self, _model: object, _lane: object) -> FakeSession:
        assert self.changes.mark() is None
        return self.session

    def report(self, message: FromWorker) -> None:
        if isinstance(message, ReplicaDrained):
            assert self.session.is_closed
        self.reports.append(message)

    def states(self) -> list[ReplicaState]:
        return [report.state for report in self.reports if isinstance(report, ReplicaChanged)]

    def parts(self) -> Parts:
        names = ("bus", "objects", "device", "answers")
        config = WorkerConfig(nats_url="", device_id="d", drain_s=60, drain_quiet_ms=self.drain_quiet_ms)
        others: dict[str, object] = {
            "gate": TokenGate(1, 100_000),
            "config": config,
            "cache": Path("cache"),
            "report": self.report,
            "on_fault": self.faults.append,
            "profile_of": {}.get,
            "changes": self.changes,
            "spans": SpanTeller(NoSpans(), DeviceId("d")),
        }
        return cast("Parts", SimpleNamespace(**dict.fromkeys(names, self), **others))


def placement() -> Placement:
    spec = FunctionSpec(name=FunctionName("f"), model=ModelRef(digest=Digest("b" * 64), size_bytes=1))
    return Placement(
        replica=ReplicaId("f-1"), function=spec, node=NodeId("n"), device=DeviceId("d"), chunks=(0,), epoch=1
    )


async def life(fakes: Fakes, monkeypatch: pytest.MonkeyPatch, loan: str = "") -> None:
    """From loading to gone, or to failed."""
    monkeypatch.setattr(module, "FETCH_RETRY_S", 0.0)
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            replica = Replica(replace(placement(), loan=loan), fakes.parts(), tasks)
            replica.drain()
            await replica.run()


async def test_a_bus_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = Fakes(fetches=[StorageUnavailable(reason="away")], flushes=[NoAnswer(reason="away")] * 2)
    await life(fakes, monkeypatch)
    assert fakes.states() == [ReplicaState.READY, ReplicaState.DRAINING]
    assert not fakes.flushes
    ready = fakes.reports[0]
    assert isinstance(ready, ReplicaChanged)
    assert (ready.weights_mib, ready.memory_mib, ready.weights_reused) == (7.0, 1.0, True)
    assert ready.placement == placement()


async def test_a_replica_that_is_said_to_be_gone_holds_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = Fakes()
    await life(fakes, monkeypatch)
    assert isinstance(fakes.reports[-1], ReplicaDrained)  # `report` looked at the session


async def test_a_loan_waits_for_no_gateway_to_stop_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = Fakes(drain_quiet_ms=60_000)
    await life(fakes, monkeypatch, loan="l1")
    assert fakes.states() == [ReplicaState.READY, ReplicaState.DRAINING]
    assert fakes.changes.mark() is not None


def full_while_downloading() -> Exception:
    error = StorageUnavailable(reason="full")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize("fault", [OSError(errno.EACCES, "Permission denied"), full_while_downloading()])
async def test_a_disk_that_takes_nothing_fails_the_replica_alone(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes = Fakes(fetches=[fault])
    await life(fakes, monkeypatch)
    assert fakes.states() == [ReplicaState.FAILED]
    last = fakes.reports[-1]
    assert isinstance(last, ReplicaChanged)
    assert "denied" in last.reason or "No space" in last.reason


async def test_an_error_on_the_event_loop_is_a_fault_as_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_jobs: list[Job]) -> None:
        raise MemoryError

    fakes = Fakes()
    async with anyio.create_task_group() as tasks:
        replica = Replica(placement(), fakes.parts(), tasks)
        monkeypatch.setattr(replica._runner, "run_here", broken)
        replica._serving._burst.append(Job(0, 1, "k", 0))
        replica._serving._run_burst()
    assert isinstance(fakes.faults[0], MemoryError)


async def test_of_what_was_recalled_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gateway has counted it as taken back, so it is late for nobody."""
    told: list[object] = []
    async with anyio.create_task_group() as tasks:
        replica = Replica(placement(), Fakes().parts(), tasks)
        monkeypatch.setattr(replica._serving._traces, "ended", lambda *what: told.append(what))
        request = Request("inbox", AttemptId("r.1"), None, 1, 1, objective_us=1, settled=True)
        batch = BatchRun(started_us=1, used_us=1, rows=1, requests=1, left=1)
        replica._serving._pack(Finished(Job(0, 1, "k", 0, request), {}, Timing(), batch))
    assert (told, batch.left) == ([], 0)
