"""Windows moved on one device: no chunk too full on the way, no more moves than needed, against slow searches."""

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fastgshare.scheduler.core import repacking
from fastgshare.scheduler.core.rearranging import Effort, Item, Shape, holds_all, rearranged

CHUNKS = 5
PLENTY = 200_000
shapes = st.builds(Shape, st.integers(1, 3), st.sampled_from([300, 400, 500, 600, 1000]))


def loads_of(items: Sequence[Item]) -> list[int]:
    return [
        sum(item.shape.share for item in items if item.first <= chunk < item.first + item.shape.wide)
        for chunk in range(CHUNKS)
    ]


def starts_for(items: Sequence[Item], shape: Shape) -> list[int]:
    loads = loads_of(items)
    return [
        first
        for first in range(CHUNKS - shape.wide + 1)
        if all(load + shape.share <= 1000 for load in loads[first : first + shape.wide])
    ]


def fewest_moves(items: tuple[Item, ...], new: Shape, most: int) -> int | None:
    """By breadth: every legal move from every state, until the new window fits; None: not within `most`."""
    queue, seen = deque([(items, 0)]), {items}
    while queue:
        at, moves = queue.popleft()
        if starts_for(at, new):
            return moves
        for number, item in enumerate(at) if moves < most else ():
            others = (*at[:number], *at[number + 1 :])
            for first in starts_for(others, item.shape):
                after = (*at[:number], item._replace(first=first), *at[number + 1 :])
                if after not in seen:
                    seen.add(after)
                    queue.append((after, moves + 1))
    return None


@st.composite
def devices(draw: st.DrawFn) -> tuple[Item, ...]:
    items: list[Item] = []
    for number, shape in enumerate(draw(st.lists(shapes, max_size=5))):
        possible = starts_for(items, shape)
        if possible:
            items.append(Item(f"r{number}", shape, draw(st.sampled_from(possible))))
    return tuple(items)


@given(items=devices(), new=shapes)
@hypothesis_settings(deadline=None, max_examples=150)
def test_each_move_fits_by_itself_and_there_are_no_more_than_needed(items: tuple[Item, ...], new: Shape) -> None:
    answer = rearranged([0] * CHUNKS, items, new, Effort(PLENTY))
    fewest = fewest_moves(items, new, most=3)
    if answer is None:
        assert fewest is None
        return
    assert fewest is None or len(answer.moves) <= fewest
    now = {item.key: item for item in items}
    for move in answer.moves:
        item = now.pop(move.key)
        assert move.first in starts_for(list(now.values()), item.shape)
        now[move.key] = item._replace(first=move.first)
    assert answer.first in starts_for(list(now.values()), new)


@given(wanted=st.lists(shapes, min_size=1, max_size=6))
@hypothesis_settings(deadline=None, max_examples=80)
def test_whether_windows_can_lie_on_a_device_is_what_the_exact_solver_says(wanted: list[Shape]) -> None:
    pytest.importorskip("ortools")
    from benchmarks.scheduler.exact import Rectangle, fits_on

    exact = fits_on([Rectangle(*shape) for shape in wanted], CHUNKS, 0, 1, limit_s=10.0)
    assert holds_all([0] * CHUNKS, wanted, Effort(PLENTY)) == exact


def test_a_search_without_effort_left_finds_nothing() -> None:
    items = [Item("a", Shape(1, 1000), 1), Item("b", Shape(1, 1000), 3)]
    assert rearranged([0] * CHUNKS, items, Shape(2, 1000), Effort(2)) is None
    answer = rearranged([0] * CHUNKS, items, Shape(2, 1000), Effort(100))
    assert answer is not None
    assert len(answer.moves) == 1


def test_eight_windows_of_mixed_widths_take_a_long_look() -> None:
    held = [(8, 100, 2), (8, 100, 2), (8, 500, 2), (1, 100, 12), (2, 300, 0), (2, 300, 0), (2, 300, 10), (2, 300, 10)]
    items = [Item(str(at), Shape(wide, share), first) for at, (wide, share, first) in enumerate(held)]
    assert rearranged([0] * 16, items, Shape(8, 500), Effort(repacking.EFFORT)) is None
    answer = rearranged([0] * 16, items, Shape(8, 500), Effort(repacking.LONG_EFFORT))
    assert answer is not None
    assert len(answer.moves) == 3
