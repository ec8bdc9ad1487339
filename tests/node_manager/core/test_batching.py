"""Batches: earliest deadline first, nothing late on purpose, nothing hopeless run, nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.core.batching import Job, Timetable, WorkQueue

T0 = 1_000_000
WINDOW_US = 100_000


def job(deadline_us: int, rows: int = 1, key: str = "k") -> Job:
    return Job(T0 + deadline_us, rows, key, T0)


def queue(*jobs: Job, max_batch: int = 8, us_per_row: int = 0) -> WorkQueue:
    made = WorkQueue(max_batch, WINDOW_US)
    if us_per_row:
        made.timetable = Timetable(points=[(b, b * us_per_row) for b in (1, 2, 4, 8)])
    for one in jobs:
        made.push(one)
    return made


def test_nothing_waits_means_no_batch() -> None:
    assert queue().take(T0) == []


def test_the_oldest_deadline_goes_first() -> None:
    late, early = job(9_000), job(5_000)
    assert queue(late, early, max_batch=1).take(T0) == [early]


def test_a_batch_takes_what_fits() -> None:
    assert len(queue(*(job(n) for n in range(20))).take(T0)) == 8


def test_only_equal_shapes_run_together_and_the_others_keep_their_place() -> None:
    a, b, c = job(1), job(2, key="other"), job(3)
    waiting = queue(a, b, c)
    assert waiting.take(T0) == [a, c]
    assert waiting.take(T0) == [b]


def test_a_batch_stops_growing_where_the_oldest_deadline_would_be_missed() -> None:
    jobs = [job(3_500), *(job(90_000) for _ in range(7))]
    assert len(queue(*jobs, us_per_row=1_000).take(T0)) == 3


def test_a_batch_stays_under_a_fifth_of_the_window() -> None:
    jobs = [job(900_000) for _ in range(8)]
    assert len(queue(*jobs, us_per_row=6_000).take(T0)) == 3


def test_one_job_longer_than_that_still_runs() -> None:
    assert len(queue(job(900_000), us_per_row=60_000).take(T0)) == 1


def test_a_job_wider_than_the_limit_runs_alone() -> None:
    wide = job(5_000, rows=6)
    assert queue(wide, job(90_000), us_per_row=10_000).take(T0) == [wide]


def test_jobs_that_cannot_meet_their_deadline_are_given_back_at_once() -> None:
    hopeless, fine = job(3_000), job(50_000)
    waiting = queue(hopeless, fine, us_per_row=10_000)
    assert waiting.hopeless(T0) == [hopeless]
    assert waiting.take(T0) == [fine]


def test_without_a_profile_the_times_that_ran_are_used() -> None:
    table = Timetable()
    assert table.execute_us(4) == 0
    table.learn_run(2, 2_000)
    table.learn_run(4, 5_000)
    assert [table.execute_us(n) for n in (1, 2, 3, 4, 8)] == [2_000, 2_000, 3_500, 5_000, 10_000]


jobs_strategy = st.lists(
    st.builds(
        job,
        st.integers(-50_000, 500_000),
        st.integers(1, 8),
        st.sampled_from(["a", "b"]),
    ),
    max_size=40,
)


@given(jobs_strategy, st.integers(1, 8), st.integers(0, 20_000))
def test_every_job_leaves_exactly_once_and_batches_keep_the_rules(
    jobs: list[Job], max_batch: int, us_per_row: int
) -> None:
    waiting = queue(*jobs, max_batch=max_batch, us_per_row=us_per_row)
    left = [id(one) for one in waiting.hopeless(T0)]
    while batch := waiting.take(T0):
        left += [id(one) for one in batch]
        assert len({one.key for one in batch}) == 1
        rows = sum(one.rows for one in batch)
        assert rows <= max_batch or len(batch) == 1
        if len(batch) > 1:
            expected_us = waiting.timetable.execute_us(rows)
            assert expected_us <= min(batch[0].deadline_us - T0, WINDOW_US // 5)
    assert sorted(left) == sorted(id(one) for one in jobs)
    assert len(waiting) == 0


def slow_most_within(timetable: Timetable, budget_us: int, most: int) -> int:
    """One size after the other, from the largest."""
    while most and timetable.execute_us(most) > budget_us:
        most -= 1
    return most


@given(
    st.lists(st.integers(0, 2_000), min_size=1, max_size=5),
    st.booleans(),
    st.integers(1, 20),
    st.integers(-10, 2_500),
)
def test_the_largest_batch_within_a_budget_is_that_of_a_plain_search(
    times_us: list[int], is_told: bool, most: int, budget_us: int
) -> None:
    """Whatever tables say: times need not grow with the batch."""
    rows = [1 << index for index in range(len(times_us))]
    points = list(zip(rows, times_us, strict=True))
    timetable = Timetable(points=points) if is_told else Timetable(learned=dict(points))

    assert timetable.most_within(budget_us, most) == slow_most_within(timetable, budget_us, most)
    assert timetable.most_within(budget_us, most) == slow_most_within(timetable, budget_us, most), "as it is known now"


def test_what_nobody_wants_leaves_without_a_turn() -> None:
    first, second, third = job(10), job(20), job(30)
    waiting = queue(first, second, third)
    second.wanted = False
    waiting.note_unwanted()
    assert waiting.take(0) == [first, third]
    assert len(waiting) == 0
    late = job(1)
    waiting.push(late)
    late.wanted = False
    assert waiting.hopeless(100) == []
    assert waiting.take(100) == []


def test_the_unwanted_never_outnumber_the_wanted_for_long() -> None:
    jobs = [job(number) for number in range(100)]
    waiting = queue(*jobs)
    for unwanted in jobs[:90]:
        unwanted.wanted = False
        waiting.note_unwanted()
        assert len(waiting) <= 2 * sum(one.wanted for one in jobs) + 1
    assert len(waiting) <= 20
