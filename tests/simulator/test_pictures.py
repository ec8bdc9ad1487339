"""What pictures show is worked out from what replicas held: no overlap where there is room, and no use left out."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.ids import DeviceId, FunctionName, NodeId, ReplicaId
from fastgshare.simulator.adapters.report.held import at_once, over_time, placed
from fastgshare.simulator.adapters.report.lanes import lanes, runs
from fastgshare.simulator.adapters.report.looks import FUNCTIONS, OTHERS, clock_for, function_colours, legend_names
from fastgshare.simulator.core.figures import attained, devices_used, missed_so_far
from fastgshare.simulator.core.outcome import Counts, DeviceOutcome, FunctionOutcome, Outcome, Rectangle, Spent

S = 1_000_000


def held(
    chunks: Iterable[int], quota: float, from_s: int = 0, until_s: int = 10, device: str = "a", nth: int = 0
) -> Rectangle:
    name, replica = FunctionName("f"), ReplicaId(f"r{nth}")
    return Rectangle(name, replica, DeviceId(device), tuple(chunks), quota, 1.0, from_s * S, until_s * S)


def function(name: str, samples: list[Counts]) -> FunctionOutcome:
    total = Counts(arrived=sum(each.arrived for each in samples), in_time=sum(each.in_time for each in samples))
    return FunctionOutcome(
        function=FunctionName(name),
        slo_ms=100,
        slo_percentile=99,
        counts=total,
        latency_us={},
        samples=samples,
    )


def outcome(rectangles: list[Rectangle]) -> Outcome:
    return Outcome(
        duration_us=20 * S,
        sample_us=S,
        functions=[],
        devices=[DeviceOutcome(device=DeviceId("a"), node=NodeId("n"), kind="k")],
        samples=[],
        rectangles=rectangles,
        decisions=[],
        spent=Spent(),
    )


def test_the_papers_eight_replicas_fill_one_device_without_overlap() -> None:
    eight = [held(range(8), 0.6, nth=0), held(range(8, 16), 0.6, nth=1)]
    eight += [held(range(at, at + 2), 0.4, nth=2 + at) for at in range(0, 8, 2)]
    eight += [held(range(at, at + 4), 0.4, nth=2 + at) for at in range(8, 16, 4)]
    for chunk in range(16):
        ends = sorted((low, low + each.quota_request) for each, low in placed(eight) if chunk in each.chunks)
        assert [round(end, 9) for pair in ends for end in pair] == [0.0, 0.6, 0.6, 1.0]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 8), st.sampled_from([0.1, 0.25, 0.5])), max_size=8))
def test_a_share_never_leaves_its_chunk(shapes: list[tuple[int, int, float]]) -> None:
    rectangles = [held(range(at, min(at + width, 8)), quota, nth=nth) for nth, (at, width, quota) in enumerate(shapes)]
    lows = placed(rectangles)
    assert len(lows) == len(rectangles)
    assert all(-1e-9 <= low <= 1 - each.quota_request + 1e-9 for each, low in lows)


def test_neighbouring_chunks_are_one_run() -> None:
    assert runs((0, 1, 2, 5, 7, 8)) == [(0, 3), (5, 1), (7, 2)]
    assert runs(()) == []


def test_a_device_counts_from_its_first_replica_to_the_end_of_its_last() -> None:
    some = [held(range(4), 1.0, 2, 5), held(range(4, 8), 1.0, 4, 9), held(range(4), 1.0, 12, 13, device="b")]
    assert devices_used(outcome(some)) == ([0.0, 2.0, 9.0, 12.0, 13.0], [0.0, 1.0, 0.0, 1.0, 0.0])
    assert devices_used(outcome([])) == ([0.0], [0.0])


def test_replicas_that_follow_each_other_are_one_use() -> None:
    assert devices_used(outcome([held(range(4), 1.0, 0, 5), held(range(4), 1.0, 5, 9)])) == ([0.0, 9.0], [1.0, 0.0])


def test_attainment_is_taken_around_each_moment_and_is_unknown_without_requests() -> None:
    samples = [Counts(10, 10), Counts(10, 0), Counts(0, 0), Counts(0, 0), Counts(0, 0)]
    assert attained(samples, 1)[:2].tolist() == [1.0, 0.0]
    assert attained(samples, 3)[:3].tolist() == [0.5, 0.5, 0.0]
    assert str(attained(samples, 3)[4]) == "nan"


def test_what_was_missed_grows_to_the_share_of_the_run() -> None:
    two = [function("f", [Counts(10, 10), Counts(10, 5)]), function("g", [Counts(10, 8), Counts(10, 10)])]
    assert missed_so_far(two).tolist() == [2 / 40, 7 / 40]


def test_the_busiest_functions_have_colours_of_their_own_and_the_others_share_one() -> None:
    many = [function(f"f{nth}", [Counts(100 - nth, 0)]) for nth in range(10)]
    colours = function_colours(many)
    assert [colours[f"f{nth}"] for nth in range(len(FUNCTIONS))] == list(FUNCTIONS)
    assert legend_names(colours)[OTHERS] == "3 others"


@pytest.mark.parametrize(("seconds", "unit"), [(200, "s"), (3600, "min"), (86_400, "h")])
def test_time_is_told_in_units_that_suit_the_run(seconds: int, unit: str) -> None:
    assert clock_for(seconds * S).unit == unit


def test_replicas_on_the_same_chunks_share_their_height_by_quota() -> None:
    found = [
        (lane.held.replica, lane.bottom, lane.height)
        for lane in lanes([held(range(4), 0.6), held(range(4), 0.2, nth=1)])
    ]
    assert found == [("r0", 0.0, 2.4), ("r1", 2.4, 0.8)]


def test_the_papers_eight_replicas_are_eight_boxes_that_fill_the_device() -> None:
    eight = [held(range(8), 0.6, nth=0), held(range(8, 16), 0.6, nth=1)]
    eight += [held(range(at, at + 2), 0.4, nth=2 + at) for at in range(0, 8, 2)]
    eight += [held(range(at, at + 4), 0.4, nth=2 + at) for at in range(8, 16, 4)]
    found = sorted((lane.bottom, lane.bottom + lane.height) for lane in lanes(eight))
    assert len(found) == 8
    assert [low for low, _ in found[1:]] == pytest.approx([high for _, high in found[:-1]])
    assert (found[0][0], found[-1][1]) == pytest.approx((0, 16))


def test_a_box_ends_where_a_neighbour_moves_it_and_not_where_one_leaves_it_alone() -> None:
    alone, guest, apart = (
        held(range(2), 1.0, 0, 10, nth=0),
        held(range(2, 4), 0.4, 3, 6, nth=1),
        held((3,), 0.5, 5, 10, nth=2),
    )
    spans = [(lane.held.replica, lane.from_us // S, lane.until_us // S) for lane in lanes([alone, guest, apart])]
    assert spans == [("r0", 0, 10), ("r1", 3, 6), ("r2", 5, 6), ("r2", 6, 10)]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 8), st.integers(0, 5), st.integers(1, 5)), max_size=8))
def test_what_is_held_has_its_area_in_the_picture(shapes: list[tuple[int, int, int, int]]) -> None:
    some = [
        held(range(at, min(at + width, 8)), 0.1, from_s, from_s + length, nth=nth)
        for nth, (at, width, from_s, length) in enumerate(shapes)
    ]
    found = lanes(some)
    for each in some:
        area = sum(lane.height * (lane.until_us - lane.from_us) for lane in found if lane.held is each)
        assert area == pytest.approx(len(each.chunks) * 0.1 * (each.until_us - each.from_us), rel=1e-4)


def test_a_device_is_drawn_with_all_of_its_chunks() -> None:
    pytest.importorskip("matplotlib")
    made = outcome([held(range(2), 1.0)])
    made.functions.append(function("f", [Counts(1, 1)]))
    made.devices[0].chunks = 16
    assert over_time("p", made).axes[0].get_ylim() == (0, 16)
    assert at_once("p", made).axes[0].get_xlim() == (0, 16)
