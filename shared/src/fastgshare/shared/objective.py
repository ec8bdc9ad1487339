"""Whether a request met its objective. Its caller's own doing is neither met nor missed."""

from fastgshare.shared.errors import ErrorCode

CALLERS_DOING = frozenset(
    {
        ErrorCode.INVALID,
        ErrorCode.UNAUTHORIZED,
        ErrorCode.FORBIDDEN,
        ErrorCode.NOT_FOUND,
        ErrorCode.CONFLICT,
        ErrorCode.TOO_LARGE,
        ErrorCode.TENSOR_UNREACHABLE,
        ErrorCode.CANCELLED,
        "handed_back",  # it asks another gateway, whose books have it
    }
)
"""How requests end that nobody here is to blame for."""


def is_met(code: str, end_us: int, objective_us: int) -> bool | None:
    """Of a request that ended with `code` (empty: it was answered) at `end_us`; None: neither met nor missed.

    `objective_us` is until when it lasts, 0 for a request without one, which neither meets nor misses any; both in
    Unix microseconds.
    """
    if not objective_us or code in CALLERS_DOING:
        return None
    return not code and end_us <= objective_us
