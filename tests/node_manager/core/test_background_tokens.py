"""Tokens of background replicas: one plain example for each rule; `test_background` has what follows from them all."""

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId

A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")
WINDOW_US = 1000


def book_of(shares: dict[ReplicaId, Share]) -> TokenBook:
    book = TokenBook(4, WINDOW_US)
    for replica, share in shares.items():
        assert book.set_share(replica, share, 0) == []
    return book


def on(mask: int, request: int = 500, limit: int = 1000) -> Share:
    return Share(mask, request, limit)


def lent(mask: int, limit: int = 1000) -> Share:
    return Share(mask, 0, limit)


def test_in_the_background_it_runs_only_where_nobody_else_has_work() -> None:
    book = book_of({A: on(0b01, 100, 100), B: lent(0b11), C: on(0b10)})
    book.ask(A, 10, 0)
    assert book.ask(B, 10, 0) == []
    assert book.end(A, 10, 10, again_us=10) == []
    assert book.wake_at_us(10) == 100  # A's next batch comes first, though its limit holds it
    assert book.poll(100) == [A]
    assert book.end(A, 10, 110) == []
    assert book.look_again_us(B, 110) == 120  # nobody else's work for as long as its batch should take
    assert book.poll(119) == []
    assert book.poll(120) == [B]
    assert not book.is_paid_by_debt(B)
    assert book.ask(C, 10, 115) == []
    assert book.end(B, 10, 120, again_us=10) == [C]
    assert book.end(C, 10, 130) == []
    assert book.poll(140) == [B]


def test_who_gives_up_leaves_its_chunks_to_the_background() -> None:
    book = book_of({A: on(1, 100, 100), B: lent(1)})
    book.ask(A, 100, 0)
    book.end(A, 100, 100, again_us=100)
    assert book.ask(B, 10, 100) == []
    assert book.give_up(A, 200) == []
    assert book.poll(210) == [B]
    book.ask(A, 100, 205)
    assert book.waiting() == [A]
    assert book.end(B, 10, 210, again_us=10) == []
    assert book.waiting() == [A, B]
    assert book.remove(A, 220) == []
    assert book.poll(230) == [B]


def test_the_end_of_a_background_batch_lets_whoever_waited_for_its_chunks_start_in_any_group() -> None:
    book = book_of({A: on(0b0001), B: on(0b0010), C: lent(0b1111)})
    assert book.ask(C, 100, 0) == [C]
    assert book.ask(A, 10, 10) == book.ask(B, 10, 20) == []
    assert book.end(C, 100, 100) == [A, B]


def test_a_background_replica_joins_no_group() -> None:
    book = book_of({A: on(0b01), B: on(0b01)})
    table = book.timetable_of(A)
    for mask in (0b11, 0b10, 0b01):
        assert book.set_share(C, lent(mask), 0) == []
        assert book.timetable_of(A) is book.timetable_of(B) is table
    assert not book.timetable_of(C).slots
    assert book.remove(C, 0) == []
    assert book.timetable_of(A) is table


def test_its_limit_paces_a_background_replica() -> None:
    book = book_of({A: lent(1, 250)})
    book.ask(A, 100, 0)
    assert book.end(A, 100, 100, again_us=100) == []
    assert book.look_again_us(A, 100) == book.wake_at_us(100) == 400
    assert book.set_share(A, lent(1, 500), 200) == []
    assert book.wake_at_us(200) == 300
    assert book.poll(300) == [A]


def test_background_replicas_take_turns_however_wide_they_are() -> None:
    book = book_of({A: lent(0b11), B: lent(0b01), C: lent(0b10)})
    for replica in (B, C, A):
        book.ask(replica, 10, 0)
    assert book.running() == {B: 0b01, C: 0b10}
    assert book.end(B, 10, 10, again_us=10) == []
    assert book.end(C, 20, 20, again_us=10) == [A]
    assert book.end(A, 10, 30, again_us=10) == [B, C]


def test_a_regular_replica_turned_to_the_background_owes_what_it_had_and_is_owed_nothing_when_it_comes_back() -> None:
    book = book_of({A: on(1, 100, 100)})
    book.ask(A, 100, 0)
    assert book.set_share(A, lent(1, 200), 50) == []
    assert book.end(A, 100, 100, again_us=100) == []
    assert book.wake_at_us(100) == 500
    assert book.poll(500) == [A]
    assert book.end(A, 10, 510) == []
    assert book.set_share(A, on(1, 100, 100), 5000) == []
    assert book.ask(A, 10, 5000) == [A]
    assert book.end(A, 10, 5010, again_us=10) == []


def test_a_background_replica_asks_for_now_like_any_other() -> None:
    book = book_of({A: on(1), B: lent(0b11)})
    assert book.ask_now(B, 10, 0)
    assert not book.ask_now(A, 10, 0)
    book.end(B, 10, 10)
    assert book.ask_now(A, 10, 10)
    assert not book.ask_now(B, 10, 15)
    assert book.waiting() == []
    assert book.take_use(20)[B].used_us == 10


def test_asking_for_now_starts_nobody_in_the_background_of_whom_the_caller_would_not_hear() -> None:
    book = book_of({A: on(0b01), B: lent(0b10, 100)})
    book.ask(B, 10, 0)
    book.end(B, 10, 10, again_us=10)
    assert book.ask_now(A, 10, 200)
    assert book.waiting() == [B]
    assert book.poll(200) == [B]


def test_how_long_others_had_its_chunks_is_counted_in_the_background() -> None:
    book = book_of({A: on(0b01, 500, 500), B: lent(0b11), C: on(0b100)})
    book.ask(C, 100, 0)
    assert book.others_us(B, 10) == 0
    book.ask(A, 10, 10)
    assert book.others_us(B, 15) == 5
    book.ask(B, 10, 20)
    book.end(A, 20, 30, again_us=10)
    assert book.others_us(B, 40) == 30  # it waits for A, which waits for its limit
    book.set_share(B, lent(0b10), 40)
    assert book.others_us(B, 60) == 30


def test_who_works_now_and_then_meets_no_batch_that_is_longer_than_its_pauses() -> None:
    """A works 10 of every 60 us: a batch of 50 never starts in between, one of 20 does."""
    for batch_us, runs in ((50, 0), (20, 4)):
        book = book_of({A: on(1, 500, 1000), B: lent(1)})
        started = 0
        for begin_us in range(0, 240, 60):
            assert book.ask(A, 10, begin_us) == [A]
            assert book.ask(B, batch_us, begin_us) == []
            assert book.end(A, 10, begin_us + 10) == []
            for now_us in range(begin_us + 10, begin_us + 60, 5):
                if B in book.poll(now_us):
                    started += 1
                    book.end(B, batch_us, now_us + batch_us)
                    break
        assert started == runs


def test_whoever_waits_for_others_to_be_idle_is_told_to_look_again() -> None:
    book = book_of({A: on(1, 500, 1000), B: lent(1)})
    book.ask(A, 10, 0)
    book.ask(B, 30, 0)
    plans = book.plans

    book.end(A, 10, 10)

    assert book.plans > plans
    assert book.wake_at_us(10) == 40
