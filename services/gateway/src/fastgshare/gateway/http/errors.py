"""Refusals as HTTP says them: a status, `{"error": "..."}`, and when to come back. Never a stack trace."""

from fastgshare.gateway.oip import encode_error
from fastgshare.shared.errors import ErrorBody, FastGShareError

UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
INTERNAL_ERROR = 500
JSON_TYPE = (b"content-type", b"application/json")

Headers = list[tuple[bytes, bytes]]


class HttpRefused(FastGShareError):
    """A request is refused with a status that only HTTP has: fields `status`, `message`."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(status=status, message=message)
        self.status = status
        self.message = message
        self.headers = headers or []


class CallerGone(FastGShareError):
    """The caller closed the connection before its request was complete; there is nobody to answer."""


def too_large(limit_bytes: int, what: str = "the body", hint: str = "") -> HttpRefused:
    """413 with the limit."""
    return HttpRefused(413, f"{what} is larger than the limit of {limit_bytes} bytes{hint}")


def retry_after_s(body: ErrorBody) -> int:
    """Whole seconds after which another try makes sense, at least one."""
    return max(1, -(-body.retry_after_ms // 1000))


def refusal_headers(body: ErrorBody) -> Headers:
    """What goes with a refusal beside its body."""
    if body.http_status in (TOO_MANY_REQUESTS, UNAVAILABLE):
        return [(b"retry-after", b"%d" % retry_after_s(body))]
    return []


def error_content(message: str) -> tuple[bytes, Headers]:
    """`{"error": message}` and the headers that describe it."""
    content = encode_error(message)
    return content, [JSON_TYPE, (b"content-length", b"%d" % len(content))]
