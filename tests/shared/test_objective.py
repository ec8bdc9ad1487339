"""Who met an objective, who missed it, and who does not count: callers are not to blame for what they were promised."""

import pytest

from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.objective import is_met

OBJECTIVE_US = 1_000
LATER_US = OBJECTIVE_US + 1


@pytest.mark.parametrize(
    ("code", "end_us", "deadline_us", "met"),
    [
        ("", OBJECTIVE_US, LATER_US, True),
        ("", LATER_US, LATER_US, False),
        (ErrorCode.INVALID, LATER_US, LATER_US, None),
        (ErrorCode.MODEL_FAILED, 1, LATER_US, False),
        (ErrorCode.MODEL_FAILED, 1, 500, False),
        (ErrorCode.CANCELLED, OBJECTIVE_US, LATER_US, None),
        (ErrorCode.CANCELLED, LATER_US, LATER_US, False),
        (ErrorCode.DEADLINE_EXCEEDED, LATER_US, LATER_US, False),
        (ErrorCode.DEADLINE_EXCEEDED, OBJECTIVE_US, OBJECTIVE_US, False),
        (ErrorCode.DEADLINE_EXCEEDED, 501, 500, None),
        (ErrorCode.OVERLOADED, 1, LATER_US, False),
        (ErrorCode.OVERLOADED, 1, 500, None),
        ("a word of some worker", 1, 500, False),
    ],
)
def test_the_rule(code: str, end_us: int, deadline_us: int, met: bool | None) -> None:
    assert is_met(code, end_us, OBJECTIVE_US, deadline_us) is met


@pytest.mark.parametrize("code", ["", *ErrorCode])
def test_without_an_objective_nothing_counts(code: str) -> None:
    assert is_met(code, LATER_US, 0, LATER_US) is None
