"""The jobs on the bus: a work queue of what is to be run, and a bucket with what became of it.

Clients and gateways submit, look and cancel here; gateways alone take jobs up. Every change of a record is a
compare-and-set, so an outcome is stored once however many run the job.
"""

import secrets
from collections.abc import Callable

import anyio

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, Bucket, RevisionConflict, StorageUnavailable, is_full
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, JobId, RequestId
from fastgshare.shared.jobrecords import (
    DEFAULT_TIME_US,
    ENDED,
    MOST_TIME_US,
    SECRET_BYTES,
    as_seen,
    cancelled,
    function_of,
    is_address,
    job_id,
)
from fastgshare.shared.largeresults import LargeResults
from fastgshare.shared.messages import InferReply, InferRequest, Job, JobRecord, ReplyWish

HEADER_ROOM_BYTES = 4096
MOST_ID_LENGTH = 1024
MOST_RECORD_BYTES = 64 << 10
FULL_SHARE = 0.8
FULLNESS_S = 0.5
RETRY_AFTER_MS = 1000
_WRITE_ATTEMPTS = 16
_LOOK_S = 2.0
_NO_WISH = ReplyWish()
_RESULTS = f"KV_{subjects.RESULTS}"
NO_ROOM = ErrorBody(
    ErrorCode.OVERLOADED, "as many jobs wait, or results are kept, as there is room for", RETRY_AFTER_MS
)


