"""Timetables: slots never overlap on a chunk and make up what was promised; brute force says the same."""

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.core.timetable import (
    Share,
    Slot,
    Timetable,
    connected,
    is_mixed,
    lay,
    overfull_chunks,
    period_for,
)
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE
from tests.node_manager.core.crews import WINDOW_US, Member, mixed_crews

A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")
PERIOD_US = 1000
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
any_shares = st.lists(
    st.builds(lambda mask, request: Share(mask, request, PER_MILLE), st.integers(1, 63), st.integers(1, 600)),
    min_size=2,
    max_size=8,
).map(lambda shares: {ReplicaId(f"r{number}"): share for number, share in enumerate(shares)})


def disjoint(shares: dict[ReplicaId, Share], table: Timetable) -> bool:
    """Whether no two slots on a shared chunk overlap, looking at each microsecond of an owner."""
    owned = {
        replica: {us for start_us, end_us in slots for us in range(start_us, end_us)}
        for replica, slots in table.slots.items()
    }
    return not any(
        shares[one].mask & shares[other].mask and owned[one] & owned[other] for one, other in combinations(owned, 2)
    )


@bounded
@given(any_shares)
def test_slots_on_a_shared_chunk_never_overlap_whatever_is_promised(shares: dict[ReplicaId, Share]) -> None:
    slots: dict[ReplicaId, Sequence[Slot]] = {}
    for group in connected(shares):
        slots |= lay(group, shares, PERIOD_US)
    assert disjoint(shares, Timetable(PERIOD_US, slots))
    assert all(0 <= start_us < end_us <= PERIOD_US for row in slots.values() for start_us, end_us in row)


@bounded
@given(mixed_crews(10_000, PER_MILLE))
def test_on_neighbouring_chunks_slots_make_up_every_request_up_to_the_whole_time(crew: list[Member]) -> None:
    shares = {member.replica: member.share for member in crew}
    assert not overfull_chunks(shares.values(), 8)
    for group in connected(shares):
        for replica, slots in lay(group, shares, PERIOD_US).items():
            assert sum(end_us - start_us for start_us, end_us in slots) == shares[replica].request_permille


@bounded
@given(mixed_crews(10_000, PER_MILLE), st.lists(st.integers(0, 3 * WINDOW_US), min_size=1, max_size=10))
def test_the_plan_is_what_an_account_that_had_exactly_its_slots_would_show(
    crew: list[Member], times_us: list[int]
) -> None:
    shares = {member.replica: member.share for member in crew}
    book = TokenBook(8, WINDOW_US)
    for replica, share in shares.items():
        book.set_share(replica, share, 0)
    for replica in shares:
        table = book.timetable_of(replica)
        slots = table.slots.get(replica, ())
        for now_us in times_us if slots else ():
            had_us = sum(
                max(min(base_us + end_us, now_us) - (base_us + start_us), 0)
                for base_us in range(0, now_us + 1, WINDOW_US)
                for start_us, end_us in slots
            )
            exact_us = had_us * PER_MILLE / shares[replica].request_permille - now_us
            assert table.ahead_us(replica, now_us) == pytest.approx(exact_us, abs=1)
            assert book._groups[replica].planned_us(book._accounts[replica], now_us) == pytest.approx(exact_us, abs=2)


def test_replicas_are_grouped_by_the_chunks_they_share() -> None:
    shares = {A: Share(0b0011, 100, 100), B: Share(0b1000, 100, 100), C: Share(0b0110, 100, 100)}
    assert sorted(sorted(group) for group in connected(shares)) == [[A, C], [B]]
    assert is_mixed([A, C], shares)
    assert not is_mixed([B], shares)


def test_only_mixed_groups_have_slots() -> None:
    shares = {A: Share(0b01, 500, 500), B: Share(0b01, 500, 500), C: Share(0b10, 500, 500)}
    book = TokenBook(2, WINDOW_US)
    for replica, share in shares.items():
        book.set_share(replica, share, 0)
    assert [book.timetable_of(replica).slots for replica in shares] == [{}, {}, {}]


def test_narrow_ones_beside_each_other_before_or_after_a_wide_one() -> None:
    shares = {A: Share(0b01, 600, 600), B: Share(0b10, 600, 600), C: Share(0b11, 400, 400)}
    assert lay([A, B, C], shares, PERIOD_US) == {C: ((0, 400),), A: ((400, 1000),), B: ((400, 1000),)}


def test_a_slot_is_cut_where_another_is_in_the_way() -> None:
    shares = {A: Share(0b011, 300, 300), B: Share(0b010, 500, 500), C: Share(0b100, 400, 400)}
    wide = ReplicaId("wide")
    shares[wide] = Share(0b110, 200, 200)
    slots = lay([A, B, C, wide], shares, PERIOD_US)
    assert slots[wide] == ((300, 500),)
    assert slots[C] == ((0, 300), (500, 600))


def test_where_more_is_promised_than_there_is_all_slots_shrink_alike() -> None:
    shares = {A: Share(0b01, 1000, 1000), B: Share(0b11, 1000, 1000)}
    assert lay([A, B], shares, PERIOD_US) == {B: ((0, 500),), A: ((500, 1000),)}


def test_the_period_grows_with_batches_to_a_number_that_ten_windows_are_whole_times() -> None:
    assert [period_for(100, batch) // 100 for batch in (0, 4, 5, 8, 9, 20, 1000)] == [1, 1, 2, 2, 5, 5, 5]


def test_who_changes_nothing_keeps_its_slots_while_others_find_room_beside_them() -> None:
    shares = {A: Share(0b01, 300, 300), B: Share(0b11, 300, 300)}
    slots = lay([A, B], shares, PERIOD_US)
    assert slots == {B: ((0, 300),), A: ((300, 600),)}
    shares[B] = Share(0b11, 200, 200)
    assert lay([A, B], shares, PERIOD_US, {A: slots[A]}) == {B: ((0, 200),), A: ((300, 600),)}
    shares[B] = Share(0b11, 400, 400)
    assert lay([A, B], shares, PERIOD_US, {A: slots[A]})[A] == ((400, 700),)
