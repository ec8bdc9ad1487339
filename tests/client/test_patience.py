"""When a request is sent again."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.client.patience import FIRST_PAUSE_US, LONGEST_PAUSE_US, Patience


def test_an_unanswered_request_goes_out_once_more_at_half_time() -> None:
    patience = Patience(0, 1_000_000)
    patience.sent(0)
    assert patience.wake_us == 500_000
    patience.sent(500_000)
    assert patience.wake_us == 1_000_000
    assert not patience.is_over(998_999)
    assert patience.is_over(1_000_000)


def test_a_timer_that_rings_a_moment_early_means_its_moment() -> None:
    patience = Patience(0, 1_000_000)
    patience.sent(0)
    patience.sent(499_200)
    assert patience.wake_us == 1_000_000
    assert patience.is_over(999_200)


def test_a_wake_up_before_half_time_leaves_the_half_time_send_standing() -> None:
    patience = Patience(0, 1_000_000)
    patience.sent(0)
    patience.sent(100_000)
    assert patience.wake_us == 500_000


def test_pauses_grow_while_nobody_listens_and_never_pass_the_deadline() -> None:
    patience = Patience(0, 10_000_000)
    now_us = 0
    pauses = []
    for _ in range(6):
        patience.sent(now_us)
        patience.found_nobody(now_us)
        pauses.append(patience.wake_us - now_us)
        now_us = patience.wake_us
    assert pauses[0] == FIRST_PAUSE_US
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_US
    assert patience.nobody_listened


@given(
    st.integers(1, 20_000_000),
    st.lists(st.tuples(st.integers(0, 3_000_000), st.booleans()), max_size=40),
)
def test_there_is_always_something_to_wait_for_before_the_deadline(
    budget_us: int, course: list[tuple[int, bool]]
) -> None:
    patience = Patience(0, budget_us)
    now_us = 0
    for late_us, nobody in course:
        patience.sent(now_us)
        if nobody:
            patience.found_nobody(now_us)
        assert min(now_us, budget_us) <= patience.wake_us <= budget_us
        now_us = patience.wake_us + late_us
        if patience.is_over(now_us):
            return
