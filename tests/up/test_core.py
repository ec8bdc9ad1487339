"""Restart decisions, without processes and without a clock."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.cli.up.core import (
    ChildState,
    GiveUp,
    Phase,
    Policy,
    StartAgain,
    became_ready,
    condemned,
    exited,
    started,
)

POLICY = Policy(first_wait_us=100, longest_wait_us=5_000, stable_us=10_000, hopeless_exits=5)
READY_ONCE = became_ready(started(ChildState(), now_us=0))


def waits_of(lives_us: list[int], state: ChildState) -> list[int | None]:
    """The wait after each life; None where the child was given up."""
    waits: list[int | None] = []
    now_us = 0
    for life_us in lives_us:
        state = started(state, now_us)
        now_us += life_us
        state, decision = exited(POLICY, state, now_us)
        waits.append(decision.at_us - now_us if isinstance(decision, StartAgain) else None)
    return waits


def test_waits_double_up_to_the_longest() -> None:
    assert waits_of([1] * 8, READY_ONCE) == [100, 200, 400, 800, 1600, 3200, 5000, 5000]


def test_a_stable_life_forgives_the_short_ones_before_it() -> None:
    assert waits_of([1, 1, 1, 10_000, 1], READY_ONCE) == [100, 200, 400, 100, 200]


def test_a_child_that_was_never_ready_is_given_up_after_its_fifth_short_life() -> None:
    assert waits_of([1] * 5, ChildState()) == [100, 200, 400, 800, None]


def test_slow_lives_without_readiness_are_not_hopeless() -> None:
    assert waits_of([10_000] * 7, ChildState()) == [100] * 7


def test_a_child_that_was_ready_in_any_life_is_never_given_up() -> None:
    assert None not in waits_of([1] * 50, READY_ONCE)


def test_giving_up_tells_how_often_it_tried() -> None:
    state, decision = exited(POLICY, ChildState(short_lives=4), now_us=1)
    assert decision == GiveUp(exits=5)
    assert state.phase is Phase.HOPELESS


def test_phases_follow_the_process() -> None:
    state = started(ChildState(), now_us=7)
    assert (state.phase, state.started_us) == (Phase.STARTING, 7)
    assert became_ready(state).phase is Phase.READY
    assert condemned(became_ready(state)).phase is Phase.WAITING
    assert exited(POLICY, became_ready(state), now_us=8)[0].phase is Phase.WAITING


@given(st.lists(st.integers(0, 20_000), max_size=200))
def test_every_wait_is_within_bounds(lives_us: list[int]) -> None:
    for wait_us in waits_of(lives_us, READY_ONCE):
        assert wait_us is not None
        assert POLICY.first_wait_us <= wait_us <= POLICY.longest_wait_us


@given(st.lists(st.integers(0, 9_999), min_size=1, max_size=10_000))
def test_a_child_that_keeps_dying_is_not_restarted_more_often_than_the_waits_allow(
    lives_us: list[int],
) -> None:
    waits = [wait_us for wait_us in waits_of(lives_us, READY_ONCE) if wait_us is not None]
    assert waits == sorted(waits)
