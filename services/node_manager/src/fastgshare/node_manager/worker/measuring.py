"""Measurements that the profiler asks of a replica: synthetic batches on its slice, between real work.

A replica on loan has each of them on the part of its slice that was asked for, which it keeps until the next one: it
serves nobody. Others are measured as they are.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace

import anyio.abc
import anyio.to_thread
import nats.errors
from msgspec import structs
from nats.aio.msg import Msg

from fastgshare.node_manager.core.measurement import Measured, Measurement
from fastgshare.node_manager.core.slices import share_of
from fastgshare.node_manager.core.tokens import mask_of, permille_of
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo
from fastgshare.node_manager.worker.handlers import Handler
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.probe import MeasurementRefused
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.samples import (
    MAX_UNPACKED_BYTES,
    SampleInvalid,
    one_row,
    random_rows,
    read_sample,
    repeat_row,
)
from fastgshare.node_manager.worker.watch import Watch
from fastgshare.shared.arrays import Array
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, ObjectMissing, PayloadInvalid
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import MeasureReply, MeasureRequest, Placement
from fastgshare.shared.units import BYTES_PER_MIB, PER_MILLE, US_PER_MS, US_PER_S

PREPROCESS_LIMIT_US = 10 * US_PER_S
ONE_RUN = MeasureRequest(batch=1, warmup_runs=0, min_runs=1, max_runs=1, budget_ms=0)
FIRST_WARMUP_US = 1_500_000
"""What a replica that was just brought up is measured for first: steady is not yet usual while the platform settles."""

logger = logging.getLogger(__name__)


class Measuring:
    """Answers `MeasureRequest`s of one replica, one at a time. `placement()` is its slice as it is now."""

    def __init__(
        self,
        runner: Runner,
        placement: Callable[[], Placement],
        info: ModelInfo,
        footprint: Footprint,
        max_batch: int,
        handler: Handler | None,
        parts: Parts,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._runner = runner
        self._placement = placement
        self._info = info
        self._footprint = footprint
        self._max_batch = max_batch
        self._handler = handler
        self._parts = parts
        self._tasks = tasks
        self._row: dict[str, Array] | None = None
        self._is_busy = False
        self._is_warm = False

    async def on_message(self, msg: Msg) -> None:
        """One measurement, in a task of its own: it takes as long as it was given."""
        if msg.reply:  # else nobody could be told
            self._tasks.start_soon(self._measure, msg)

    async def _measure(self, msg: Msg) -> None:
        reply = await self._reply_to(msg)
        try:
            await self._parts.bus.publish(msg.reply, encode(reply))
        except nats.errors.Error as error:
            logger.warning("a measurement of %s was not told: %s", self._placement().replica, error)

    async def _reply_to(self, msg: Msg) -> MeasureReply:
        try:
            return await self._alone(decode(MeasureRequest, msg.data))
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
            logger.exception("a measurement of %s failed", self._placement().replica)
            return _refused(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")

    async def _alone(self, request: MeasureRequest) -> MeasureReply:
        """The next one must not move the replica under this one."""
        problem = self._problem_with(request)
        if problem:
            return _refused(ErrorCode.INVALID, problem)
        if self._is_busy:
            raise MeasurementRefused(reason="another measurement is under way")
        self._is_busy = True
        try:
            return await self._measured(request)
        finally:
            self._is_busy = False

    def _problem_with(self, request: MeasureRequest) -> str:
        placement = self._placement()
        if not 1 <= request.batch <= self._max_batch:
            return f"batch is {request.batch}, expected 1 to {self._max_batch}"
        if not placement.loan and (request.chunks or request.quota):
            return "only a replica on loan is measured on a part of its slice, expected chunks and quota 0"
        if request.chunks > len(placement.chunks):
            return f"chunks is {request.chunks}, expected at most {len(placement.chunks)}, which the replica holds"
        return ""

    async def _measured(self, request: MeasureRequest) -> MeasureReply:
        feed = await anyio.to_thread.run_sync(repeat_row, await self._one_row(), request.batch)
        placement = self._placement()
        if placement.loan:
            await self._narrow(placement, request)
        chunks = request.chunks or len(placement.chunks)
        quota = request.quota or share_of(placement).limit_permille / PER_MILLE
        watch = Watch(self._parts.device, placement.function.slice.gpu_mem_mib, self._parts.changes.mark)
        least_warmup_us = FIRST_WARMUP_US if placement.loan and not self._is_warm else 0
        measured = await self._run(structs.replace(request, quota=quota), feed, watch, least_warmup_us)
        self._is_warm = True
        now = self._placement()
        if (now.chunks, now.function.slice) != (placement.chunks, placement.function.slice):
            raise MeasurementRefused(reason="the replica's slice changed while it was measured")
        return MeasureReply(
            execute_us=measured.execute_us,
            chunks=chunks,
            total_chunks=self._parts.device.chunks,
            warmup_runs=measured.warmup_runs,
            throughput_rps=measured.throughput_rps,
            throughput_error=measured.throughput_error,
            settled=measured.settled,
            note=measured.note,
            latency_us=measured.latency_us,
            load_rps=measured.load_rps,
            disturbed=measured.disturbed,
            memory_mib=self._footprint.own_mib + self._footprint.weights_mib,
            memory_grown_mib=watch.grown_mib,
            occupancy_percent=watch.occupancy_percent,
        )

    async def _narrow(self, placement: Placement, request: MeasureRequest) -> None:
        """The first of its chunks, and at most that share of their time. Raises ModelFault: it stays where it was."""
        chunks = placement.chunks[: request.chunks or None]
        share = replace(share_of(placement), mask=mask_of(chunks))
        if request.quota:
            share = replace(share, limit_permille=permille_of(request.quota))
        try:
            await asyncio.wrap_future(self._runner.resize(share, chunks))
        except ModelFault as fault:
            raise ModelFault(reason=f"it cannot move to chunks {list(chunks)}: {fault.reason}") from fault

    async def _run(
        self, request: MeasureRequest, feed: dict[str, Array], watch: Watch | None = None, least_warmup_us: int = 0
    ) -> Measured:
        gap = random.Random(request.seed).expovariate  # chance for arrivals, nothing to keep secret
        window_us = self._parts.config.window_ms * US_PER_MS
        measurement = Measurement(request, gap, window_us, least_warmup_us)
        return await asyncio.wrap_future(self._runner.measure(measurement, feed, watch))

    # Inputs

    async def _one_row(self) -> dict[str, Array]:
        if self._row is None:
            sample = self._placement().function.sample
            self._row = await (self._row_that_runs() if sample is None else self._row_of(sample))
        return self._row

    async def _row_of(self, sample: Digest) -> dict[str, Array]:
        path = await self._parts.objects.fetch(sample, self._parts.cache)
        inputs = self._info.inputs if self._handler is None else self._handler.inputs
        tensors = await anyio.to_thread.run_sync(read_sample, path, inputs)
        if self._handler is not None:
            made = await self._handler.preprocess(tensors, unix_us() + PREPROCESS_LIMIT_US)
            if isinstance(made, ErrorBody):
                raise SampleInvalid(reason=made.message)
            tensors = made
        return one_row(tensors, self._info)

    async def _row_that_runs(self) -> dict[str, Array]:
        """The first of the random rows that the model takes."""
        tried: list[str] = []
        refusal = f"each is larger than {MAX_UNPACKED_BYTES // BYTES_PER_MIB} MiB"
        for words, row in random_rows(self._info):
            if not words:
                return row
            try:
                await self._run(ONE_RUN, row)
                return row
            except ModelFault as fault:
                tried.append(words)
                refusal = fault.reason
        lengths = "; ".join(tried)
        raise SampleInvalid(reason=f"the model takes none of these lengths of its free axes: {lengths}: {refusal}")


def _refused(code: ErrorCode, message: str) -> MeasureReply:
    return MeasureReply(error=ErrorBody(code, message))
