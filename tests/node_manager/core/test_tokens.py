"""Tokens: one plain example for each rule; `test_guarantees` has what follows from them all."""

import pytest

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook, mask_of, permille_of
from fastgshare.shared.ids import ReplicaId

A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")
WINDOW_US = 1000


def book_of(shares: dict[ReplicaId, Share], chunks: int = 4) -> TokenBook:
    book = TokenBook(chunks, WINDOW_US)
    for replica, share in shares.items():
        assert book.set_share(replica, share, 0) == []
    return book


def on(mask: int, request: int = 500, limit: int = 1000) -> Share:
    return Share(mask, request, limit)


def test_chunks_and_quotas_become_masks_and_parts_per_thousand() -> None:
    assert mask_of((0, 3)) == 0b1001
    assert permille_of(0.4) == 400
    assert permille_of(0.0001) == 1


def test_disjoint_chunks_run_together() -> None:
    book = book_of({A: on(0b01), B: on(0b10)})
    assert book.ask(A, 10, 0) == [A]
    assert book.ask(B, 10, 0) == [B]
    assert book.running() == {A: 0b01, B: 0b10}


def test_a_shared_chunk_is_waited_for() -> None:
    book = book_of({A: on(1), B: on(1)})
    book.ask(A, 10, 0)
    assert book.ask(B, 10, 0) == []
    assert book.waiting() == [B]
    assert book.end(A, 10, 10) == [B]


def test_a_chunk_goes_to_whoever_is_owed_longest() -> None:
    book = book_of({A: on(1, 100), B: on(1, 500)})
    book.ask(A, 100, 0)
    book.ask(B, 100, 0)
    assert book.end(A, 100, 100, again_us=100) == [B]
    assert book.end(B, 100, 200, again_us=100) == [B]
    assert book.end(B, 100, 300, again_us=100) == [B]


def test_asking_twice_is_asking_once() -> None:
    book = book_of({A: on(1), B: on(1)})
    book.ask(A, 10, 0)
    assert book.ask(A, 10, 1) == []
    book.ask(B, 10, 1)
    assert book.ask(B, 10, 2) == []
    assert book.end(A, 10, 10) == [B]
    assert book.end(A, 10, 10) == []


def test_who_gives_up_waits_no_more() -> None:
    book = book_of({A: on(1), B: on(1)})
    book.ask(A, 10, 0)
    book.ask(B, 10, 0)
    assert book.give_up(B, 5) == []
    assert book.waiting() == []
    assert book.end(A, 10, 10) == []


def test_giving_up_leaves_a_token_that_was_granted_meanwhile() -> None:
    book = book_of({A: on(1)})
    book.ask(A, 10, 0)
    book.give_up(A, 0)
    assert book.running() == {A: 1}


def test_without_spare_time_the_next_batch_waits_until_the_last_one_is_paid_for() -> None:
    book = book_of({A: on(1, 500, 500)})
    book.ask(A, 100, 0)
    assert book.end(A, 150, 150, again_us=100) == []
    assert book.look_again_us(A, 150) == book.wake_at_us(150) == 300
    assert book.poll(299) == []
    assert book.poll(300) == [A]


def test_a_limit_above_the_request_is_a_budget_of_spare_time() -> None:
    book = book_of({A: on(1, 500, 750)})
    book.ask(A, 100, 0)
    assert book.end(A, 100, 100, again_us=100) == [A]
    assert not book.is_paid_by_debt(A)
    assert book.end(A, 100, 200, again_us=100) == [A]
    assert book.is_paid_by_debt(A)
    assert book.end(A, 100, 300, again_us=100) == []
    assert book.wake_at_us(300) == 400


def test_spare_time_goes_to_whoever_had_least_of_it() -> None:
    book = book_of({A: on(1, 100), B: on(1, 100)})
    now_us, had = 0, {A: 0, B: 0}
    book.ask(A, 10, 0)
    book.ask(B, 10, 0)
    for _ in range(100):
        ((replica, _),) = book.running().items()
        now_us += 10
        had[replica] += 10
        book.end(replica, 10, now_us, again_us=10)
    assert abs(had[A] - had[B]) <= 20


