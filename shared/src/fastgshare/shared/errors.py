"""Two kinds of things that go wrong.

A *refusal* is an expected outcome of a request and travels as a value (`ErrorBody`) back to its caller; a *fault* is
an exception under `FastGShareError`, named for the condition and carrying fields. `RequestRefused` turns the first
into the second on the caller's side.
"""

from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """Why a request or a management call was refused; each maps onto one HTTP status."""

    INVALID = "invalid"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    HANDLER_FAILED = "handler_failed"
    MODEL_FAILED = "model_failed"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    TENSOR_UNREACHABLE = "tensor_unreachable"
    CANCELLED = "cancelled"
    FORBIDDEN = "forbidden"


HTTP_STATUS: dict[ErrorCode, int] = {
    ErrorCode.INVALID: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.TENSOR_UNREACHABLE: 409,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.CANCELLED: 499,
    ErrorCode.HANDLER_FAILED: 500,
    ErrorCode.MODEL_FAILED: 500,
    ErrorCode.INTERNAL: 500,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
}


class ErrorBody(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A refusal as it crosses the bus: what was wrong, what was expected, and when to try again.

    `lost_replicas` ended one after the other with this request in hand: it may be what ends them.
    """

    code: ErrorCode
    message: str
    retry_after_ms: int = 0
    lost_replicas: int = 0

    @property
    def http_status(self) -> int:
        """The HTTP status that says the same."""
        return HTTP_STATUS[self.code]


class FastGShareError(Exception):
    """Root of every fault the platform raises. Subclasses carry their facts as keyword fields."""

    def __init__(self, **fields: object) -> None:
        super().__init__(", ".join(f"{name}={value}" for name, value in fields.items()))
        self.fields = fields


class RequestRefused(FastGShareError):
    """The platform answered, and the answer is a refusal."""

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(code=body.code.value, message=body.message)
        self.body = body

    def __str__(self) -> str:
        return f"{self.body.code.value}: {self.body.message}"


class InvalidSpec(FastGShareError):
    """A function definition cannot be used; `problems` says what and where."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems="; ".join(problems))
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class InvalidConfig(FastGShareError):
    """A setting cannot be used: fields `setting`, `value`, `expected`."""


class BusUnavailable(FastGShareError):
    """No NATS server with JetStream answered: fields `url`, `reason`."""


class PayloadInvalid(FastGShareError):
    """Bytes from the bus do not decode as the message expected there: fields `expected`, `reason`."""


class ObjectMissing(FastGShareError):
    """The object store does not hold this digest, or holds other bytes under it: fields `digest`, `reason`."""


class SlotInvalid(FastGShareError):
    """A shared-memory descriptor does not name a usable slot: fields `name`, `reason`."""
