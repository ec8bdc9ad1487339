"""Rectangles never overlap, keep their size wherever that is possible, and are whole where they can be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.overview.rectangles import Holder, Layouts, lay
from fastgshare.shared.overview.view import Piece

NEAR = 1e-6


def _window(first: int, wide: int) -> tuple[int, ...]:
    return tuple(range(first, first + wide))


@st.composite
def _fitting(draw: st.DrawFn) -> tuple[list[Holder], int]:
    """Windows of neighbouring chunks, none of them promised more than its whole time."""
    chunks = draw(st.integers(1, 12))
    free = [1000] * chunks
    holders = []
    for number in range(draw(st.integers(0, 10))):
        wide = draw(st.integers(1, chunks))
        first = draw(st.integers(0, chunks - wide))
        room = min(free[first : first + wide])
        if room:
            height = draw(st.integers(1, room))
            free[first : first + wide] = [left - height for left in free[first : first + wide]]
            holders.append(Holder(f"r{number}", _window(first, wide), height / 1000))
    return holders, chunks


_anything = st.lists(
    st.builds(
        Holder,
        st.uuids().map(str),
        st.sets(st.integers(-1, 9), max_size=8).map(lambda chunks: tuple(sorted(chunks))),
        st.floats(-1, 2),
        st.booleans(),
    ),
    max_size=8,
)


@given(_fitting())
def test_whatever_may_be_placed_has_its_size_and_overlaps_nobody(case: tuple[list[Holder], int]) -> None:
    holders, chunks = case
    laid = lay(holders, chunks)
    _check_apart(laid, chunks)
    for holder in holders:
        for chunk in holder.chunks:
            own = [piece.height for piece in laid[holder.replica] if _covers(piece, chunk)]
            assert abs(sum(own) - holder.share) < NEAR


@given(_anything)
def test_nonsense_does_not_break_it(holders: list[Holder]) -> None:
    laid = lay(holders, 8)
    assert laid.keys() == {holder.replica for holder in holders}
    _check_apart(laid, 8)


def test_replicas_on_the_same_chunk_lie_on_each_other() -> None:
    laid = lay([Holder("a", (0,), 0.5), Holder("b", (0,), 0.3)], 2)
    assert laid == {"a": (Piece(0, 1, 0.0, 0.5),), "b": (Piece(0, 1, 0.5, 0.3),)}


def test_another_order_keeps_them_whole() -> None:
    """In the order of first chunks the last of these would be cut in two."""
    holders = [Holder("a", (0, 1), 0.3), Holder("b", (1, 2), 0.3), Holder("c", (2, 3), 0.7)]
    laid = lay(holders, 4)
    assert [len(pieces) for pieces in laid.values()] == [1, 1, 1]


def test_scattered_chunks_have_a_piece_each_at_the_same_time() -> None:
    laid = lay([Holder("under", (0,), 0.5), Holder("a", (0, 2, 3), 0.4)], 4)
    assert [(piece.chunk, piece.chunks, piece.bottom) for piece in laid["a"]] in (
        [(0, 1, 0.0), (2, 2, 0.0)],
        [(0, 1, 0.5), (2, 2, 0.5)],
    )


def test_more_than_there_is_is_drawn_smaller() -> None:
    laid = lay([Holder("a", (0,), 0.8), Holder("b", (0,), 0.8)], 1)
    assert [piece.height for pieces in laid.values() for piece in pieces] == [0.5, 0.5]


def test_three_that_can_never_run_together_are_drawn_too() -> None:
    laid = lay([Holder("a", (0, 1), 0.5), Holder("b", (1, 2), 0.5), Holder("c", (0, 2), 0.5)], 3)
    _check_apart(laid, 3)
    assert all(laid.values())


def test_a_loan_has_what_is_left() -> None:
    laid = lay([Holder("loan", (0, 1), 1.0, is_loan=True), Holder("a", (0,), 0.6)], 2)
    assert laid["loan"] == (Piece(0, 2, 0.6, 0.4),)


def test_a_loan_that_finds_nothing_left_is_a_strip_over_others_where_it_hides_least() -> None:
    full = lay([Holder("loan", (0,), 1.0, is_loan=True), Holder("a", (0,), 1.0)], 1)
    assert full == {"a": (Piece(0, 1, 0.0, 1.0),), "loan": (Piece(0, 1, 0.88, 0.12, is_over=True),)}
    thin_on_top = [Holder("a", (0, 1), 0.95), Holder("b", (0, 1), 0.05), Holder("loan", (0, 1), 1.0, is_loan=True)]
    assert lay(thin_on_top, 2)["loan"] == (Piece(0, 2, 0.83, 0.12, is_over=True),)
    crossed = [Holder("a", (0,), 0.5), Holder("b", (1,), 1.0), Holder("c", (0,), 0.5), *thin_on_top[2:]]
    assert [piece.is_over for piece in lay(crossed, 2)["loan"]] == [True]
    assert lay([Holder("loan", (), 1.0, is_loan=True)], 1)["loan"] == ()


def test_a_layout_is_kept_while_nothing_changes() -> None:
    layouts = Layouts()
    holders = [Holder("a", (0,), 0.5)]
    first = layouts.of("d", holders, 1)
    assert layouts.of("d", list(holders), 1) is first
    assert layouts.of("d", [Holder("a", (0,), 0.6)], 1) is not first
    layouts.keep(set())
    assert layouts.of("d", holders, 1) is not first


def _check_apart(laid: dict[str, tuple[Piece, ...]], chunks: int) -> None:
    drawn = [piece for own in laid.values() for piece in own]
    pieces = [piece for piece in drawn if not piece.is_over]
    for piece in drawn:
        assert piece.chunk >= 0
        assert piece.chunk + piece.chunks <= chunks
        assert piece.bottom >= 0
        assert piece.bottom + piece.height <= 1 + NEAR
        assert piece.height > 0
    for chunk in range(chunks):
        spans = sorted((piece.bottom, piece.bottom + piece.height) for piece in pieces if _covers(piece, chunk))
        assert all(below[1] <= above[0] + NEAR for below, above in pairwise(spans))


def _covers(piece: Piece, chunk: int) -> bool:
    return piece.chunk <= chunk < piece.chunk + piece.chunks
