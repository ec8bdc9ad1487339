"""Refusals as gRPC says them: a status, the words, the code they have everywhere else, and when to come back."""

import grpc

from fastgshare.shared.errors import ErrorBody, ErrorCode

ERROR_CODE = "fastgshare-code"
RETRY_AFTER_MS = "retry-after-ms"

STATUS: dict[ErrorCode, grpc.StatusCode] = {
    ErrorCode.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.CONFLICT: grpc.StatusCode.ABORTED,
    ErrorCode.TENSOR_UNREACHABLE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.TOO_LARGE: grpc.StatusCode.OUT_OF_RANGE,  # not "exhausted", which says that it may go well later
    ErrorCode.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorCode.HANDLER_FAILED: grpc.StatusCode.INTERNAL,
    ErrorCode.MODEL_FAILED: grpc.StatusCode.INTERNAL,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def trailers(error: ErrorBody) -> tuple[tuple[str, str], ...]:
    """What goes with a refusal's status and words."""
    code = ((ERROR_CODE, error.code.value),)
    return (*code, (RETRY_AFTER_MS, str(error.retry_after_ms))) if error.retry_after_ms else code
