"""Requests whose answers are fetched later: straight into the platform's work queue, and out of its results.

A job outlives the connection that submitted it, every gateway, and the server's restart. Its result is kept for a day.
It is traced below the OpenTelemetry span that was current when it was submitted.
"""

from collections.abc import Iterable, Mapping

from fastgshare.client.spans import current_span
from fastgshare.client.values import Result, Value, to_request, to_result
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import FastGShareError, RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.jobrecords import ENDED
from fastgshare.shared.jobs import JobQueue
from fastgshare.shared.messages import FunctionSpec, JobRecord
from fastgshare.shared.registry import FunctionUnknown
from fastgshare.shared.units import s_to_us

DEFAULT_TIME_S = 3600.0


class JobUnknown(FastGShareError):
    """No job of this id, or one of more than a day ago: field `job`."""

    def __str__(self) -> str:
        return f"no job is called '{self.fields['job']}': results are kept for a day"


class JobPending(FastGShareError):
    """It has not ended yet: fields `job`, `state`."""

    def __str__(self) -> str:
        return f"job {self.fields['job']} is {self.fields['state']}: there is no result yet"


class Jobs:
    """The platform's jobs. Every call raises StorageUnavailable when JetStream does not answer."""

    def __init__(self, bus: Bus) -> None:
        self._queue = JobQueue(bus)
        self._functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)

    async def submit(
        self,
        function: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] = (),
        time_s: float = DEFAULT_TIME_S,
        address: str = "",
    ) -> JobRecord:
        """Queue a call, to be run within `time_s` (at most a day); its `job` is what results are asked for by.

        With an `address` such as `team.a`, the outcome is also published as JSON to `fast.result.team.a`.

        Raises:
            FunctionUnknown: nothing of this name is deployed.
            RequestRefused: too large, or the queue is full.
            ValueError: as for `invoke`.
        """
        if not time_s > 0:
            raise ValueError(f"time_s is {time_s}, expected above 0")
        request = to_request(inputs, outputs)
        if (await self._functions.standing(function))[0] is None:
            raise FunctionUnknown(function=function)
        span = current_span()
        return await self._queue.submit(
            FunctionName(function),
            request,
            time_us=s_to_us(time_s),
            traceparent=span.header() if span is not None else "",
            address=address,
        )

    async def look(self, job: str) -> JobRecord:
        """How far a job is. Raises JobUnknown."""
        return _known(job, await self._queue.look(job))

    async def result(self, job: str, *, wait_s: float = 0.0) -> Result:
        """A job's answer, awaited for up to `wait_s`.

        Raises:
            JobUnknown.
            JobPending: it has not ended yet.
            RequestRefused: it failed or was cancelled; its body says why.
        """
        found = await (self._queue.wait(job, wait_s) if wait_s > 0 else self._queue.look(job))
        record = _known(job, found)
        reply = await self._queue.reply(record) if record.state in ENDED else None
        if reply is None:
            raise JobPending(job=job, state=record.state)
        if reply.error is not None:
            raise RequestRefused(reply.error)
        return to_result(reply)

    async def cancel(self, job: str) -> JobRecord:
        """End a job unless it has ended; as it stands now. Raises JobUnknown.

        Of one that has ended a large result is forgotten, which makes room for those of others.
        """
        return _known(job, await self._queue.cancel(job))


def _known(job: str, record: JobRecord | None) -> JobRecord:
    if record is None:
        raise JobUnknown(job=job)
    return record
