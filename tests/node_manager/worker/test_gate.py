"""Where threads wait for tokens: whoever may start is woken, by others or by time, and nobody sleeps too long."""

import threading
from collections.abc import Callable

import pytest

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.shared.ids import ReplicaId

WAIT_S = 20.0
WINDOW_US = 100_000
FAR_US = 3_600_000_000
A, B = ReplicaId("a"), ReplicaId("b")


def gate(**shares: Share) -> TokenGate:
    made = TokenGate(2, WINDOW_US)
    for name, share in shares.items():
        made.set_share(ReplicaId(name), share)
    return made


def waiting(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def ends(thread: threading.Thread) -> bool:
    thread.join(WAIT_S)
    return not thread.is_alive()


def asleep(made: TokenGate, replica: ReplicaId) -> None:
    while replica not in made._book.waiting():
        threading.Event().wait(0.001)


def test_a_thread_waits_until_the_chunk_is_given_back() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(1, 500, 1000))
    made.acquire(A, 1_000)
    other = waiting(lambda: made.acquire(B, 1_000))
    asleep(made, B)
    assert made.release(A, 1_000)
    assert ends(other)


def test_time_alone_brings_a_limited_replica_its_next_token() -> None:
    made = gate(a=Share(1, 500, 500))
    made.acquire(A, 1_000)
    made.release(A, 20_000, again_us=1_000)
    assert ends(waiting(lambda: made.wait(A)))


@pytest.mark.parametrize("request_permille", [500, 1000])
def test_whoever_sleeps_until_its_limit_lets_it_run_hears_of_a_higher_one(request_permille: int) -> None:
    """Its time had come only in an hour."""
    made = gate(a=Share(1, 1, 1))
    made.acquire(A, 1_000)
    made.release(A, FAR_US // 1000, again_us=1_000)
    sleeper = waiting(lambda: made.wait(A))
    made.set_share(A, Share(1, request_permille, 1000))
    made.set_share(B, Share(2, 500, 1000))
    assert ends(sleeper)


def test_a_token_that_was_granted_meanwhile_is_let_go_by_who_gives_up() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(1, 500, 1000))
    made.acquire(A, 1_000)
    made.release(A, 1_000, again_us=1_000)  # granted again at once
    made.give_up(A)
    made.acquire(B, 1_000)
    made.release(B, 1_000)


def test_nobody_that_is_gone_gets_a_token() -> None:
    made = gate(a=Share(1, 500, 1000))
    assert made.try_acquire(A, 1_000)
    made.release(A, 10)
    made.remove(A)
    assert not made.try_acquire(A, 1_000)


def test_sharing_is_known_by_chunks() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(2, 500, 1000))
    assert not made.is_shared(A)
    made.set_share(B, Share(3, 500, 1000))
    assert made.is_shared(A)
    made.remove(B)
    assert not made.is_shared(A)


def test_a_background_replica_makes_nobody_share_and_shares_with_who_comes_before_it() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(3, 0, 1000))
    assert not made.is_shared(A)
    assert made.is_shared(B)
    made.set_share(A, Share(1, 0, 1000))
    assert not made.is_shared(B)


def test_a_background_thread_waits_until_nobody_else_has_work_and_the_regular_one_for_its_batch() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(3, 0, 1000))
    made.acquire(A, 1_000)
    lent = waiting(lambda: made.acquire(B, 1_000))
    asleep(made, B)
    assert made.release(A, 1_000) == (False, False)  # B waits a batch's time for A to stay away
    assert ends(lent)
    regular = waiting(lambda: made.acquire(A, 1_000))
    asleep(made, A)
    assert made.release(B, 1_000, again_us=1_000) == (False, True)
    assert ends(regular)
    again = waiting(lambda: made.wait(B))
    made.release(A, 1_000)
    assert ends(again)


@pytest.mark.parametrize("patience_us", [0, 20_000])
def test_a_background_thread_that_has_waited_long_enough_has_one_turn_among_the_others(patience_us: int) -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(1, 0, 1000))
    had: list[Share] = []

    def turn() -> None:
        made.acquire(B, 100, patience_us)
        had.append(made._book.share_of(B))
        made.release(B, 100)

    made.acquire(A, 100)
    lent = waiting(turn)
    asleep(made, B)
    while lent.is_alive():  # the other always has more to do
        made.release(A, 100, again_us=100)
        made.wait(A)
    assert had == [Share(1, 1, 1000)]
    assert made._book.share_of(B) == Share(1, 0, 1000)


def test_who_steps_forward_for_good_meanwhile_does_not_go_back() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(1, 0, 1000))
    made.acquire(A, 100)
    lent = waiting(lambda: made.acquire(B, 100, 0))
    while not made._seats[B].is_ahead:
        threading.Event().wait(0.001)
    made.step_forward(B)
    made.release(A, 100)
    assert ends(lent)
    made.release(B, 100)
    assert made._book.share_of(B) == Share(1, 1, 1000)


def test_time_alone_brings_a_background_replica_its_next_token_and_a_higher_limit_sooner() -> None:
    made = gate(a=Share(1, 0, 500))
    made.acquire(A, 1_000)
    made.release(A, 20_000, again_us=1_000)
    assert ends(waiting(lambda: made.wait(A)))


def test_a_background_thread_that_sleeps_until_its_limit_lets_it_run_hears_of_a_higher_one() -> None:
    made = gate(a=Share(1, 0, 1))
    made.acquire(A, 1_000)
    made.release(A, 100_000, again_us=1_000)  # which takes 100 s to pay for
    sleeper = waiting(lambda: made.wait(A))
    made.set_share(A, Share(1, 0, 1000))
    assert ends(sleeper)


def test_how_long_others_ran_is_told_of_a_background_replica_and_never_grows_less() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(3, 0, 1000))
    assert made.others_us(B) == 0
    made.acquire(A, 1_000)
    while not (ran_us := made.others_us(B)):
        threading.Event().wait(0.001)
    made.release(A, 1_000)
    assert (told_us := made.others_us(B)) >= ran_us
    assert made.others_us(B) == told_us
    made.remove(B)
    assert made.others_us(B) == 0


def test_whoever_does_not_come_back_from_a_batch_is_found_unless_it_said_it_would_take_long() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(2, 500, 1000))
    assert made.hung(0) is None
    made.acquire(B, FAR_US)
    made.acquire(A, 0)
    threading.Event().wait(0.001)
    assert made.hung(FAR_US) is None
    assert made.hung(1) == A


def test_a_thread_that_asks_while_another_runs_a_batch_of_its_replica_gets_its_turn_after_that() -> None:
    made = gate(a=Share(1, 500, 1000))
    assert made.try_acquire(A, 1_000)
    sleeper = waiting(lambda: made.acquire(A, 1_000))
    while made._seats[A].wants_us is None:
        threading.Event().wait(0.001)
    made.release(A, 100)
    assert ends(sleeper)


def test_a_thread_that_gives_up_meanwhile_leaves_the_others_token_alone() -> None:
    made = gate(a=Share(1, 500, 1000), b=Share(1, 500, 1000))
    assert made.try_acquire(A, 1_000)
    made.give_up(A)
    assert made._book.running() == {A: 1}
    made.release(A, 100)
    assert made._book.running() == {}
