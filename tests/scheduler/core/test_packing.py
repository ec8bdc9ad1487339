"""Where replicas go on devices, and what is said when they go nowhere."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.scheduler.core.packing import Held, Room, choose, shortage, width
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from tests.scheduler.core.world import spec


def room(name: str = "a", chunks: int = 4, memory_mib: int = 1000, held: list[Held] | None = None) -> Room:
    return Room(NodeId(name), DeviceId(f"{name}-cpu0"), chunks, memory_mib, held or [])


def holds(*chunks: int, quota: float = 0.5, memory: int = 100, function: str = "other", generation: int = 1) -> Held:
    return Held(FunctionName(function), generation, chunks, quota, memory, Digest(f"model-of-{function}"))


@pytest.mark.parametrize(
    ("percent", "chunks", "expected"),
    [(50, 4, 2), (50, 3, 2), (1, 4, 1), (100, 4, 4), (24, 16, 4), (25, 16, 4), (26, 16, 5), (34, 3, 2)],
)
def test_a_percentage_of_the_chunks_is_rounded_up(percent: int, chunks: int, expected: int) -> None:
    assert width(percent, chunks) == expected


def test_neighbouring_chunks_with_the_least_load_are_taken() -> None:
    slot = choose([room(held=[holds(0, 1), holds(1, quota=0.3)])], spec(sm=50, quota=0.2))
    assert slot is not None
    assert slot.chunks == (2, 3)


def test_scattered_chunks_are_taken_when_no_neighbours_have_room() -> None:
    slot = choose([room(held=[holds(1, quota=0.9), holds(2, quota=0.9)])], spec(sm=50, quota=0.5))
    assert slot is not None
    assert slot.chunks == (0, 3)


def test_the_device_left_fullest_is_preferred() -> None:
    slot = choose([room("a"), room("b", held=[holds(0)]), room("c")], spec(sm=25))
    assert slot is not None
    assert slot.node == "b"


def test_a_device_that_has_the_model_is_preferred_to_a_fuller_one() -> None:
    fuller = room("a", held=[holds(0, 1, quota=0.9)])
    sharing = room("b", held=[holds(0, quota=0.1, function="f")])
    slot = choose([fuller, sharing], spec(sm=25))
    assert slot is not None
    assert slot.node == "b"


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
        "a replica needs 2 of 4 chunks with 60% of their time free, and 100 MiB;"
        " a-cpu0 has 1 such chunks and 50 of 1000 MiB"
    )
    assert "no device is there" in shortage([], spec())


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

    def feasible(chunks: tuple[int, ...]) -> bool:
        fits = all(loads[chunk] + wanted.slice.quota_request <= 1 + 1e-9 for chunk in chunks)
        return fits and sum(h.memory_mib for h in held) + memory <= 1000

    options = [chunks for chunks in combinations(range(5), width(percent, 5)) if feasible(chunks)]
    slot = choose([place], wanted)
    assert (slot is not None) == bool(options)
    if slot is None:
        return
    assert slot.chunks in options
    neighbours = [chunks for chunks in options if chunks[-1] - chunks[0] == len(chunks) - 1]
    if neighbours:
        peak = min(round(max(loads[chunk] for chunk in chunks), 9) for chunks in neighbours)
        assert round(max(loads[chunk] for chunk in slot.chunks), 9) == peak
