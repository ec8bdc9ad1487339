"""Runs jobs out of the work queue, beside the requests that somebody waits for.

A message stays in the queue until its job's outcome is stored, and is kept by a sign of life while the job runs: the
queue gives the job of a gateway that died to another. One durable consumer for each function that has jobs, shared by
all gateways, so that a function without room does not stand in the way of the others.
"""

import json
import logging
from contextlib import suppress

import anyio
import anyio.abc
import msgspec
import nats.errors
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.js import api

from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.jobs import JobBook, Occupancy
from fastgshare.gateway.core.tickets import JOB_DOOR
from fastgshare.gateway.oip import encode_json_reply
from fastgshare.gateway.ports import Invoker
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, RevisionConflict, StorageUnavailable, is_full
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName, GatewayId, JobId
from fastgshare.shared.jobrecords import begun, ended, put_back, result_path
from fastgshare.shared.jobs import JobQueue, withdrawal
from fastgshare.shared.largeresults import MOST_RESULT_BYTES, ResultsFull
from fastgshare.shared.messages import INFER_VERSION, InferReply, Job, JobRecord, JobState, KeptReply
from fastgshare.shared.telemetry.sampling import Sampler
from fastgshare.shared.units import US_PER_S

LOOK_S = 0.5
LEASE_S = 10.0
SIGN_OF_LIFE_S = LEASE_S / 4
PULL_S = 2.0
LAST_WORDS_S = 1.0
FINISH_POLL_S = 0.01
STORE_S = 60.0
STORE_RETRY_S = 0.2
IDLE_CONSUMER_S = 3600.0
LONGEST_RUN_US = 600 * US_PER_S
REPLY_ROOM_BYTES = 4096
MOST_NEWS_BYTES = 256 << 10
_FAULTS = (*BUS_FAULTS, StorageUnavailable, RevisionConflict)

logger = logging.getLogger(__name__)