def test_a_newcomer_does_not_catch_up_on_the_spare_time_that_others_had() -> None:
    book = book_of({A: on(1, 100)})
    book.ask(A, 10, 0)
    for now_us in range(10, 5001, 10):
        assert book.end(A, 10, now_us, again_us=10) == [A]
    book.set_share(B, on(1, 100), 5000)
    book.ask(B, 10, 5000)
    granted = [A]
    for now_us in range(5010, 5410, 10):
        granted += book.end(granted[-1], 10, now_us, again_us=10)
    assert abs(granted.count(A) - granted.count(B)) <= 2


def test_overrun_is_charged() -> None:
    book = book_of({A: on(1, 500, 500), B: on(1, 500, 500)})
    book.ask(A, 100, 0)
    book.ask(B, 100, 0)
    assert book.end(A, 300, 300, again_us=100) == [B]
    assert book.end(B, 100, 400, again_us=100) == [B]
    assert book.end(B, 100, 500, again_us=100) == [B]
    assert book.end(B, 100, 600, again_us=100) == [A]


def test_idleness_brings_a_tenth_of_a_window_at_most() -> None:
    book = book_of({A: on(1, 500, 500)})
    assert book.ask(A, 60, 10_000) == [A]
    assert book.end(A, 60, 10_060, again_us=60) == [A]
    assert book.end(A, 60, 10_120, again_us=60) == []
    assert book.wake_at_us(10_120) == 10_000 - WINDOW_US // 10 + 2 * 120


def test_a_quota_changes_at_once_and_what_was_spent_stays() -> None:
    book = book_of({A: on(1, 100, 100)})
    book.ask(A, 100, 0)
    book.end(A, 100, 100, again_us=100)
    assert book.wake_at_us(100) == 1000
    assert book.set_share(A, on(1, 100, 1000), 100) == [A]


def test_a_token_keeps_its_chunks_until_it_ends() -> None:
    book = book_of({A: on(0b11), B: on(0b01, 300)})
    book.ask(A, 100, 0)
    assert book.set_share(A, on(0b10), 10) == []
    assert book.ask(B, 10, 20) == []
    assert book.running() == {A: 0b11}
    assert set(book.end(A, 100, 100, again_us=100)) == {A, B}
    assert book.running() == {A: 0b10, B: 0b01}


def test_who_is_removed_takes_its_token_along() -> None:
    book = book_of({A: on(1), B: on(1)})
    book.ask(A, 10, 0)
    book.ask(B, 10, 0)
    assert book.remove(A, 5) == [B]
    assert book.end(A, 10, 10) == []
    assert book.remove(A, 10) == []
    assert list(book.shares()) == [B]


def test_asking_for_now_takes_a_free_chunk_and_never_waits() -> None:
    book = book_of({A: on(1), B: on(1)})
    assert book.ask_now(A, 10, 0)
    assert not book.ask_now(A, 10, 0)
    assert not book.ask_now(B, 10, 0)
    assert book.waiting() == []
    assert book.end(A, 10, 10) == []
    assert book.ask_now(B, 10, 10)


def test_asking_for_now_overtakes_nobody_and_grants_nobody_else() -> None:
    book = book_of({A: on(1, 500, 500), B: on(1)})
    book.ask(A, 100, 0)
    book.end(A, 100, 100, again_us=100)
    assert not book.ask_now(B, 10, 250)
    assert book.waiting() == [A]
    assert book.poll(250) == [A]


def test_asking_for_now_beyond_the_limit_is_refused() -> None:
    book = book_of({A: on(1, 100, 100)})
    assert book.ask_now(A, 100, 0)
    book.end(A, 100, 100)
    assert not book.ask_now(A, 100, 200)
    assert book.take_use(200)[A].backlogged_us == 100


def test_in_its_slot_a_wide_replica_comes_before_narrow_ones() -> None:
    shares = {A: on(0b11, 400), B: on(0b01, 600), C: on(0b10, 600)}
    book = book_of(shares)
    for replica in (B, C, A):
        book.ask(replica, 10, 1000 if replica is A else 950)
    assert book.running() == {B: 0b01, C: 0b10}
    assert book.end(B, 60, 1010, again_us=10) == []
    assert book.end(C, 65, 1015, again_us=10) == [A]


