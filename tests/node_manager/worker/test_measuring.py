"""Measurements: every message is answered or dropped, none ends the worker."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import anyio
import msgspec
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.node_manager.worker.measuring import Measuring
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.shared.arrays import Array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, MeasureReply, MeasureRequest, ModelRef

X = (TensorSpec("x", "FP32", (-1, 2)),)
MAX_BATCH = 4
ONE = encode(MeasureRequest(batch=1))


@dataclass
class Fakes:
    """A runner, a bus, an object store and a device in one."""

    outcome: Exception | None = None
    fetching: Exception | None = None
    publishing: Exception | None = None
    sent: list[bytes] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    chunks: int = 2
    cache: Path = Path("cache")

    def measure(self, _request: MeasureRequest, feed: dict[str, Array]) -> "Future[list[int]]":
        done: Future[list[int]] = Future()
        self.batches.append(feed["x"].shape[0])
        if self.outcome is not None:
            done.set_exception(self.outcome)
        else:
            done.set_result([7, 8])
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
        made = type("", (), {"bus": self, "objects": self, "device": self, "cache": self.cache})
        return cast("Parts", made)


async def measured(fakes: Fakes, data: bytes = ONE, reply: str = "inbox") -> MeasureReply | None:
    sample = Digest("a" * 64) if fakes.fetching is not None else None
    spec = FunctionSpec(name=FunctionName("f"), model=ModelRef(digest=Digest("b" * 64), size_bytes=1), sample=sample)
    info = ModelInfo(inputs=X, outputs=X, metadata={})
    async with anyio.create_task_group() as tasks:
        measuring = Measuring(cast("Runner", fakes), spec, info, None, fakes.parts, lambda: 1, MAX_BATCH, tasks)
        await measuring.on_message(Msg(cast("Client", None), subject="measure", reply=reply, data=data))
    return decode(MeasureReply, fakes.sent[0]) if fakes.sent else None


async def test_the_times_are_told() -> None:
    fakes = Fakes()
    reply = await measured(fakes, encode(MeasureRequest(batch=MAX_BATCH)))
    assert reply is not None
    assert (reply.execute_us, reply.chunks, reply.total_chunks) == ((7, 8), 1, 2)
    assert fakes.batches == [MAX_BATCH]


async def test_a_message_that_nobody_waits_for_is_dropped() -> None:
    fakes = Fakes()
    assert await measured(fakes, reply="") is None
    assert fakes.batches == []


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
    assert fakes.batches == []


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
