"""One replica's life in its worker: fetch, load, serve, drain.

    loading → ready → draining → gone, or → failed with the reason

Everything it acquires sits in one exit stack; whatever goes wrong with its model or user code ends this replica only.
"""

import asyncio
import errno
import logging
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.abc
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.slices import share_of
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Footprint, Lane, ModelInfo, StoredModel
from fastgshare.node_manager.protocol import LogLine, ReplicaChanged, ReplicaDrained
from fastgshare.node_manager.worker.assemble import Request, answer, wanted_tensors
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.handlers import Handler, HandlerBroken, open_handler
from fastgshare.node_manager.worker.intake import fill_request, handled_job, is_small, plain_job, read_work
from fastgshare.node_manager.worker.measuring import Measuring
from fastgshare.node_manager.worker.part_sender import PartSender
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.traces import ReplicaTraces
from fastgshare.shared import subjects
from fastgshare.shared.arrays import to_array, to_tensor
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import NoAnswer
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, ObjectMissing, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import AttemptId, Digest
from fastgshare.shared.messages import Cancel, Placement, Profile, ReplicaState, Signature, Tensor, Timing
from fastgshare.shared.telemetry.spans_request import BatchRun
from fastgshare.shared.units import US_PER_MS

FETCH_RETRY_S = 0.5
DRAIN_POLL_S = 0.02
QUICK_BURST = 64
SPARSE_US = 100
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

logger = logging.getLogger(__name__)

Packed = tuple[Finished, Request, bytes, ErrorBody | None, Timing]


