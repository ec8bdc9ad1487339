"""What a gRPC call brings beside its message: a deadline, a key, a trace; and how what it raises becomes a status."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc

from fastgshare.gateway.grpc.refusals import STATUS, trailers
from fastgshare.shared.buckets import RevisionConflict, StorageUnavailable
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidSpec, RequestRefused
from fastgshare.shared.telemetry.sampling import Sampler
from fastgshare.shared.tracing import TRACEPARENT, TraceContext
from fastgshare.shared.units import s_to_us

DOOR, STREAM_DOOR = "grpc", "grpc_stream"
_RETRY_STORAGE_MS = 1000

logger = logging.getLogger(__name__)


class Context(Protocol):
    """What is asked of grpc's own context."""

    def invocation_metadata(self) -> Any: ...

    def time_remaining(self) -> float | None: ...

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> Any: ...

    async def read(self) -> Any: ...

    async def write(self, message: Any) -> None: ...


def metadata(context: Context) -> dict[str, str]:
    """The call's metadata by name; binary ones are left out."""
    return texts(context.invocation_metadata())


def texts(given: Any) -> dict[str, str]:
    """Metadata by name, without binary values."""
    return {name: value for name, value in given or () if isinstance(value, str)}


def trace_of(sampler: Sampler, given: dict[str, str]) -> TraceContext:
    """This hop's own span: the caller's child where it sent one."""
    return sampler.begin(given.get(TRACEPARENT))


def deadline_us(context: Context, now_us: int, asked_us: int, default_us: int, most_us: int) -> int:
    """When the call must be answered, in Unix microseconds: by its own deadline and by what its message asks."""
    left_s = context.time_remaining()
    within_us = min(asked_us or (default_us if left_s is None else most_us), most_us)
    return now_us + (within_us if left_s is None else min(within_us, s_to_us(max(left_s, 0))))


@asynccontextmanager
async def answered(
    context: Context, what: str, on_refusal: Callable[[ErrorBody], None] | None = None
) -> AsyncIterator[None]:
    """Turn what the body raises into the call's status, once `on_refusal` has heard of it."""
    try:
        yield
    except (asyncio.CancelledError, grpc.aio.AbortError):
        raise
    except Exception as fault:
        error = refusal_of(fault, what)
        if on_refusal is not None:
            on_refusal(error)
        await context.abort(STATUS[error.code], error.message, trailers(error))


def refusal_of(fault: Exception, what: str) -> ErrorBody:
    """A fault as its caller may know it."""
    match fault:
        case RequestRefused():
            return fault.body
        case InvalidSpec():
            return ErrorBody(ErrorCode.INVALID, str(fault))
        case RevisionConflict():
            return ErrorBody(ErrorCode.CONFLICT, "somebody else changed it; try again")
        case StorageUnavailable():
            message = f"storage does not answer: {fault.fields.get('reason')}"
            return ErrorBody(ErrorCode.UNAVAILABLE, message, _RETRY_STORAGE_MS)
        case _:
            logger.error("%s failed", what, exc_info=fault)
            return ErrorBody(ErrorCode.INTERNAL, "internal error")
