"""Where replicas go on devices, and what is said when they go nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.scheduler.core import windows
from fastgshare.scheduler.core.books import Held, Room, tops
from fastgshare.scheduler.core.packing import choose, shortage
from fastgshare.scheduler.core.windows import width
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from tests.scheduler.core.world import spec


def room(name: str = "a", chunks: int = 4, memory_mib: int = 1000, held: list[Held] | None = None) -> Room:
    held_by_key = {f"{name}.r{number}": one for number, one in enumerate(held or [])}
    return Room(NodeId(name), DeviceId(f"{name}-cpu0"), chunks, memory_mib, held=held_by_key)


def holds(*chunks: int, quota: float = 0.5, memory: int = 100, function: str = "other", generation: int = 1) -> Held:
    return Held(FunctionName(function), generation, chunks, quota, memory, Digest(f"model-of-{function}"))


@pytest.mark.parametrize(
    ("percent", "chunks", "expected"),
    [(50, 4, 2), (50, 3, 2), (1, 4, 1), (100, 4, 4), (24, 16, 4), (25, 16, 4), (26, 16, 5), (34, 3, 2)],
)
def test_a_percentage_of_the_chunks_is_rounded_up(percent: int, chunks: int, expected: int) -> None:
    assert width(percent, chunks) == expected


def test_the_smallest_rectangle_that_holds_the_shape_is_taken() -> None:
    slot = choose([room(chunks=8, held=[holds(0, 1, 2, quota=1.0), holds(5, quota=1.0)])], spec(sm=25, quota=0.2))
    assert slot is not None
    assert slot.chunks == (3, 4)
    assert windows.maximal_rectangles([1000, 0, 500, 0]) == [(1, 1, 1000), (1, 3, 500), (3, 3, 1000)]


def test_inside_a_rectangle_the_end_that_leaves_the_larger_rest_is_taken() -> None:
    slot = choose([room(chunks=8, held=[holds(0, 1, quota=0.5), holds(6, 7, quota=1.0)])], spec(sm=25, quota=0.5))
    assert slot is not None
    assert slot.chunks == (0, 1)  # in the lower half: the upper one of six chunks stays whole
    slot = choose([room(chunks=8, held=[holds(0, 1, quota=1.0)])], spec(sm=25, quota=0.5))
    assert slot is not None
    assert slot.chunks == (2, 3)


def test_windows_are_rather_equal_or_apart_than_overlapping_in_part() -> None:
    slot = choose([room(chunks=6, held=[holds(0, 1, 2, quota=0.5), holds(5, quota=0.1)])], spec(sm=34, quota=0.5))
    assert slot is not None
    assert slot.chunks == (0, 1, 2)
    slot = choose([room(chunks=6, held=[holds(0, 1, 2, quota=0.5)])], spec(sm=34, quota=0.6))
    assert slot is not None
    assert slot.chunks == (3, 4, 5)


def test_groups_that_overlap_in_part_are_left_headroom_where_there_is_a_choice() -> None:
    held = [holds(0, 1, 2, 3, quota=0.5), holds(4, 5, 6, 7, quota=0.2)]
    slot = choose([room(chunks=8, held=held)], spec(sm=25, quota=0.5))
    assert slot is not None
    assert slot.chunks[0] in range(4, 7)
    assert choose([room(chunks=8, held=held[:1])], spec(sm=100, quota=0.5)) is not None  # without a choice: all of it


def test_scattered_chunks_are_not_given() -> None:
    scattered = room(held=[holds(1, quota=0.9), holds(2, quota=0.9)])
    assert choose([scattered], spec(sm=50, quota=0.5)) is None
    assert "a-cpu0 has 1 such chunks" in shortage([scattered], spec(sm=50, quota=0.5))


def test_the_device_left_fullest_is_preferred() -> None:
    slot = choose([room("a"), room("b", held=[holds(0)]), room("c")], spec(sm=25))
    assert slot is not None
    assert slot.node == "b"


def test_a_device_that_has_the_model_is_preferred_to_a_fuller_one() -> None:
    fuller = room("a", held=[holds(0, 1, quota=0.9)])
    sharing = room("b", held=[holds(0, quota=0.1, function="f")])
    slot = choose([fuller, sharing], spec(name="other-of-f", model="model-of-f", sm=25))
    assert slot is not None
    assert slot.node == "b"


def test_replicas_of_a_function_go_to_different_nodes_where_that_takes_no_new_device() -> None:
    sharing, other = room("a", held=[holds(0, quota=0.1, function="f")]), room("b", held=[holds(0, quota=0.1)])
    slot = choose([sharing, other, room("c")], spec(sm=25), beside={NodeId("a"): 1})
    assert slot is not None
    assert slot.node == "b"
    slot = choose([sharing, room("c")], spec(sm=25), beside={NodeId("a"): 1})
    assert slot is not None
    assert slot.node == "a"


def test_known_weights_count_once_for_each_model_and_device() -> None:
    first = holds(0, memory=600, function="f")._replace(weights_mib=500.0)
    assert room(held=[first]).free_mib == 400
    assert choose([room(held=[first])], spec(sm=25, memory_mib=600)) is not None
    assert choose([room(held=[first._replace(weights_mib=0.0)])], spec(sm=25, memory_mib=600)) is None
    both = room(held=[first, holds(1, memory=600, function="f")])
    assert both.free_mib == 300
    assert choose([both], spec("g", sm=25, memory_mib=600)) is None


def test_a_device_to_avoid_is_taken_only_when_it_is_the_only_one() -> None:
    rooms = [room("a", held=[holds(0)]), room("b")]
    slot = choose(rooms, spec(sm=25), [DeviceId("a-cpu0")])
    assert slot is not None
    assert slot.node == "b"
    assert choose(rooms[:1], spec(sm=25), [DeviceId("a-cpu0")]) is not None


def test_other_generations_of_the_function_count_for_memory_and_not_for_time() -> None:
    old = holds(0, 1, 2, 3, quota=1.0, memory=600, function="f", generation=1)
    new = spec(generation=2, sm=100, quota=1.0, memory_mib=400)
    assert choose([room(held=[old])], new) is not None
    assert choose([room(held=[old])], spec(generation=2, sm=100, quota=1.0, memory_mib=401)) is None
    assert choose([room(held=[old])], spec(name="g", sm=25, quota=0.1)) is None


def test_a_shortage_is_told_with_its_numbers() -> None:
    text = shortage([room(held=[holds(0, 1, 2, memory=950)])], spec(sm=50, quota=0.6, memory_mib=100))
    assert text == (
        "a replica needs 2 neighbouring of 4 chunks with 60% of their time free, and 100 MiB;"
        " a-cpu0 has 1 such chunks and 50 of 1000 MiB"
    )
    assert "no device is there" in shortage([], spec())
    text = shortage([room(), room("b", memory_mib=2000)], spec(memory_mib=2001))
    assert text.startswith("it can never fit")
    assert "2001 MiB, and the largest device has 2000 MiB" in text


held_lists = st.lists(
    st.builds(
        lambda chunks, quota, memory: holds(*sorted(chunks), quota=quota / 10, memory=memory),
        st.sets(st.integers(0, 4), min_size=1),
        st.integers(1, 10),
        st.integers(0, 300),
    ),
    max_size=5,
)


@given(held=held_lists, percent=st.integers(1, 100), quota=st.integers(1, 10), memory=st.integers(1, 1000))
def test_a_slot_is_found_exactly_when_the_slow_search_finds_one(
    held: list[Held], percent: int, quota: int, memory: int
) -> None:
    place = room(chunks=5, held=held)
    wanted = spec(sm=percent, quota=quota / 10, memory_mib=memory)
    loads = [sum(h.quota for h in held if chunk in h.chunks) for chunk in range(5)]
    wide = width(percent, 5)

    def feasible(chunks: tuple[int, ...]) -> bool:
        fits = all(loads[chunk] + wanted.slice.quota_request <= 1 + 1e-9 for chunk in chunks)
        return fits and sum(h.memory_mib for h in held) + memory <= 1000

    options = [window for window in (windows.window(first, wide) for first in range(6 - wide)) if feasible(window)]
    slot = choose([place], wanted)
    assert (slot is not None) == bool(options)
    assert slot is None or slot.chunks in options


@given(loads=st.lists(st.integers(0, 10).map(lambda tenth: tenth * 100), min_size=1, max_size=7))
def test_maximal_rectangles_are_those_of_the_slow_search(loads: list[int]) -> None:
    free = [1000 - load for load in loads]
    every = [
        (first, last, min(free[first : last + 1]))
        for first in range(len(free))
        for last in range(first, len(free))
        if min(free[first : last + 1]) > 0
    ]
    maximal = [
        one
        for one in every
        if not any(o != one and o[0] <= one[0] and one[1] <= o[1] and one[2] <= o[2] for o in every)
    ]
    assert windows.maximal_rectangles(loads) == sorted(maximal)
    corners = tops(free)
    assert corners[1:] == [
        max((high for first, last, high in every if last - first + 1 == wide), default=0)
        for wide in range(1, len(free) + 1)
    ]
