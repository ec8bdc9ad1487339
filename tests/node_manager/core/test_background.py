"""Replicas in the background, on random devices: what they get, and what the regular ones notice of them.

A regular replica that finds a background batch under way on its chunks waits for it, and for no other until its work is
gone. That is all that is taken from the guarantees of `test_guarantees`, however others of its group come and go.
"""

from dataclasses import replace
from itertools import accumulate, cycle, pairwise, takewhile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.core.history import History, Run
from fastgshare.node_manager.core.stage import Join, Resize, Rest, Stage, Workload
from fastgshare.node_manager.core.timetable import Share, connected, period_for
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE
from tests.node_manager.core.crews import CHUNKS, TEN_WINDOWS_US, WINDOW_US, Member, equal_crews, mixed_crews, staged

TENTH_US = WINDOW_US // 10
UNTIL_US = 25 * WINDOW_US
MIXED_FILL_PERMILLE = 800
ERROR_US = TEN_WINDOWS_US * 2 // 100
bounded = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
equal = equal_crews(TENTH_US)
mixed = mixed_crews(TENTH_US, MIXED_FILL_PERMILLE)
either = equal | mixed


@st.composite
def lent(draw: st.DrawFn, name: str = "lent", longest_us: int = TENTH_US) -> Member:
    """A background replica that always has work, on neighbouring chunks from the first on or from anywhere."""
    first = draw(st.sampled_from((0, 0, 1, CHUNKS // 2)))
    mask = sum(1 << chunk for chunk in range(first, draw(st.integers(first, CHUNKS - 1)) + 1))
    limit_permille = draw(st.sampled_from((100, 200, 400, 500, 800, PER_MILLE)))
    batches_us = draw(st.lists(st.integers(longest_us // 4, longest_us), min_size=1, max_size=3))
    mean_us = sum(batches_us) // len(batches_us)
    return Member(ReplicaId(name), Share(mask, 0, limit_permille), tuple(batches_us), mean_us)


@st.composite
def resizes(draw: st.DrawFn) -> list[tuple[int, Share]]:
    """Other shares for a background replica, at times."""
    times_us = sorted(draw(st.lists(st.integers(1, UNTIL_US), max_size=12)))
    return [(time_us, draw(lent()).share) for time_us in times_us]


def group_of(member: Member, crew: list[Member]) -> list[Member]:
    """Whoever it is connected with by shared chunks, itself too."""
    groups = connected({each.replica: each.share for each in crew})
    mine = next(group for group in groups if member.replica in group)
    return [each for each in crew if each.replica in mine]


def now_and_then(member: Member, gaps_percent: list[int]) -> Workload:
    """Its batches arrive one at a time, at gaps in percent of what it would take to pay for them."""
    mean_us = member.mean_us * PER_MILLE // member.share.request_permille
    arrivals_us = accumulate(mean_us * percent // 100 for percent in cycle(gaps_percent))
    return replace(member.workload(), is_backlogged=False, arrivals_us=takewhile(UNTIL_US.__gt__, arrivals_us))


def worst_us(history: History, member: Member) -> list[tuple[int, int]]:
    """For each spell of work: how much it lacked or had too much in its worst ten windows."""
    share, line = member.share, history.of(member.replica)
    found = []
    for start_us, end_us in history.spells(member.replica, UNTIL_US):
        had_us = list(line.sliding_us(start_us, end_us, TEN_WINDOWS_US))
        if had_us:
            lacked_us = TEN_WINDOWS_US * share.request_permille // PER_MILLE - min(had_us)
            beyond_us = max(had_us) - TEN_WINDOWS_US * share.limit_permille // PER_MILLE
            found.append((lacked_us, beyond_us))
    return found


@bounded
@given(either, lent("x"), lent("y"), resizes())
def test_running_tokens_never_overlap_whatever_is_resized(
    crew: list[Member], one: Member, other: Member, changes: list[tuple[int, Share]]
) -> None:
    stage = staged([*crew, one, other])
    for time_us, share in changes:
        stage.at(time_us, Resize(one.replica, share))
    history = stage.run_until(UNTIL_US)
    assert history.overlaps() == []


@bounded
@given(either, lent(), resizes())
def test_a_background_batch_starts_only_where_nobody_else_is_at_work(
    crew: list[Member], one: Member, changes: list[tuple[int, Share]]
) -> None:
    stage = staged([*crew, one])
    for time_us, share in changes:
        stage.at(time_us, Resize(one.replica, share))
    history = stage.run_until(UNTIL_US)
    for member in crew:
        spells = history.spells(member.replica, UNTIL_US)
        for run in history.of(one.replica).runs:
            if run.mask & member.share.mask:
                assert not [1 for start_us, end_us in spells if start_us < run.granted_us < end_us], (run, member)


@bounded
@given(either, lent(), resizes())
def test_nobody_notices_a_background_replica_that_has_no_work(
    crew: list[Member], one: Member, changes: list[tuple[int, Share]]
) -> None:
    without = staged(crew).run_until(UNTIL_US)
    stage = staged(crew)
    stage.at(0, Join(one.replica, one.share, replace(one.workload(), is_backlogged=False)))
    for time_us, share in changes:
        stage.at(time_us, Resize(one.replica, share))
    assert stage.run_until(UNTIL_US).runs == without.runs


@bounded
@given(either, lent(), resizes())
def test_timetables_are_the_same_with_a_background_replica_as_without(
    crew: list[Member], one: Member, changes: list[tuple[int, Share]]
) -> None:
    stage = staged([replace(member, toggles_us=()) for member in crew])
    stage.run_until(WINDOW_US)
    before = {member.replica: stage.book.timetable_of(member.replica) for member in crew}
    stage.at(WINDOW_US, Join(one.replica, one.share, one.workload()))
    for time_us, share in changes:
        stage.at(WINDOW_US + time_us, Resize(one.replica, share))
    stage.run_until(WINDOW_US + UNTIL_US)
    after = {member.replica: stage.book.timetable_of(member.replica) for member in crew}
    assert {replica: table.slots for replica, table in after.items()} == {
        replica: table.slots for replica, table in before.items()
    }


@bounded
@given(either, lent(), st.lists(st.integers(20, 400), min_size=12, max_size=12))
def test_whoever_has_work_keeps_its_guarantees_but_for_the_background_batch_it_found_under_way(
    crew: list[Member], one: Member, gaps_percent: list[int]
) -> None:
    """The first always has work; batches of the others come and go, and let the background in."""
    stage = Stage(CHUNKS, WINDOW_US)
    stage.at(0, Join(one.replica, one.share, one.workload()))
    for number, member in enumerate(crew):
        workload = member.workload() if number == 0 else now_and_then(member, gaps_percent[number:])
        stage.at(one.longest_us // 8, Join(member.replica, member.share, workload))
    history = stage.run_until(UNTIL_US)
    for member in crew:
        for lacked_us, beyond_us in worst_us(history, member):
            assert max(lacked_us, beyond_us) <= ERROR_US + one.longest_us, member


@bounded
@given(either, lent())
def test_whoever_rests_and_works_in_turn_keeps_its_guarantees_but_for_one_background_batch(
    crew: list[Member], one: Member
) -> None:
    history = staged([*crew, one]).run_until(UNTIL_US)
    for member in crew:
        for lacked_us, beyond_us in worst_us(history, member):
            assert max(lacked_us, beyond_us) <= ERROR_US + one.longest_us, member


@bounded
@given(either, lent())
def test_waiting_is_longer_by_one_background_batch_for_each_of_the_group(crew: list[Member], one: Member) -> None:
    history = staged([*crew, one]).run_until(UNTIL_US)
    period_us = period_for(WINDOW_US, max(member.estimate_us for member in crew))
    round_us = sum(member.longest_us for member in crew)
    for member in crew:
        bound_us = member.longest_us * PER_MILLE // member.share.request_permille + 2 * period_us + round_us
        bound_us += one.longest_us * len(group_of(member, crew))
        assert max(history.of(member.replica).waits_us(), default=0) <= bound_us, member


@bounded
@given(lent(), either, st.integers(0, 5 * WINDOW_US))
def test_alone_on_its_chunks_it_gets_exactly_its_limit(one: Member, crew: list[Member], rest_us: int) -> None:
    stage = staged([replace(member, toggles_us=()) for member in crew])
    stage.at(0, Join(one.replica, one.share, one.workload()))
    for member in crew:
        if member.share.mask & one.share.mask:
            stage.at(rest_us, Rest(member.replica))
    since_us = rest_us + max(member.longest_us for member in [*crew, one])
    line = stage.run_until(since_us + UNTIL_US).of(one.replica)
    wanted_us = TEN_WINDOWS_US * one.share.limit_permille // PER_MILLE
    for had_us in line.sliding_us(since_us, since_us + UNTIL_US, TEN_WINDOWS_US):
        assert abs(had_us - wanted_us) <= ERROR_US


@bounded
@given(lent(), either, resizes())
def test_it_never_has_more_than_its_highest_limit(
    one: Member, crew: list[Member], changes: list[tuple[int, Share]]
) -> None:
    stage = staged([*crew, one])
    highest_permille = one.share.limit_permille
    for time_us, share in changes:
        stage.at(time_us, Resize(one.replica, share))
        highest_permille = max(highest_permille, share.limit_permille)
    line = stage.run_until(UNTIL_US).of(one.replica)
    for had_us in line.sliding_us(0, UNTIL_US, TEN_WINDOWS_US):
        assert had_us <= TEN_WINDOWS_US * highest_permille // PER_MILLE + ERROR_US


@bounded
@given(st.lists(lent(), min_size=2, max_size=5), either)
def test_background_replicas_that_share_chunks_take_turns(lenders: list[Member], crew: list[Member]) -> None:
    """Each waits, beside what its last batch has to be paid for, at most for two batches of every other."""
    lenders = [replace(one, replica=ReplicaId(f"lent{number}")) for number, one in enumerate(lenders)]
    stage = staged([*lenders, *[replace(member, toggles_us=(1,)) for member in crew]])
    history = stage.run_until(UNTIL_US)
    for one in lenders:
        line = history.of(one.replica)
        others_us = 2 * sum(other.longest_us for other in lenders if other is not one)
        first_us = max((run.end_us for run in history.runs if run.asked_us <= 1 and run.granted_us <= 1), default=0)
        bound_us = first_us + one.longest_us * PER_MILLE // one.share.limit_permille + others_us
        assert max(line.waits_us()) <= bound_us
        assert line.runs[-1].end_us >= UNTIL_US - bound_us


@bounded
@given(either, lent("x"), lent("y"))
def test_how_long_others_ran_on_its_chunks_or_kept_them_is_counted(
    crew: list[Member], one: Member, two: Member
) -> None:
    stage = staged([*crew, one, two])
    before_us = 0
    for now_us in range(0, UNTIL_US + 1, UNTIL_US // 7):
        history = stage.run_until(now_us)
        counted_us = stage.book.others_us(one.replica, now_us)
        assert counted_us == _others_us(history, one, [*crew, two], now_us) >= before_us
        before_us = counted_us


def _others_us(history: History, one: Member, others: list[Member], until_us: int) -> int:
    """The slow way: every stretch between any two moments at which something began or ended."""
    mine = history.of(one.replica).runs
    near = [other for other in others if other.share.mask & one.share.mask]
    runs = [(run.granted_us, run.end_us) for other in near for run in history.of(other.replica).runs]
    works = [
        span for other in near if not other.share.is_background for span in history.spells(other.replica, until_us)
    ]
    edges_us = sorted({0, until_us, *(edge for span in [*runs, *works] for edge in span)} | _edges_us(mine))
    total_us = 0
    for start_us, end_us in pairwise(edge_us for edge_us in edges_us if edge_us <= until_us):
        has_run = any(since_us <= start_us < over_us for since_us, over_us in runs)
        is_waiting = not any(run.granted_us <= start_us < run.end_us for run in mine)
        is_kept = is_waiting and any(since_us <= start_us < over_us for since_us, over_us in works)
        total_us += (end_us - start_us) if has_run or is_kept else 0
    return total_us


def _edges_us(runs: list[Run]) -> set[int]:
    return {edge_us for run in runs for edge_us in (run.granted_us, run.end_us)}