def test_chunks_are_kept_outside_its_slot_for_whoever_is_far_behind() -> None:
    book = book_of({A: on(0b11, 300, 300), B: on(0b01, 300), C: on(0b10, 300)})
    book.ask(B, 40, 0)
    book.ask(A, 40, 0)
    assert book.ask(C, 40, 650) == []
    assert book.end(B, 700, 700) == [A]


def test_a_debt_from_times_of_too_many_promises_is_forgotten_by_all_alike() -> None:
    book = book_of({A: on(1, 900), B: on(1, 900)})
    book.ask(A, 10, 0)
    book.ask(B, 10, 0)
    for now_us in range(10, 50_000, 10):
        ((replica, _),) = book.running().items()
        book.end(replica, 10, now_us, again_us=10)
    book.set_share(A, on(1, 500), 50_000)
    book.set_share(B, on(1, 200), 50_000)
    book.set_share(C, on(1, 300), 50_000)
    book.ask(C, 10, 50_000)
    granted = []
    for now_us in range(50_000, 60_000, 10):
        ((replica, _),) = book.running().items()
        granted.append(replica)
        book.end(replica, 10, now_us, again_us=10)
    assert granted[-900:].count(C) >= 900 * 0.28
    assert granted.index(C) <= 2 * WINDOW_US * 0.7 / 10 + 2


def test_nobody_starts_what_would_run_into_a_slot_of_somebody_with_work() -> None:
    book = book_of({A: on(0b11, 400, 400), B: on(0b01, 600)})
    book.ask(A, 40, 0)
    for now_us in range(40, 400, 40):
        assert book.end(A, 40, now_us, again_us=40) == [A]
    book.ask(B, 40, 350)
    assert book.end(A, 40, 400, again_us=40) == [B]
    for now_us in range(466, 994, 66):
        assert book.end(B, 66, now_us, again_us=40) == [B]
    assert book.end(B, 66, 994, again_us=40) == []
    assert book.wake_at_us(994) == 1000
    assert book.poll(1000) == [A]


def test_an_unused_slot_is_anybodys() -> None:
    book = book_of({A: on(0b11, 400), B: on(0b01, 600)})
    assert book.ask(B, 300, 10) == [B]
    assert not book.is_paid_by_debt(B)


def test_what_replicas_had_is_counted_once() -> None:
    book = book_of({A: on(1), B: on(1)})
    book.ask(A, 10, 0)
    book.ask(B, 10, 0)
    book.end(A, 30, 30)
    use = book.take_use(40)
    assert (use[A].used_us, use[A].batches, use[A].backlogged_us) == (30, 1, 30)
    assert (use[B].used_us, use[B].longest_wait_us, use[B].backlogged_us) == (0, 30, 40)
    assert book.take_use(40)[A].used_us == 0


@pytest.mark.parametrize("shares", [{A: on(1), B: on(1)}, {A: on(0b11), B: on(0b01), C: on(0b10)}])
def test_a_longer_batch_than_ever_lays_the_timetable_anew_and_everybody_keeps_its_place(
    shares: dict[ReplicaId, Share],
) -> None:
    book = book_of(shares)
    for replica in shares:
        book.ask(replica, 10, 0)
    ((running, _),) = book.running().items()
    waiting = book.waiting()
    book.end(running, 10, 10, again_us=400)
    assert set(book.waiting()) | set(book.running()) == set(shares)
    assert len(waiting) == len(shares) - 1


def test_a_token_had_at_once_for_a_batch_that_lengthens_the_period_is_one_token() -> None:
    book = book_of({A: on(0b0011, 300), B: on(0b0110, 300)})
    before_us = book.timetable_of(A).period_us
    assert book.ask_now(A, 400, 0)
    assert book.timetable_of(A).period_us > before_us
    assert book.end(A, 400, 400) == []
    assert book.running() == {}
    assert book.waiting() == []
