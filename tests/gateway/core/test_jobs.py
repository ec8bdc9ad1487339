"""How many jobs are taken up: what interactive requests leave over, and never none for ever."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.core.jobs import FIRST_PAUSE_US, LONGEST_PAUSE_US, JobBook, Occupancy
from fastgshare.shared.ids import FunctionName

A, B = FunctionName("a"), FunctionName("b")
IDLE = Occupancy(ready_replicas=2, max_batch=4)


def test_a_batch_for_each_ready_replica_is_taken_up() -> None:
    assert JobBook(64).wanted({A: 100}, {A: IDLE}, 0) == {A: 8}
    assert JobBook(64).wanted({A: 3}, {A: IDLE}, 0) == {A: 3}


def test_interactive_requests_come_first_and_jobs_under_way_are_none() -> None:
    book = JobBook(64)
    for _ in range(2):
        book.begin(A)
    assert book.wanted({A: 9}, {A: Occupancy(2, 4, under_way=2)}, 0) == {A: 6}
    assert book.wanted({A: 9}, {A: Occupancy(2, 4, under_way=7)}, 0) == {A: 1}
    assert book.wanted({A: 9}, {A: Occupancy(2, 4, under_way=50)}, 0) == {}


def test_one_job_is_taken_up_where_there_is_no_room_or_no_replica() -> None:
    assert JobBook(64).wanted({A: 9}, {A: Occupancy(1, 4, under_way=99)}, 0) == {A: 1}
    assert JobBook(64).wanted({A: 9, B: 9}, {B: Occupancy()}, 0) == {A: 1, B: 1}


def test_a_refused_function_is_left_alone_for_longer_and_longer_and_nobody_else_is() -> None:
    book, now_us, pauses_us = JobBook(64), 0, []
    for _ in range(12):
        book.begin(A)
        book.end(A, True, now_us)
        begin_us = now_us
        assert book.wanted({A: 1, B: 1}, {}, now_us) == {B: 1}
        while not book.wanted({A: 1}, {}, now_us):
            now_us += FIRST_PAUSE_US // 2
        pauses_us.append(now_us - begin_us)
    assert pauses_us[:3] == [FIRST_PAUSE_US, FIRST_PAUSE_US * 2, FIRST_PAUSE_US * 4]
    assert pauses_us[-1] == LONGEST_PAUSE_US
    book.begin(A)
    book.end(A, False, now_us)
    assert book.wanted({A: 1}, {}, now_us) == {A: 1}


@given(
    most=st.integers(1, 20),
    steps=st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(0, 30), st.integers(0, 3), st.integers(1, 8), st.integers(0, 9)),
        max_size=40,
    ),
)
def test_no_more_than_the_most_run_and_who_waits_gets_its_turn(
    most: int, steps: list[tuple[FunctionName, int, int, int, int]]
) -> None:
    book = JobBook(most)
    for function, waiting, ready, batch, interactive in steps:
        occupancy = Occupancy(ready, batch, interactive + book.running_of(function))
        taken = book.wanted({function: waiting}, {function: occupancy}, 0).get(function, 0)
        assert taken <= waiting
        for _ in range(taken):
            book.begin(function)
        assert book.running <= most
        if waiting and book.running < most:
            assert book.running_of(function) >= 1
        if book.running == most:
            for other in (A, B):
                while book.running_of(other):
                    book.end(other, False, 0)
    for other in (A, B):
        while book.running_of(other):
            book.end(other, False, 0)
    assert book.running == 0
