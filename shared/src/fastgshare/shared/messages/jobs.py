"""Asynchronous invocations: a job in the work queue, and what became of it in the `results` bucket.

The queue carries what to run; the record is the truth about it. A job without a record is forgotten.
"""

from enum import StrEnum

import msgspec

from fastgshare.shared.ids import FunctionName, GatewayId, JobId
from fastgshare.shared.messages.infer import InferReply, InferRequest


class JobState(StrEnum):
    """How far a job is. The last three are for good."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReplyWish(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller over HTTP wants an answer: its own id in it, and which outputs as binary data."""

    request_id: str = ""
    binary_by_default: bool = False
    binary: dict[str, bool] = {}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run; rides the work queue."""

    job: JobId
    function: FunctionName
    request: InferRequest
    traceparent: str = ""


class KeptReply(msgspec.Struct, frozen=True, kw_only=True):
    """A result too large for a record: the object in the store `large_results` that holds it, packed, and its size."""

    name: str
    size_bytes: int


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job; times in Unix microseconds, 0: not yet.

    `runs` were begun, of which `losses` ended with their gateway, or with one replica after the other. `reply` is the
    outcome: of a failed job it holds the error; of one whose result is too large for that it is None, and `kept` tells
    where the result is. `address` names where the outcome is published.
    """

    job: JobId
    function: FunctionName
    state: JobState = JobState.QUEUED
    submitted_us: int = 0
    deadline_us: int = 0
    started_us: int = 0
    ended_us: int = 0
    gateway: GatewayId | None = None
    runs: int = 0
    losses: int = 0
    address: str = ""
    wish: ReplyWish = ReplyWish()
    reply: InferReply | None = None
    kept: KeptReply | None = None