class JobRunner:
    """One gateway's share of the jobs, at most `most` at one time."""

    def __init__(
        self, bus: Bus, gateway: GatewayId, invoker: Invoker, gatekeeper: Gatekeeper, sampler: Sampler, most: int
    ) -> None:
        self.queue = JobQueue(bus, self.wake)
        self._bus = bus
        self._gateway = gateway
        self._invoker = invoker
        self._gatekeeper = gatekeeper
        self._sampler = sampler
        self._book = JobBook(most)
        self._runs: dict[str, anyio.CancelScope] = {}
        self._consumers: set[FunctionName] = set()
        self._woken = anyio.Event()
        self._stopping = False
        self._leaving = False
        self._tasks: anyio.abc.TaskGroup

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def take_no_more(self) -> None:
        """This gateway goes: what waits is for others."""
        self._stopping = True

    async def finish(self, patience_s: float) -> None:
        """Give back what runs, and return once every outcome that is here is stored, or after `patience_s`."""
        self._stopping = self._leaving = True
        for scope in list(self._runs.values()):
            scope.cancel()
        with anyio.move_on_after(patience_s):
            while self._book.running:
                await anyio.sleep(FINISH_POLL_S)

    async def run(self) -> None:
        """Take up jobs until cancelled; those that run then go back to the queue."""
        await self._bus.subscribe(subjects.WITHDRAW_ALL, self._on_withdrawn)
        async with anyio.create_task_group() as self._tasks:
            while True:
                self._woken = anyio.Event()
                try:
                    await self._take_up()
                except BUS_FAULTS as error:
                    self._consumers.clear()  # one that was lost is made anew
                    logger.info("no jobs taken up: %s", str(error) or type(error).__name__)
                with anyio.move_on_after(LOOK_S):
                    await self._woken.wait()

    async def _take_up(self) -> None:
        waiting = {} if self._stopping else await self._waiting()
        if not waiting:
            return
        now_us = unix_us()
        for function, number in self._book.wanted(waiting, self._occupancy(waiting), now_us).items():
            for msg in await self._pull(function, number):
                self._book.begin(function)
                self._tasks.start_soon(self._handle, function, msg)

    async def _waiting(self) -> dict[FunctionName, int]:
        """How many jobs of each function are in the queue, those that run elsewhere included."""
        info = await self._bus.jetstream.stream_info(subjects.JOB_STREAM, subjects_filter=subjects.JOB_ALL)
        counts = info.state.subjects or {}
        waiting: dict[FunctionName, int] = {}
        for subject, count in counts.items():
            function = FunctionName(subject.rpartition(".")[2])
            left = count - self._book.running_of(function)
            if left > 0:
                waiting[function] = left
        return waiting

    def _occupancy(self, functions: dict[FunctionName, int]) -> dict[FunctionName, Occupancy]:
        loads = self._gatekeeper.loads()
        found = {}
        for function in functions:
            view, load = self._invoker.describe(function), loads.get(function)
            if view is not None:
                under_way = load.outstanding + load.held if load is not None else 0
                found[function] = Occupancy(view.ready_replicas, view.spec.max_batch, under_way)
        return found

    async def _pull(self, function: FunctionName, number: int) -> list[Msg]:
        """Up to so many jobs that are there now; none is asked for that would come later, to find no room."""
        consumer = f"job-{function}"
        if function not in self._consumers:
            await self._add_consumer(function, consumer)
            self._consumers.add(function)
        connection = self._bus.connection
        inbox = connection.new_inbox()
        answers = await connection.subscribe(inbox)
        found: list[Msg] = []
        try:
            wish = json.dumps({"batch": number, "no_wait": True}).encode()
            await connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{subjects.JOB_STREAM}.{consumer}", wish, inbox)
            while len(found) < number:
                msg = await answers.next_msg(PULL_S)
                if msg.headers is not None and "Status" in msg.headers:
                    if msg.headers["Status"] == "503":
                        self._consumers.discard(function)
                    break
                found.append(msg)
        except TimeoutError:
            self._consumers.discard(function)
        finally:
            await answers.unsubscribe()
        return found

    async def _add_consumer(self, function: FunctionName, name: str) -> None:
        await self._bus.jetstream.add_consumer(
            subjects.JOB_STREAM,
            api.ConsumerConfig(
                durable_name=name,
                filter_subject=subjects.job(function),
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=LEASE_S,
                max_ack_pending=1000,
                inactive_threshold=IDLE_CONSUMER_S,
            ),
        )

    async def _handle(self, function: FunctionName, msg: Msg) -> None:
        """One message to its end; whatever goes wrong is this job's trouble alone, and the queue gives it out again."""
        refused = True
        try:
            refused = await self._run_message(msg)
        except PayloadInvalid as error:
            logger.warning("job of %s dropped: %s", function, error)
            refused = False
            with suppress(*_FAULTS):
                await msg.term()
        except _FAULTS as error:
            logger.info("job of %s left to the queue: %s", function, str(error) or type(error).__name__)
        except Exception:  # one job's trouble must not end the gateway
            logger.exception("job of %s left to the queue", function)
        finally:
            self._book.end(function, refused, unix_us())
            self.wake()

    async def _run_message(self, msg: Msg) -> bool:
        """Whether the job was refused and waits for another try. Raises PayloadInvalid and faults of the bus."""
        job = decode(Job, msg.data)
        record = await self.queue.change(job.job, lambda found: begun(found, self._gateway, unix_us()))
        if record is not None and record.state is JobState.RUNNING:
            try:
                record = await self._run(job, record, msg)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS_S), suppress(*_FAULTS):
                    await self.queue.change(job.job, put_back)
                    await msg.nak()
                raise
        if record is not None and record.state is JobState.QUEUED:
            await msg.nak(delay=None if self._leaving else 1.0)
            return True
        if record is not None and record.address and record.state is not JobState.CANCELLED:
            await self._bus.publish(subjects.result(record.address), self._news(record))
        await msg.ack()
        return False

    async def _run(self, job: Job, record: JobRecord, msg: Msg) -> JobRecord | None:
        """The record after one run, however it ended."""
        reply: InferReply | None = None
        key = withdrawal(job.job)
        living = anyio.CancelScope()
        self._tasks.start_soon(self._show_life, msg, living)
        try:
            with anyio.CancelScope() as scope:
                self._runs[key] = scope
                if not self._leaving:
                    reply = await self._invoke(job, record)
            if reply is None:  # withdrawn, as the record says already; else it is for another gateway
                return await self.queue.change(job.job, put_back)
            return await self._store(record, reply)
        finally:
            living.cancel()
            self._runs.pop(key, None)

    async def _store(self, record: JobRecord, reply: InferReply) -> JobRecord | None:
        """The record with this outcome; a server that is away is waited for, since the work is done.

        One that finds no room is not, nor is the job run again for it: it would find none either.
        """
        outcome: tuple[InferReply, KeptReply | None] | None = None
        with anyio.move_on_after(STORE_S):
            while True:
                try:
                    outcome = outcome or await self._kept(record, reply)
                    return await self._write(record.job, *outcome)
                except StorageUnavailable as error:
                    if is_full(error.__cause__) and outcome == (reply, None) and reply.error is None:
                        outcome = _without_room(_size_bytes(reply)), None
                        continue
                    logger.info("outcome of job %s not stored yet: %s", record.job, error)
                    await anyio.sleep(STORE_RETRY_S)
        raise StorageUnavailable(bucket=subjects.RESULTS, key=record.job, reason=f"no answer for {STORE_S:g} s")

    async def _write(self, job: JobId, outcome: InferReply, kept: KeptReply | None) -> JobRecord | None:
        record = await self.queue.change(job, lambda found: ended(found, outcome, unix_us(), kept))
        if kept is not None and (record is None or record.kept != kept):  # it was cancelled, or another run was quicker
            with suppress(StorageUnavailable):
                await self.queue.large.forget(kept.name)
        return record

    async def _invoke(self, job: Job, record: JobRecord) -> InferReply:
        now_us = unix_us()
        trace = self._sampler.begin(job.traceparent)
        deadline_us = min(record.deadline_us, now_us + LONGEST_RUN_US)
        try:
            if self._invoker.describe(job.function) is None:
                await self._invoker.wait_for(job.function)
            return await self._invoker.invoke(job.function, job.request, deadline_us, trace, JOB_DOOR)
        except RequestRefused as refused:
            return InferReply(INFER_VERSION, error=refused.body)
        except Exception:  # one job's trouble must not end the gateway
            logger.exception("job %s failed", job.job)
            return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.INTERNAL, "internal error"))

    async def _show_life(self, msg: Msg, living: anyio.CancelScope) -> None:
        with living:
            while True:
                await anyio.sleep(SIGN_OF_LIFE_S)
                with suppress(nats.errors.Error):  # without it the job may be run a second time, no worse
                    await msg.in_progress()

    async def _on_withdrawn(self, msg: Msg) -> None:
        scope = self._runs.get(msg.subject)
        if scope is not None:
            scope.cancel()

    async def _kept(self, record: JobRecord, reply: InferReply) -> tuple[InferReply, KeptReply | None]:
        """What the record will say of the outcome, and where it is if it is too large for the record."""
        limit_bytes = self._bus.max_payload_bytes - REPLY_ROOM_BYTES
        size_bytes = _size_bytes(reply)
        if size_bytes <= limit_bytes:  # its names, shapes and words count too
            size_bytes = len(encode(replace(record, reply=reply)))
        if size_bytes <= limit_bytes:
            return reply, None
        if reply.error is not None or size_bytes > MOST_RESULT_BYTES:
            most_bytes = limit_bytes if reply.error is not None else MOST_RESULT_BYTES
            message = f"the result has {size_bytes} bytes, at most {most_bytes} can be kept"
            return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.TOO_LARGE, message)), None
        try:  # each run has a name of its own: one that comes late must not write over what a record names
            return reply, await self.queue.large.keep(f"{record.job}.{record.runs}", encode(reply))
        except ResultsFull:
            return _without_room(size_bytes), None

    def _news(self, record: JobRecord) -> bytes:
        """What is told at the address of a job: how it ended, and the answer in JSON, or where it is if it is large."""
        news: dict[str, object] = {"id": record.job, "function": record.function, "state": record.state}
        reply = record.reply
        # writing numbers out takes a second for a few megabytes
        if reply is not None and _size_bytes(reply) <= MOST_NEWS_BYTES:
            answer = encode_json_reply(reply, record.function, request_id=record.wish.request_id)
            if len(answer) <= self._bus.max_payload_bytes - REPLY_ROOM_BYTES:
                news["response"] = msgspec.Raw(answer)
        if "response" not in news:
            news["result"] = result_path(record.job)
        return msgspec.json.encode(news)


def _without_room(size_bytes: int) -> InferReply:
    """An outcome for good, of a job that has run."""
    message = (
        f"the result has {size_bytes} bytes, and there is no room left to keep it: results go a day after their jobs, "
        "large ones at once where their jobs are deleted (DELETE /v1/jobs/ID)"
    )
    return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.TOO_LARGE, message))


def _size_bytes(reply: InferReply) -> int:
    return sum(tensor.size_bytes for tensor in reply.outputs)