class JobQueue:
    """Every job. Calls raise StorageUnavailable where JetStream does not answer."""

    def __init__(self, bus: Bus, on_submitted: Callable[[], None] | None = None) -> None:
        self._bus = bus
        self._on_submitted = on_submitted
        self._records = Bucket(bus, subjects.RESULTS, JobRecord)
        self.large = LargeResults(bus)
        self._is_full = False
        self._look_again_s = 0.0

    async def submit(
        self,
        function: FunctionName,
        request: InferRequest,
        *,
        time_us: int = DEFAULT_TIME_US,
        traceparent: str = "",
        address: str = "",
        wish: ReplyWish = _NO_WISH,
    ) -> JobRecord:
        """Queue a request with all its tensors inline, to be run within `time_us`, at most a day.

        Raises RequestRefused: too large, the queue or the room for results is full, or `address` is none.
        """
        now_us = unix_us()
        record = JobRecord(
            job=job_id(function, secrets.token_bytes(SECRET_BYTES)),
            function=function,
            submitted_us=now_us,
            deadline_us=now_us + min(time_us, MOST_TIME_US),
            address=address,
            wish=wish,
        )
        problem = _problem_with_record(record)
        if problem is not None:
            raise RequestRefused(problem)
        await self._take(record, Job(job=record.job, function=function, request=request, traceparent=traceparent))
        if self._on_submitted is not None:
            self._on_submitted()
        return record

    async def _take(self, record: JobRecord, job: Job) -> None:
        payload = encode(job)
        limit_bytes = self._bus.max_payload_bytes - HEADER_ROOM_BYTES
        if len(payload) > limit_bytes:
            message = f"the job has {len(payload)} bytes, the queue takes at most {limit_bytes}"
            raise RequestRefused(ErrorBody(ErrorCode.TOO_LARGE, message))
        if await self._results_are_full():
            raise RequestRefused(NO_ROOM)
        try:
            await self._records.replace(record.job, record, 0)
            await self._publish(record, payload)
        except StorageUnavailable as error:
            if not is_full(error.__cause__):
                raise
            raise RequestRefused(NO_ROOM) from None

    async def look(self, job: str) -> JobRecord | None:
        """What became of it so far; None for what is no job, or was one a day ago."""
        record = await self.standing(job)
        return as_seen(record, unix_us()) if record is not None else None

    async def reply(self, record: JobRecord) -> InferReply | None:
        """The outcome of a job, wherever it is kept; None: it has none yet. Raises PayloadInvalid too."""
        return record.reply if record.kept is None else await self.large.fetch(record.kept)

    async def cancel(self, job: str) -> JobRecord | None:
        """End it unless it has ended; as it stands now. Whoever runs it is told to let go.

        Of one that has ended a large result is forgotten, to make room.
        """
        record = await self.change(job, lambda found: cancelled(found, unix_us()))
        if record is not None:
            await self._bus.publish(withdrawal(record.job), b"")
            if record.kept is not None:
                await self.large.forget(record.kept.name)
        return record

    async def wait(self, job: str, patience_s: float) -> JobRecord | None:
        """As `look`, once it has ended or `patience_s` have passed."""
        with anyio.move_on_after(patience_s):
            while True:
                try:
                    record = await self.look(job)
                except StorageUnavailable:  # who waits can wait for the server too
                    await anyio.sleep(_LOOK_S / 4)
                    continue
                if record is None or record.state in ENDED:
                    return record
                await self._next_change(record)
        return await self.look(job)

    async def standing(self, job: str) -> JobRecord | None:
        """The record as it is stored."""
        return (await self._records.standing(job))[0] if function_of(job) is not None else None

    async def change(self, job: str, change: Callable[[JobRecord], JobRecord | None]) -> JobRecord | None:
        """Replace the record by `change` of it, unless that is None; as it stands now. `change` may run more than once.

        Raises RevisionConflict where others keep writing it.
        """
        if function_of(job) is None:
            return None
        for _ in range(_WRITE_ATTEMPTS):
            record, revision = await self._records.standing(job)
            changed = change(record) if record is not None else None
            if changed is None:
                return record
            try:
                await self._records.replace(job, changed, revision)
            except RevisionConflict:
                continue
            return changed
        raise RevisionConflict(bucket=subjects.RESULTS, key=job)

    async def _results_are_full(self) -> bool:
        """Whether what room is left belongs to the outcomes of jobs that were taken; as of a moment ago.

        Nobody knows beforehand whose result is a large one, so their store is not asked: it refuses no others.
        """
        now_s = anyio.current_time()
        if now_s >= self._look_again_s:
            self._look_again_s = now_s + FULLNESS_S
            try:
                info = await self._bus.jetstream.stream_info(_RESULTS)
                self._is_full = 0 < (info.config.max_bytes or 0) * FULL_SHARE < info.state.bytes
            except BUS_FAULTS as error:
                self._look_again_s = 0.0
                reason = str(error) or type(error).__name__
                raise StorageUnavailable(bucket=subjects.RESULTS, key="", reason=reason) from error
        return self._is_full

    async def _publish(self, record: JobRecord, payload: bytes) -> None:
        """Into the queue, once however often it has to be sent."""
        headers = {"Nats-Msg-Id": record.job}
        try:
            await self._bus.jetstream.publish(subjects.job(record.function), payload, headers=headers)
        except BUS_FAULTS as error:
            if is_full(error):  # it is certainly not in there; else nobody knows, and the record says "queued"
                await self._records.delete(record.job)
            reason = str(error) or type(error).__name__
            raise StorageUnavailable(bucket=subjects.JOB_STREAM, key=record.job, reason=reason) from error

    async def _next_change(self, record: JobRecord) -> None:
        """Return when the record was written again, or when it is time to look."""
        with anyio.move_on_after(_LOOK_S):
            try:
                watch = await self._records.watch(record.job)
            except BUS_FAULTS:
                await anyio.sleep(_LOOK_S / 4)
                return
            try:
                while True:
                    entry = await watch.next()
                    if entry is not None and self._records.read(entry) != record:
                        return
            except BUS_FAULTS:
                await anyio.sleep(_LOOK_S / 4)
            finally:
                await watch.stop()


def _problem_with_record(record: JobRecord) -> ErrorBody | None:
    """What is wrong with what a caller asks about its answer."""
    address, id_length, size_bytes = record.address, len(record.wish.request_id), len(encode(record))
    if address and not is_address(address):
        message = f"the result's address is {address[:80]!r}, expected tokens of letters, digits, - and _ with dots"
        return ErrorBody(ErrorCode.INVALID, message)
    if id_length > MOST_ID_LENGTH:
        return ErrorBody(ErrorCode.INVALID, f"the id has {id_length} characters, a job's at most {MOST_ID_LENGTH}")
    if size_bytes > MOST_RECORD_BYTES:
        message = f"what it asks about its answer has {size_bytes} bytes, at most {MOST_RECORD_BYTES} are kept"
        return ErrorBody(ErrorCode.TOO_LARGE, message)
    return None


def withdrawal(job: JobId) -> str:
    """Where it is told that nobody wants this job any more."""
    return subjects.withdraw(RequestId(job))  # a job is withdrawn as a request is
