"""Measurements that the profiler asks of a replica: synthetic batches on its own slice, between real work."""

import asyncio

import anyio.abc
from nats.aio.msg import Msg

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.node_manager.worker.handlers import Handler
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.samples import SampleInvalid, random_row, read_sample, repeat_row
from fastgshare.shared.arrays import Array, to_array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, ObjectMissing, PayloadInvalid
from fastgshare.shared.messages import FunctionSpec, MeasureReply, MeasureRequest
from fastgshare.shared.units import US_PER_S

PREPROCESS_LIMIT_US = 10 * US_PER_S


class Measuring:
    """Answers `MeasureRequest`s of one replica."""

    def __init__(
        self,
        runner: Runner,
        spec: FunctionSpec,
        info: ModelInfo,
        handler: Handler | None,
        parts: Parts,
        chunks: int,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._runner = runner
        self._spec = spec
        self._info = info
        self._handler = handler
        self._parts = parts
        self._chunks = chunks
        self._tasks = tasks
        self._row: dict[str, Array] | None = None

    async def on_message(self, msg: Msg) -> None:
        """One measurement, in a task of its own: it takes as long as it was given."""
        self._tasks.start_soon(self._measure, msg)

    async def _measure(self, msg: Msg) -> None:
        try:
            request = decode(MeasureRequest, msg.data)
            feed = repeat_row(await self._one_row(), request.batch)
            times = await asyncio.wrap_future(self._runner.measure(request, feed))
            reply = MeasureReply(execute_us=tuple(times), chunks=self._chunks, total_chunks=self._parts.device.chunks)
        except PayloadInvalid as error:
            reply = _refused(ErrorCode.INVALID, str(error))
        except (SampleInvalid, ObjectMissing, StorageUnavailable, ValueError) as error:
            reply = _refused(ErrorCode.INVALID, f"no input to measure with: {error}")
        except ModelFault as fault:
            reply = _refused(ErrorCode.MODEL_FAILED, fault.reason)
        await self._parts.bus.publish(msg.reply, encode(reply))

    async def _one_row(self) -> dict[str, Array]:
        if self._row is None:
            self._row = await self._make_row()
        return self._row

    async def _make_row(self) -> dict[str, Array]:
        if self._spec.sample is None:
            return random_row(self._info)
        path = await self._parts.objects.fetch(self._spec.sample, self._parts.cache)
        inputs = self._info.inputs if self._handler is None else self._handler.inputs
        tensors = read_sample(path, inputs)
        if self._handler is not None:
            made = await self._handler.preprocess(tensors, unix_us() + PREPROCESS_LIMIT_US)
            if isinstance(made, ErrorBody):
                raise SampleInvalid(reason=made.message)
            tensors = made
        arrays = {tensor.name: to_array(tensor) for tensor in tensors}
        return {name: array[:1] if self._info.is_batched else array for name, array in arrays.items()}


def _refused(code: ErrorCode, message: str) -> MeasureReply:
    return MeasureReply(error=ErrorBody(code, message))
