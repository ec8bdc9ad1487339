"""Measurements that the profiler asks of a replica: synthetic batches on its own slice, between real work."""

import asyncio
import logging
from collections.abc import Callable

import anyio.abc
import anyio.to_thread
import nats.errors
from nats.aio.msg import Msg

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.node_manager.worker.handlers import Handler
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.samples import SampleInvalid, one_row, random_row, read_sample, repeat_row
from fastgshare.shared.arrays import Array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, ObjectMissing, PayloadInvalid
from fastgshare.shared.messages import FunctionSpec, MeasureReply, MeasureRequest
from fastgshare.shared.units import US_PER_S

PREPROCESS_LIMIT_US = 10 * US_PER_S

logger = logging.getLogger(__name__)


class Measuring:
    """Answers `MeasureRequest`s of one replica."""

    def __init__(
        self,
        runner: Runner,
        spec: FunctionSpec,
        info: ModelInfo,
        handler: Handler | None,
        parts: Parts,
        chunks: Callable[[], int],
        max_batch: int,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._runner = runner
        self._spec = spec
        self._info = info
        self._handler = handler
        self._parts = parts
        self._chunks = chunks
        self._max_batch = max_batch
        self._tasks = tasks
        self._row: dict[str, Array] | None = None

    async def on_message(self, msg: Msg) -> None:
        """One measurement, in a task of its own: it takes as long as it was given."""
        if msg.reply:  # else nobody could be told
            self._tasks.start_soon(self._measure, msg)

    async def _measure(self, msg: Msg) -> None:
        reply = await self._reply_to(msg)
        try:
            await self._parts.bus.publish(msg.reply, encode(reply))
        except nats.errors.Error as error:
            logger.warning("a measurement of %s was not told: %s", self._spec.name, error)

    async def _reply_to(self, msg: Msg) -> MeasureReply:
        try:
            request = decode(MeasureRequest, msg.data)
            if not 1 <= request.batch <= self._max_batch:
                return _refused(ErrorCode.INVALID, f"batch is {request.batch}, expected 1 to {self._max_batch}")
            feed = repeat_row(await self._one_row(), request.batch)
            times = await asyncio.wrap_future(self._runner.measure(request, feed))
            return MeasureReply(execute_us=tuple(times), chunks=self._chunks(), total_chunks=self._parts.device.chunks)
        except PayloadInvalid as error:
            return _refused(ErrorCode.INVALID, str(error))
        except MeasurementRefused as error:
            return _refused(ErrorCode.UNAVAILABLE, str(error))
        except StorageUnavailable as error:
            return _refused(ErrorCode.UNAVAILABLE, f"no input to measure with: {error}")
        except (SampleInvalid, ObjectMissing, ValueError) as error:
            return _refused(ErrorCode.INVALID, f"no input to measure with: {error}")
        except ModelFault as fault:
            return _refused(ErrorCode.MODEL_FAILED, fault.reason)
        except Exception as error:  # whatever a user's sample brings about, the worker outlives it
            logger.exception("a measurement of %s failed", self._spec.name)
            return _refused(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")

    async def _one_row(self) -> dict[str, Array]:
        if self._row is None:
            self._row = await self._make_row()
        return self._row

    async def _make_row(self) -> dict[str, Array]:
        if self._spec.sample is None:
            return random_row(self._info)
        path = await self._parts.objects.fetch(self._spec.sample, self._parts.cache)
        inputs = self._info.inputs if self._handler is None else self._handler.inputs
        tensors = await anyio.to_thread.run_sync(read_sample, path, inputs)
        if self._handler is not None:
            made = await self._handler.preprocess(tensors, unix_us() + PREPROCESS_LIMIT_US)
            if isinstance(made, ErrorBody):
                raise SampleInvalid(reason=made.message)
            tensors = made
        return one_row(tensors, self._info)


def _refused(code: ErrorCode, message: str) -> MeasureReply:
    return MeasureReply(error=ErrorBody(code, message))
