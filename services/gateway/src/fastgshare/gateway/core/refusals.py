"""What the gateway refuses in the same words in several places."""

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName, RequestId
from fastgshare.shared.units import US_PER_MS

FULL_RETRY_MS = 100


def unknown(function: FunctionName) -> ErrorBody:
    """No such function."""
    return ErrorBody(ErrorCode.NOT_FOUND, f"no function '{function}'")


def taken(request_id: RequestId) -> ErrorBody:
    """Another caller's request goes by this id."""
    return ErrorBody(ErrorCode.CONFLICT, f"request id '{request_id}' is in use by another caller")


def too_late(by_us: int) -> ErrorBody:
    """The deadline has passed."""
    return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed {by_us / US_PER_MS:.0f} ms ago")


def full(held_bytes: int) -> ErrorBody:
    """The gateway's memory for payloads is taken."""
    message = f"the gateway holds requests of {held_bytes} bytes, the limit"
    return ErrorBody(ErrorCode.OVERLOADED, message, FULL_RETRY_MS)


def crowded(requests: int) -> ErrorBody:
    """The gateway has as many requests open as it may."""
    return ErrorBody(ErrorCode.OVERLOADED, f"the gateway has {requests} requests open, the limit", FULL_RETRY_MS)


def at_zero(function: FunctionName) -> ErrorBody:
    """Somebody asked for no replicas, so none will come."""
    return ErrorBody(ErrorCode.UNAVAILABLE, f"function '{function}' is scaled to 0 replicas")


def overloaded(message: str, wait_us: int) -> ErrorBody:
    """Try again after `wait_us`."""
    return ErrorBody(ErrorCode.OVERLOADED, message, max(1, wait_us // US_PER_MS))
