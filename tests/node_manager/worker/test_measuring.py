"""Measurements: every message is answered or dropped, none ends the worker."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import msgspec
import nats.errors
import pytest
from anyio.abc import TaskGroup
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastgshare.node_manager.core.measurement import Measured, Measurement
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo
from fastgshare.node_manager.worker.changes import Changes
from fastgshare.node_manager.worker.measuring import Measuring
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.watch import Watch
from fastgshare.shared.arrays import Array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, MeasureReply, MeasureRequest, ModelRef, Placement

X = (TensorSpec("x", "FP32", (-1, 2)),)
MAX_BATCH = 4
ONE = encode(MeasureRequest(batch=1))
WINDOW_MS = 100
MEASURED = Measured((7, 8), 3, 100.0, 0.01, True, "", (20, 30), 80.0, 0.25)


@dataclass
class Fakes:
    """A runner, a bus, an object store and a device in one; `longest`: what the model takes of free axes."""

    outcome: Exception | None = None
    fetching: Exception | None = None
    publishing: Exception | None = None
    moving: Exception | None = None
    sent: list[bytes] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    asked: list[MeasureRequest] = field(default_factory=list)
    held: list[tuple[Share, tuple[int, ...]]] = field(default_factory=list)
    inputs: tuple[TensorSpec, ...] = X
    longest: int = 1000
    meanwhile: Callable[[], None] = lambda: None
    chunks: int = 2
    cache: Path = Path("cache")
    window_ms: int = WINDOW_MS

    def measure(
        self, measurement: Measurement, feed: dict[str, Array], watch: Watch | None = None
    ) -> "Future[Measured]":
        done: Future[Measured] = Future()
        self.asked.append(measurement.request)
        self.shapes.append(feed["x"].shape)
        self.meanwhile()
        if self.outcome is not None:
            done.set_exception(self.outcome)
        elif max(feed["x"].shape) > self.longest:
            done.set_exception(ModelFault(reason=f"{feed['x'].shape} is too much"))
        else:
            if watch is not None:
                watch.grown_mib, watch.occupancy_percent = 5.0, 60.0
            done.set_result(MEASURED)
        return done

    def resize(self, share: Share, chunks: tuple[int, ...]) -> "Future[None]":
        done: Future[None] = Future()
        self.held.append((share, chunks))
        if self.moving is not None:
            done.set_exception(self.moving)
        else:
            done.set_result(None)
        return done

    async def publish(self, subject: str, payload: bytes) -> None:
        assert subject == "inbox"
        if self.publishing is not None:
            raise self.publishing
        self.sent.append(payload)

    async def fetch(self, _digest: Digest, _cache: Path) -> Path:
        assert self.fetching is not None
        raise self.fetching

    @property
    def parts(self) -> Parts:
        others = {"cache": self.cache, "changes": Changes()}
        made = type("", (), {**dict.fromkeys(("bus", "objects", "device", "config"), self), **others})
        return cast("Parts", made)

    def measuring(self, tasks: TaskGroup, placement: Callable[[], Placement]) -> Measuring:
        info = ModelInfo(inputs=self.inputs, outputs=X, metadata={})
        footprint = Footprint(30.0, 10.0, False)
        return Measuring(cast("Runner", self), placement, info, footprint, MAX_BATCH, None, self.parts, tasks)


def placed(loan: str = "", chunks: tuple[int, ...] = (0,), sample: Digest | None = None) -> Placement:
    model = ModelRef(digest=Digest("b" * 64), size_bytes=1)
    spec = FunctionSpec(name=FunctionName("f"), model=model, sample=sample)
    return Placement(
        replica=ReplicaId("f-1"),
        function=spec,
        node=NodeId("n"),
        device=DeviceId("d"),
        chunks=chunks,
        epoch=1,
        loan=loan,
    )


def message(data: bytes, reply: str = "inbox") -> Msg:
    return Msg(cast("Client", None), subject="measure", reply=reply, data=data)


async def measured(
    fakes: Fakes, data: bytes = ONE, reply: str = "inbox", placement: Placement | None = None
) -> MeasureReply | None:
    sample = Digest("a" * 64) if fakes.fetching is not None else None
    held = placement or placed(sample=sample)
    async with anyio.create_task_group() as tasks:
        await fakes.measuring(tasks, lambda: held).on_message(message(data, reply))
    return decode(MeasureReply, fakes.sent[0]) if fakes.sent else None


async def replied(fakes: Fakes, placement: Placement, **asked: object) -> MeasureReply:
    reply = await measured(fakes, msgspec.msgpack.encode({"batch": 1, **asked}), placement=placement)
    assert reply is not None
    return reply


async def refused(fakes: Fakes, placement: Placement, **asked: object) -> ErrorBody:
    reply = await replied(fakes, placement, **asked)
    assert reply.error is not None
    return reply.error


async def test_all_that_was_measured_is_told() -> None:
    fakes = Fakes()
    reply = await measured(fakes, encode(MeasureRequest(batch=MAX_BATCH)))
    assert reply == MeasureReply(
        execute_us=(7, 8),
        chunks=1,
        total_chunks=2,
        warmup_runs=3,
        throughput_rps=100.0,
        throughput_error=0.01,
        latency_us=(20, 30),
        load_rps=80.0,
        disturbed=0.25,
        memory_mib=40.0,
        memory_grown_mib=5.0,
        occupancy_percent=60.0,
    )
    assert fakes.shapes == [(MAX_BATCH, 2)]
    assert fakes.held == []


async def test_a_loan_is_measured_on_the_first_of_its_chunks_and_within_a_quota() -> None:
    fakes = Fakes()
    reply = await replied(fakes, placed("wish", (1, 3, 4)), chunks=2, quota=0.25)
    assert (reply.error, reply.chunks) == (None, 2)
    assert fakes.held == [(Share(0b1010, 0, 250), (1, 3))]
    assert fakes.asked[0].quota == 0.25


async def test_a_loan_has_its_whole_slice_where_no_part_is_asked_for() -> None:
    fakes = Fakes()
    reply = await replied(fakes, placed("wish", (1, 3)))
    assert reply.chunks == 2
    assert fakes.held == [(Share(0b1010, 0, 1000), (1, 3))]
    assert fakes.asked[0].quota == 1.0


@pytest.mark.parametrize("part", [{"chunks": 1}, {"quota": 0.5}])
async def test_who_serves_is_measured_as_it_is_or_not_at_all(part: dict[str, float]) -> None:
    fakes = Fakes()
    error = await refused(fakes, placed(chunks=(0, 1)), **part)
    assert error.code is ErrorCode.INVALID
    assert "only a replica on loan" in error.message
    assert (fakes.held, fakes.asked) == ([], [])


async def test_more_chunks_than_a_loan_holds_are_refused() -> None:
    error = await refused(Fakes(), placed("wish", (0, 1)), chunks=3)
    assert error.code is ErrorCode.INVALID
    assert "chunks is 3, expected at most 2" in error.message


async def test_a_move_that_fails_is_told() -> None:
    fakes = Fakes(moving=ModelFault(reason="no room there"))
    error = await refused(fakes, placed("wish", (0, 1)), chunks=1)
    assert error.code is ErrorCode.MODEL_FAILED
    assert error.message == "it cannot move to chunks [0]: no room there"
    assert fakes.asked == []


async def test_a_slice_that_changes_meanwhile_makes_the_measurement_worthless() -> None:
    slices = iter([placed("wish", (0, 1))] * 3 + [placed("wish", (2, 3))])
    fakes = Fakes()
    async with anyio.create_task_group() as tasks:
        measuring = fakes.measuring(tasks, lambda: next(slices))
        await measuring.on_message(message(ONE))
    reply = decode(MeasureReply, fakes.sent[0])
    assert reply.error is not None
    assert reply.error.code is ErrorCode.UNAVAILABLE
    assert "changed" in reply.error.message


async def test_a_second_measurement_does_not_move_the_replica_under_the_first() -> None:
    fakes = Fakes()
    codes: list[ErrorCode | None] = []
    async with anyio.create_task_group() as tasks:
        measuring = fakes.measuring(tasks, lambda: placed("wish", (0, 1)))
        await measuring.on_message(message(ONE))
        await measuring.on_message(message(encode(MeasureRequest(batch=1, chunks=1))))
    for payload in fakes.sent:
        error = decode(MeasureReply, payload).error
        codes.append(error.code if error is not None else None)
    assert sorted(codes, key=str) == [None, ErrorCode.UNAVAILABLE]
    assert len(fakes.held) == 1


async def test_lengths_of_free_axes_are_tried_once_until_the_model_takes_one() -> None:
    fakes = Fakes(inputs=(TensorSpec("x", "FP32", (-1, -1)),), longest=4)
    async with anyio.create_task_group() as tasks:
        measuring = fakes.measuring(tasks, placed)
        for _ in range(2):
            async with anyio.create_task_group() as one:
                measuring._tasks = one
                await measuring.on_message(message(encode(MeasureRequest(batch=2))))
    assert fakes.shapes == [(1, 32), (1, 64), (1, 224), (1, 1), (2, 1), (2, 1)]


async def test_a_model_that_takes_no_length_is_told_what_was_tried() -> None:
    fakes = Fakes(inputs=(TensorSpec("x", "FP32", (-1, -1)),), longest=0)
    error = await refused(fakes, placed())
    assert error.code is ErrorCode.INVALID
    assert "none of these lengths" in error.message
    assert "32; 64; 224; 1; 128" in error.message
    assert "(1, 128) is too much" in error.message


async def test_a_message_that_nobody_waits_for_is_dropped() -> None:
    fakes = Fakes()
    assert await measured(fakes, reply="") is None
    assert fakes.asked == []


@pytest.mark.parametrize("fault", [nats.errors.BadSubjectError(), nats.errors.MaxPayloadError(), nats.errors.Error()])
async def test_a_reply_that_the_connection_refuses_is_lost_alone(fault: Exception) -> None:
    assert await measured(Fakes(publishing=fault)) is None


@pytest.mark.parametrize("batch", [0, -1, MAX_BATCH + 1, 10**9])
async def test_a_batch_that_the_replica_does_not_take_is_refused(batch: int) -> None:
    fakes = Fakes()
    reply = await measured(fakes, encode(MeasureRequest(batch=batch)))
    assert reply is not None
    assert reply.error is not None
    assert reply.error.code is ErrorCode.INVALID
    assert f"batch is {batch}, expected 1 to {MAX_BATCH}" in reply.error.message
    assert fakes.asked == []


@pytest.mark.parametrize("field_name", ["warmup_runs", "min_runs", "max_runs", "budget_ms"])
@pytest.mark.parametrize("value", [-1, 60_001])
async def test_a_measurement_without_end_is_refused(field_name: str, value: int) -> None:
    reply = await measured(Fakes(), msgspec.msgpack.encode({"batch": 1, field_name: value}))
    assert reply is not None
    assert reply.error is not None
    assert reply.error.code is ErrorCode.INVALID
    assert field_name in reply.error.message


@pytest.mark.parametrize(
    ("fakes", "code"),
    [
        (Fakes(outcome=ModelFault(reason="cannot")), ErrorCode.MODEL_FAILED),
        (Fakes(outcome=MeasurementRefused(reason="another")), ErrorCode.UNAVAILABLE),
        (Fakes(outcome=RuntimeError("odd")), ErrorCode.INTERNAL),
        (Fakes(fetching=StorageUnavailable(reason="away")), ErrorCode.UNAVAILABLE),
        (Fakes(fetching=OSError("no space")), ErrorCode.INTERNAL),
    ],
)
async def test_whatever_goes_wrong_is_told_under_a_code_that_blames_the_right_one(
    fakes: Fakes, code: ErrorCode
) -> None:
    reply = await measured(fakes)
    assert reply is not None
    assert reply.error is not None
    assert reply.error.code is code
