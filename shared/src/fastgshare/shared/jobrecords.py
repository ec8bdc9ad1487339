"""A job's way from one state to the next, as values: no I/O, no clock. None means: leave it as it stands.

queued → running → done | failed; whoever submitted it may cancel it before. A run that ended without a word counts
as a loss, and so does one that outlived no replica: a job that lost too many is the likely cause of it.
"""

import re

from msgspec.structs import replace

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName, GatewayId, JobId, is_name
from fastgshare.shared.messages import INFER_VERSION, InferReply, JobRecord, JobState, KeptReply
from fastgshare.shared.units import US_PER_S

MAX_LOSSES = 3
DEFAULT_TIME_US = 3600 * US_PER_S
MOST_TIME_US = 24 * 3600 * US_PER_S
SECRET_BYTES = 12
ENDED = frozenset((JobState.DONE, JobState.FAILED, JobState.CANCELLED))
TEMPORARY = frozenset((ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED))
"""Refusals of a run that say nothing about the job: it waits and tries again until its own deadline."""

_ID = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})\.[0-9a-f]{24}")
_ADDRESS = re.compile(r"[-_a-zA-Z0-9]{1,64}(?:\.[-_a-zA-Z0-9]{1,64}){0,7}")


def job_id(function: FunctionName, secret: bytes) -> JobId:
    """A job's id, from `SECRET_BYTES` random bytes: who knows it may fetch the result."""
    return JobId(f"{function}.{secret.hex()}")


def function_of(job: str) -> FunctionName | None:
    """The function that a job's id names; None where it is no id of a job."""
    match = _ID.fullmatch(job)
    return FunctionName(match[1]) if match is not None and is_name(match[1]) else None


def result_path(job: JobId) -> str:
    """Where a job's answer is over HTTP."""
    return f"{job_path(job)}/result"


def job_path(job: JobId) -> str:
    """Where a job is over HTTP."""
    return f"/v1/jobs/{job}"


def is_address(text: str) -> bool:
    """Whether `text` may follow `fast.result.`: up to eight tokens of letters, digits, - and _."""
    return _ADDRESS.fullmatch(text) is not None


def begun(record: JobRecord, gateway: GatewayId, now_us: int) -> JobRecord | None:
    """A gateway takes it up: it runs there, or has failed by now; None: it has ended already."""
    if record.state in ENDED:
        return None
    losses = record.losses + (record.state is JobState.RUNNING)
    record = replace(record, losses=losses)
    if record.deadline_us <= now_us:
        return failed(record, ErrorCode.DEADLINE_EXCEEDED, "its deadline passed before it could be run", now_us)
    if losses >= MAX_LOSSES:
        return failed(record, ErrorCode.UNAVAILABLE, f"it was lost {losses} times with the gateway that ran it", now_us)
    started_us = record.started_us or now_us
    return replace(record, state=JobState.RUNNING, gateway=gateway, runs=record.runs + 1, started_us=started_us)


def ended(record: JobRecord, reply: InferReply, now_us: int, kept: KeptReply | None = None) -> JobRecord | None:
    """A run ended with this answer, or with one that is `kept` elsewhere; None: the job has ended already."""
    if record.state in ENDED:
        return None
    error = reply.error
    if error is None:
        return replace(
            record, state=JobState.DONE, ended_us=now_us, reply=None if kept is not None else reply, kept=kept
        )
    losses = record.losses + (error.lost_replicas > 0)
    if error.code in TEMPORARY and now_us < record.deadline_us and losses < MAX_LOSSES:
        return replace(record, state=JobState.QUEUED, losses=losses)
    record = replace(record, losses=losses)
    return replace(record, state=JobState.FAILED, ended_us=now_us, reply=reply)


def put_back(record: JobRecord) -> JobRecord | None:
    """Its gateway goes and says so: somebody else runs it, and this is no loss."""
    return replace(record, state=JobState.QUEUED) if record.state is JobState.RUNNING else None


def cancelled(record: JobRecord, now_us: int) -> JobRecord | None:
    """Whoever submitted it does not want it any more; None: too late."""
    if record.state in ENDED:
        return None
    reply = _error(ErrorCode.CANCELLED, "it was cancelled")
    return replace(record, state=JobState.CANCELLED, ended_us=now_us, reply=reply)


def failed(record: JobRecord, code: ErrorCode, message: str, now_us: int) -> JobRecord:
    """It ends without a run that could tell why."""
    return replace(record, state=JobState.FAILED, ended_us=now_us, reply=_error(code, message))


def as_seen(record: JobRecord, now_us: int) -> JobRecord:
    """The record as callers see it: one that still waits past its deadline has failed, though nobody wrote it yet."""
    if record.state is JobState.QUEUED and record.deadline_us <= now_us:
        return failed(record, ErrorCode.DEADLINE_EXCEEDED, "its deadline passed before it could be run", now_us)
    return record


def _error(code: ErrorCode, message: str) -> InferReply:
    return InferReply(INFER_VERSION, error=ErrorBody(code, message))