class Replica:
    """A placement being carried out. `run` is its whole life."""

    def __init__(self, placement: Placement, parts: Parts, tasks: anyio.abc.TaskGroup) -> None:
        self.placement = placement
        self.replica = placement.replica
        self.depth = 0
        self._spec = placement.function
        self._parts = parts
        self._tasks = tasks
        self._ending = anyio.Event()
        self._failure = ""
        self._is_open = False
        self._last_arrival_us = 0
        self._gap_us = 0
        self._burst: list[Job] = []
        self._open: dict[AttemptId, Request] = {}
        self._handler: Handler | None = None
        self._traces = ReplicaTraces(parts.spans, self._spec.name, self.replica)
        self._signature = Signature(inputs=(), outputs=())
        self._info = ModelInfo(inputs=(), outputs=(), metadata={})
        self._max_batch = 1
        self._footprint = Footprint(0.0, 0.0, False)
        self._load_ms = 0.0
        self._loop = asyncio.get_running_loop()
        window_us = parts.config.window_ms * US_PER_MS
        self._runner = Runner(
            self.replica,
            share_of(placement),
            parts.gate,
            WorkQueue(self._spec.max_batch, window_us),
            self._on_finished,
            parts.on_fault,
        )

    async def run(self) -> None:
        """Load, serve until told to drain, let go; reports every step."""
        passes = False
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._stop_runner)
                started_us = monotonic_us()
                await self._load(stack)
                await self._open_door(stack)
                self._load_ms = (monotonic_us() - started_us) / US_PER_MS
                self._report(ReplicaState.READY)
                self._is_open = True
                await self._ending.wait()
                if not self._failure:
                    self._report(ReplicaState.DRAINING)
                    await self._drain()
        except (ModelFault, HandlerBroken, ObjectMissing, OSError) as fault:
            self._failure = fault.reason if isinstance(fault, ModelFault | HandlerBroken) else str(fault)
            passes = isinstance(fault, MemoryRefused) and fault.passes
        if self._failure:
            logger.warning("replica %s failed: %s", self.replica, self._failure)
            self._report(ReplicaState.FAILED, self._failure, passes)
        else:
            self._parts.report(ReplicaDrained(self.replica))

    def drain(self) -> None:
        """Finish what waits, then end."""
        self._ending.set()
        if not self._is_open:  # it may be waiting for turns to warm up, and nothing ends it before it is up
            self._runner.step_forward()

    def resize(self, placement: Placement) -> None:
        """Hold another slice from now on, without a restart."""
        self._tasks.start_soon(self._resize, placement)

    async def _resize(self, placement: Placement) -> None:
        try:
            with self._parts.changes.one():
                await asyncio.wrap_future(self._runner.resize(share_of(placement), placement.chunks))
        except ModelFault as fault:
            self._on_broken(f"it cannot move to chunks {list(placement.chunks)}: {fault.reason}")
            return
        self.placement = placement
        if self._is_open and not self._ending.is_set():
            self._report(ReplicaState.READY)

    def learn_profile(self, profile: Profile | None) -> None:
        """A table for this replica's model on this device arrived."""
        self._runner.learn_profile(profile)

    @property
    def drift(self) -> float:
        """How long its recent batches took over what its table says; on loan it serves none."""
        return 0.0 if self.placement.loan else self._runner.drift

    # Loading

    async def _load(self, stack: AsyncExitStack) -> None:
        reference = self._spec.model
        path = await self._fetch(reference.digest)
        model = StoredModel(reference.digest, path, reference.format, reference.factory)
        placement = self.placement
        turn = self._runner.turn
        lane = Lane(self.replica, placement.chunks, self._spec.slice.gpu_mem_mib, self._spec.max_batch, turn)
        with self._parts.changes.one():
            opened = self._runner.start(lambda: self._parts.device.open_session(model, lane))
            session = await asyncio.wrap_future(opened)
        self._info, self._footprint = session.info, session.footprint
        self._max_batch = self._spec.max_batch if self._info.is_batched else 1
        self._runner.learn_profile(self._parts.profile_of(reference.digest))
        if self._spec.handler is None:
            self._signature = Signature(
                inputs=self._info.inputs, outputs=self._info.outputs, batched=self._info.is_batched
            )
            return
        bundle = await self._fetch(self._spec.handler.digest)
        self._handler = await stack.enter_async_context(
            open_handler(
                self._spec.handler,
                bundle,
                self._parts.workdir / self.replica,
                function=self._spec.name,
                model_metadata=self._info.metadata,
                model_inputs=self._info.inputs,
                model_outputs=self._info.outputs,
                on_log=self._on_log,
                on_broken=self._on_broken,
            )
        )
        self._signature = Signature(
            inputs=self._handler.inputs, outputs=self._handler.outputs, streams=self._handler.streams
        )

    async def _fetch(self, digest: Digest) -> Path:
        while True:
            try:
                return await self._parts.objects.fetch(digest, self._parts.cache)
            except StorageUnavailable as error:  # the bus comes back; a replica does not fail for that
                cause = error.__cause__
                if isinstance(cause, OSError) and cause.errno in DISK_FAULTS:
                    raise cause from error
                logger.info("replica %s waits for the object store: %s", self.replica, error)
                await anyio.sleep(FETCH_RETRY_S)

    async def _open_door(self, stack: AsyncExitStack) -> None:
        bus = self._parts.bus
        requests = await bus.subscribe_prompt(subjects.replica(self.replica), self._on_request)
        stack.push_async_callback(requests.unsubscribe)
        recalls = await bus.subscribe_prompt(subjects.cancel(self.replica), self._on_recall)
        stack.push_async_callback(recalls.unsubscribe)
        measuring = Measuring(
            self._runner,
            lambda: self.placement,
            self._info,
            self._footprint,
            self._max_batch,
            self._handler,
            self._parts,
            self._tasks,
        )
        probes = await bus.subscribe(subjects.measure(self.replica), measuring.on_message)
        stack.push_async_callback(probes.unsubscribe)
        await self._until_open()

    async def _until_open(self) -> None:
        """Wait until the server knows of the subscriptions; while it is away they are kept for its return."""
        while True:
            try:
                return await self._parts.bus.flush()
            except NoAnswer as error:
                logger.info("replica %s waits for the bus: %s", self.replica, error)
                await anyio.sleep(FETCH_RETRY_S)

    async def _stop_runner(self) -> None:
        """Its memory is free before anybody hears that it is gone; a thread that hangs is not waited for."""
        with anyio.move_on_after(self._parts.config.drain_s), self._parts.changes.one():
            await asyncio.wrap_future(self._runner.stop())

    async def _drain(self) -> None:
        """Gateways learn of the draining state and stop sending; late requests are still served."""
        if self.placement.loan:
            return  # nobody sends it any
        quiet_us = self._parts.config.drain_quiet_ms * US_PER_MS
        begun_us = unix_us()
        with anyio.move_on_after(self._parts.config.drain_s):
            while self.depth or unix_us() - max(self._last_arrival_us, begun_us) < quiet_us:
                await anyio.sleep(DRAIN_POLL_S)

    # Serving

    async def _on_request(self, msg: Msg) -> None:
        now_us = unix_us()
        self._gap_us = now_us - self._last_arrival_us
        self._last_arrival_us = now_us
        try:
            work, request = read_work(msg, now_us)
        except PayloadInvalid as invalid:
            logger.warning("replica %s got what is no work: %s", self.replica, invalid)
            return
        error = self._refusal(request) or fill_request(request, work, self._signature, self._max_batch)
        self.depth += 1
        self._open[request.attempt] = request
        if error is not None:
            self._answer(request, error, Timing())
        elif self._handler is not None:
            self._tasks.start_soon(self._handle, request, self._handler)
        else:
            self._run_plain(request)

    def _run_plain(self, request: Request) -> None:
        """A request without user code: to the replica's thread, or with its burst right here if that is cheaper."""
        job = request.job = plain_job(request, self._info.is_batched)
        only_burst_waits = self.depth == len(self._burst) + 1 <= QUICK_BURST
        if not (only_burst_waits and self._runner.is_quick and is_small(request)):
            self._runner.submit(job)
            return
        self._burst.append(job)
        if self._gap_us > SPARSE_US:
            self._run_burst()
        elif len(self._burst) == 1:
            self._loop.call_soon(self._run_burst)

    def _run_burst(self) -> None:
        """What arrived in this turn of the event loop, as batches."""
        burst, self._burst = self._burst, []
        if not burst:
            return
        try:
            finished = self._runner.run_here(burst)
            if finished is not None:
                self._send([self._pack(end) for end in finished])
                return
        except Exception as error:  # as in the replica's thread: no replica is to blame, a new worker takes over
            self._parts.on_fault(error)
            return
        for job in burst:
            self._runner.submit(job)

    async def _on_recall(self, msg: Msg) -> None:
        """Nobody wants this attempt's answer: it ends here, unanswered, and what has not begun never will."""
        try:
            request = self._open.get(decode(Cancel, msg.data).attempt)
        except PayloadInvalid as invalid:
            logger.warning("replica %s got what recalls nothing: %s", self.replica, invalid)
            return
        if request is None or not self._settle(request):
            return
        if request.job is not None:
            self._runner.recall(request.job)
        if request.scope is not None:
            request.scope.cancel()

    def _settle(self, request: Request) -> bool:
        """Whether this is a request's end, which comes once."""
        if request.settled:
            return False
        request.settled = True
        self._open.pop(request.attempt, None)
        self.depth -= 1
        return True

    def _refusal(self, request: Request) -> ErrorBody | None:
        if self.depth >= self._parts.config.backlog:
            text = f"{self.depth} requests wait on this replica, the limit"
            return ErrorBody(ErrorCode.OVERLOADED, text, retry_after_ms=100)
        if request.deadline_us <= request.arrived_us:
            return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, "the deadline had passed on arrival at the worker")
        return None

    async def _handle(self, request: Request, handler: Handler) -> None:
        with anyio.CancelScope() as request.scope:
            if not request.settled:
                await self._serve_handled(request, handler)

    async def _serve_handled(self, request: Request, handler: Handler) -> None:
        started_us = monotonic_us()
        made = await handler.preprocess(request.inputs, request.deadline_us)
        request.handler_us = monotonic_us() - started_us
        if isinstance(made, ErrorBody):
            self._answer(request, made, Timing(handler_us=request.handler_us, before_us=request.handler_us))
            return
        arrays = {tensor.name: to_array(tensor) for tensor in made}
        job = handled_job(request, arrays, self._info.is_batched, unix_us())
        if job.rows > self._max_batch:
            text = f"preprocess made {job.rows} rows, the function's max_batch is {self._max_batch}"
            self._answer(request, ErrorBody(ErrorCode.HANDLER_FAILED, text), Timing())
            return
        request.finished = self._loop.create_future()
        request.job = job
        self._runner.submit(job)
        finished: Finished = await request.finished
        if isinstance(finished.result, ErrorBody):
            self._answer(request, finished.result, finished.timing, finished.batch)
            return
        try:
            await self._postprocess(request, handler, finished)
        except asyncio.CancelledError:
            self._traces.recalled(finished.batch)
            raise

    async def _postprocess(self, request: Request, handler: Handler, finished: Finished) -> None:
        assert not isinstance(finished.result, ErrorBody)
        started_us = monotonic_us()
        tensors = tuple(to_tensor(name, array) for name, array in finished.result.items())
        sender = PartSender(request, self.replica, self._parts)
        try:
            result = await handler.postprocess(tensors, request.deadline_us, sender.send)
        except RequestRefused as refused:
            result = refused.body
        answered_us = sender.first_us or monotonic_us()  # a stream lasts as its author likes: that predicts nothing
        handler_us = request.handler_us + answered_us - started_us
        if not isinstance(result, ErrorBody) and request.outputs and not handler.streams:
            result = wanted_tensors({tensor.name: to_array(tensor) for tensor in result}, request.outputs)
        timing = replace(
            finished.timing, handler_us=handler_us, before_us=request.handler_us, first_us=sender.first_unix_us
        )
        self._answer(request, result, timing, finished.batch, sender.sent)

    def _on_finished(self, finished: list[Finished]) -> None:
        """In the runner's thread: pack answers here, let the loop only send them."""
        packed = [self._pack(end) for end in finished]
        self._loop.call_soon_threadsafe(self._send, packed)

    def _pack(self, end: Finished) -> Packed:
        request = end.job.content
        assert isinstance(request, Request)
        if request.finished is not None:
            return end, request, b"", None, end.timing
        if request.settled:  # recalled: nobody wants an answer, nor is one told of
            self._traces.recalled(end.batch)
            return end, request, b"", None, end.timing
        result = end.result if isinstance(end.result, ErrorBody) else wanted_tensors(end.result, request.outputs)
        error = result if isinstance(result, ErrorBody) else None
        timing = self._traces.ended(request, end.timing, error, end.batch)
        payload, error = answer(request, self.replica, result, timing, self._parts.bus.max_payload_bytes)
        return end, request, payload, error, timing

    def _send(self, packed: list[Packed]) -> None:
        for end, request, payload, error, timing in packed:
            if request.finished is not None:
                if request.finished.done():
                    self._traces.recalled(end.batch)
                else:
                    request.finished.set_result(end)
                continue
            if self._settle(request):
                self._parts.answers.put(request, self.replica, payload, error, timing)

    def _answer(
        self,
        request: Request,
        result: tuple[Tensor, ...] | ErrorBody,
        timing: Timing,
        batch: BatchRun | None = None,
        part: int = 0,
    ) -> None:
        if not self._settle(request):
            self._traces.recalled(batch)
            return
        error = result if isinstance(result, ErrorBody) else None
        timing = self._traces.ended(request, timing, error, batch)
        payload, error = answer(request, self.replica, result, timing, self._parts.bus.max_payload_bytes, part)
        self._parts.answers.put(request, self.replica, payload, error, timing)

    # Telling

    def _report(self, state: ReplicaState, reason: str = "", transient: bool = False) -> None:
        is_ready = state is ReplicaState.READY
        footprint = self._footprint
        self._parts.report(
            ReplicaChanged(
                replica=self.replica,
                state=state,
                reason=reason,
                signature=self._signature if is_ready else None,
                max_batch=self._max_batch,
                memory_mib=footprint.own_mib if is_ready else 0.0,
                load_ms=self._load_ms,
                weights_mib=footprint.weights_mib,
                weights_reused=footprint.was_loaded,
                placement=self.placement,
                transient=transient,
            )
        )

    def _on_log(self, line: str) -> None:
        self._parts.report(LogLine(self._spec.name, self.replica, line))

    def _on_broken(self, reason: str) -> None:
        self._failure = reason
        self._ending.set()
