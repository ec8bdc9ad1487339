"""A replica's requests, from the bus to their answers: refused, run right here, queued, or handled by user code.

Each ends once (`_settle`): with its answer, or unanswered where it was recalled.
"""

import asyncio
import logging
from dataclasses import dataclass

import anyio
import anyio.abc
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.node_manager.worker.assemble import Request, answer, wanted_tensors
from fastgshare.node_manager.worker.execution import Finished
from fastgshare.node_manager.worker.handlers import Handler
from fastgshare.node_manager.worker.intake import fill_request, handled_job, is_small, plain_job, read_work
from fastgshare.node_manager.worker.part_sender import PartSender
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.traces import ReplicaTraces
from fastgshare.shared.arrays import to_array, to_tensor
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import AttemptId, FunctionName, ReplicaId
from fastgshare.shared.messages import Cancel, Signature, Tensor, Timing
from fastgshare.shared.telemetry.spans_request import BatchRun

QUICK_BURST = 64
SPARSE_US = 100

logger = logging.getLogger(__name__)

Packed = tuple[Finished, Request, bytes, ErrorBody | None, Timing]


@dataclass(frozen=True, slots=True)
class Served:
    """What requests are held to and go through, once it is loaded."""

    signature: Signature
    info: ModelInfo
    max_batch: int
    handler: Handler | None = None


NOT_LOADED = Served(Signature(inputs=(), outputs=()), ModelInfo(inputs=(), outputs=(), metadata={}), 1)


class Serving:
    """Called on the event loop, but for `on_finished`; `depth` is how many have no end yet.

    `runner` is set by who makes both: each hands the other what it has to do next.
    """

    runner: Runner

    def __init__(self, function: FunctionName, replica: ReplicaId, parts: Parts, tasks: anyio.abc.TaskGroup) -> None:
        self.depth = 0
        self.last_arrival_us = 0
        self._replica = replica
        self._parts = parts
        self._tasks = tasks
        self._served = NOT_LOADED
        self._gap_us = 0
        self._burst: list[Job] = []
        self._open: dict[AttemptId, Request] = {}
        self._traces = ReplicaTraces(parts.spans, function, replica)
        self._loop = asyncio.get_running_loop()

    def begin(self, served: Served) -> None:
        """It is loaded: requests come from here on."""
        self._served = served

    async def on_request(self, msg: Msg) -> None:
        """A request arrives."""
        now_us = unix_us()
        self._gap_us = now_us - self.last_arrival_us
        self.last_arrival_us = now_us
        try:
            work, request = read_work(msg, now_us)
        except PayloadInvalid as invalid:
            logger.warning("replica %s got what is no work: %s", self._replica, invalid)
            return
        error = self._refusal(request) or fill_request(request, work, self._served.signature, self._served.max_batch)
        self.depth += 1
        self._open[request.attempt] = request
        if error is not None:
            self._answer(request, error, Timing())
        elif self._served.handler is not None:
            self._tasks.start_soon(self._handle, request, self._served.handler)
        else:
            self._run_plain(request)

    def _run_plain(self, request: Request) -> None:
        """A request without user code: to the replica's thread, or with its burst right here if that is cheaper."""
        job = request.job = plain_job(request, self._served.info.is_batched)
        only_burst_waits = self.depth == len(self._burst) + 1 <= QUICK_BURST
        if not (only_burst_waits and self.runner.is_quick and is_small(request)):
            self.runner.submit(job)
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
            finished = self.runner.run_here(burst)
            if finished is not None:
                self._send([self._pack(end) for end in finished])
                return
        except Exception as error:  # as in the replica's thread: no replica is to blame, a new worker takes over
            self._parts.on_fault(error)
            return
        for job in burst:
            self.runner.submit(job)

    async def on_recall(self, msg: Msg) -> None:
        """Nobody wants this attempt's answer: it ends here, unanswered, and what has not begun never will."""
        try:
            request = self._open.get(decode(Cancel, msg.data).attempt)
        except PayloadInvalid as invalid:
            logger.warning("replica %s got what recalls nothing: %s", self._replica, invalid)
            return
        if request is None or not self._settle(request):
            return
        if request.job is not None:
            self.runner.recall(request.job)
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
        job = handled_job(request, arrays, self._served.info.is_batched, unix_us())
        if job.rows > self._served.max_batch:
            text = f"preprocess made {job.rows} rows, the function's max_batch is {self._served.max_batch}"
            self._answer(request, ErrorBody(ErrorCode.HANDLER_FAILED, text), Timing())
            return
        request.finished = self._loop.create_future()
        request.job = job
        self.runner.submit(job)
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
        sender = PartSender(request, self._replica, self._parts)
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

    def on_finished(self, finished: list[Finished]) -> None:
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
        payload, error = answer(request, self._replica, result, timing, self._parts.bus.max_payload_bytes)
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
                self._parts.answers.put(request, self._replica, payload, error, timing)

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
        payload, error = answer(request, self._replica, result, timing, self._parts.bus.max_payload_bytes, part)
        self._parts.answers.put(request, self._replica, payload, error, timing)
