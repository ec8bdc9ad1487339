"""Whether a request met its objective: the one rule for whoever counts, keeps or shows requests. Pure.

Its caller's own doing is neither met nor missed.
"""

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
"""How requests end that nobody here is to blame for; for one that was cancelled too late, somebody is."""
_TOO_LITTLE_TIME = frozenset({ErrorCode.DEADLINE_EXCEEDED, ErrorCode.OVERLOADED})


def is_met(code: str, end_us: int, objective_us: int, deadline_us: int) -> bool | None:
    """Of a request that ended with `code` (empty: it was answered) at `end_us`; None: neither met nor missed.

    An answer in parts counts by when its first came, and who leaves in the middle had what was promised; one that is
    cut off, by its deadline or a fault, was not given.
    `objective_us` is until when the objective lasts, 0 for a request without one, which neither meets nor misses any;
    all in Unix microseconds. A caller that leaves after the objective, without anything, had reason to; one whose own
    deadline comes before the objective asked for more than was promised.
    """
    if not objective_us:
        return None
    if not code:
        return end_us <= objective_us
    if code in CALLERS_DOING:
        return False if code == ErrorCode.CANCELLED and end_us > objective_us else None
    return None if code in _TOO_LITTLE_TIME and deadline_us < objective_us else False
