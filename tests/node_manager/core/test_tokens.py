"""Tokens: chunks of running batches never overlap, and nobody is passed over for ever."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.core.tokens import TokenBook, mask_of
from fastgshare.shared.ids import ReplicaId

A, B, C = ReplicaId("a"), ReplicaId("b"), ReplicaId("c")


def test_disjoint_chunks_run_together() -> None:
    book = TokenBook()
    assert book.ask(A, mask_of((0,))) == [A]
    assert book.ask(B, mask_of((1,))) == [B]


def test_a_shared_chunk_is_waited_for() -> None:
    book = TokenBook()
    book.ask(A, 0b01)
    assert book.ask(B, 0b01) == []
    assert book.end(A) == [B]


def test_a_wide_replica_is_not_passed_over_by_narrow_ones_that_asked_later() -> None:
    book = TokenBook()
    book.ask(A, 0b01)
    assert book.ask(B, 0b11) == []
    assert book.ask(C, 0b10) == []
    assert book.end(A) == [B]
    assert book.end(B) == [C]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 15)), max_size=60))
def test_running_tokens_never_overlap_and_waiting_is_bounded(script: list[tuple[int, int]]) -> None:
    book = TokenBook()
    order: list[ReplicaId] = []
    for number, mask in script:
        replica = ReplicaId(f"r{number}")
        if replica in book.running:
            granted = book.end(replica)
        elif replica not in book.waiting:
            order.append(replica)
            granted = book.ask(replica, mask)
        else:
            continue
        for other in granted:
            order.remove(other)
        taken = 0
        for mask_running in book.running.values():
            assert not taken & mask_running
            taken |= mask_running
        if order:  # the first in line waits only for what runs, never for anybody behind it
            assert book.waiting[order[0]] & taken
    for _ in range(20):
        for replica in list(book.running):
            book.end(replica)
    assert not book.waiting
    assert not book.running
