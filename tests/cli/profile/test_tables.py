"""The table people see: each slice's best batch within the objective, what is interpolated marked in plain text."""

import pytest
from msgspec.structs import replace

from fastgshare.cli.commands.profile import tables
from fastgshare.cli.commands.profile.figures import brief, lasting, ms, percent
from fastgshare.cli.commands.profile.rows import Objective, Timing, best_batch, best_rows, objective_of, shown_rows
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec, ModelRef, Profile, ProfileState
from tests.cli.profile.looks import printed
from tests.client.tables import DIGEST, table

OBJECTIVE = Objective(100_000, 99.0)


def shown(profile: Profile, objective: Objective = OBJECTIVE, show_all: bool = False, width: int = 80) -> list[str]:
    return printed(lambda on: tables.show(on, profile, shown_rows(profile), objective, show_all), width)


def spec(slo_percentile: float) -> FunctionSpec:
    model = ModelRef(digest=DIGEST, size_bytes=1)
    return FunctionSpec(name=FunctionName("f"), model=model, slo_ms=100, slo_percentile=slo_percentile)


def without_latencies(profile: Profile) -> Profile:
    none = {"latency_p50_us": 0, "latency_p95_us": 0, "latency_p99_us": 0}
    return replace(
        profile,
        points=tuple(replace(point, **none) for point in profile.points),
        surface=tuple(replace(point, **none) for point in profile.surface),
    )


def test_each_slice_shows_the_batch_of_highest_throughput_that_meets_the_objective() -> None:
    best = {(row.sm_percent, row.quota): row for row in best_rows(shown_rows(table()), OBJECTIVE)}
    assert len(best) == 20
    assert best[50, 1.0].batch == 8
    assert best[50, 0.2].batch == 1  # and not 4, of which nobody measured anything
    assert best[24, 0.2].batch == 1
    assert all(OBJECTIVE.is_met(row) for cell, row in best.items() if cell[0] >= 24)


def test_where_no_batch_meets_it_the_quickest_is_shown() -> None:
    best = {(row.sm_percent, row.quota): row for row in best_rows(shown_rows(table()), OBJECTIVE)}
    assert best[12, 0.2].batch == 1
    assert not OBJECTIVE.is_met(best[12, 0.2])


def test_a_batch_that_nobody_measured_is_no_best_one() -> None:
    ones = tuple(point for point in table().points if point.batch == 1)
    surface = tuple(replace(point, measured=point.measured and point.batch == 1) for point in table().surface)
    rows = shown_rows(table(points=ones, surface=surface))
    assert {row.batch for row in best_rows(rows, OBJECTIVE)} == {1}
    assert best_batch(rows, OBJECTIVE) == 1


def test_what_is_not_known_within_its_own_size_is_no_best_one_unless_nothing_else_is_there() -> None:
    def vague(batches: tuple[int, ...]) -> set[int]:
        surface = tuple(
            replace(point, throughput_error=1.5 if point.batch in batches else 0.04) for point in table().surface
        )
        rows = [row for row in shown_rows(table(points=(), surface=surface)) if row.sm_percent == 24]
        return {row.batch for row in best_rows(rows, Objective(10_000_000, 99.0))}

    assert vague((8,)) == {4}
    assert vague((1, 4, 8)) == {8}


def test_errors_beyond_the_value_itself_are_said_to_be_that() -> None:
    surface = tuple(replace(point, throughput_error=5.94) for point in table().surface)
    lines = shown(table(points=table().points[:1], surface=surface), width=160)
    assert lines[0].endswith(", some others unknown")
    assert any(">100 %" in line for line in lines)
    assert not any("594" in line for line in lines)


def test_the_load_at_which_latencies_hold_is_told() -> None:
    load = "latencies: requests arriving at random at 80 % of the slice's throughput"
    assert load in shown(table())
    elsewhere = table(points=tuple(replace(point, requests=0) for point in table().points))
    assert load not in shown(elsewhere)


def test_that_every_slice_misses_the_objective_is_said_in_words() -> None:
    assert "no slice meets the objective, p99 within 1 ms, with any batch" in shown(table(), Objective(1_000, 99.0))
    assert not any(line.startswith("no slice") for line in shown(table()))


def test_a_tail_of_few_requests_is_marked() -> None:
    few = table(points=tuple(replace(point, requests=9) for point in table().points))
    lines = shown(few, Objective(900_000, 99.0), width=120)
    assert any("63.0?" in line for line in lines)
    assert not any("~" in line and "?" in line for line in lines)
    assert "? a p99 of fewer than 20 requests, which is hardly more than the slowest of them" in lines
    assert not any("?" in line for line in shown(table(), width=120))


def test_the_batch_to_draw_is_the_best_of_the_largest_slice() -> None:
    assert best_batch(shown_rows(table()), OBJECTIVE) == 8
    assert best_batch(shown_rows(table()), Objective(40_000, 99.0)) == 1


@pytest.mark.parametrize(
    ("percentile", "timing"),
    [(50, Timing.P50), (90, Timing.P95), (95, Timing.P95), (99, Timing.P99), (99.9, Timing.P99)],
)
def test_an_objective_is_held_against_the_next_percentile_that_was_measured(percentile: float, timing: Timing) -> None:
    assert objective_of(spec(percentile), shown_rows(table())).timing is timing


def test_without_latencies_the_objective_is_held_against_times_of_batches() -> None:
    bare = without_latencies(table())
    objective = objective_of(spec(99), shown_rows(bare))
    assert objective.timing is Timing.DEVICE
    assert any(line.startswith("latencies of requests were not measured") for line in shown(bare, objective))


def test_a_table_with_one_percentile_only_is_held_against_that() -> None:
    points = tuple(replace(point, latency_p50_us=0, latency_p99_us=0) for point in table().points)
    one = replace(table(), points=points, surface=())
    objective = objective_of(spec(99), shown_rows(one))
    assert objective.timing is Timing.P95
    assert "the objective is held against the p95 latency" in shown(one, objective)


def test_measured_and_interpolated_points_are_told_apart_without_colour() -> None:
    lines = shown(table())
    measured = next(line for line in lines if line.split()[:3] == ["50", "1", "8"])
    assert measured.split() == ["50", "1", "8", "573", "±1", "%", "14.0", "21.0", "42.0", "63.0", "±2", "%", "yes"]
    everything = shown(table(), show_all=True)
    between = next(line for line in everything if line.split()[:3] == ["24", "1", "4"])
    assert between.split() == ["24", "1", "4", "~240", "±4", "%", "~16.7", "~25.0", "~50.0", "~75.0", "±12", "%", "no"]
    assert "~ interpolated, true within ± 19 times of 20; ! misses p99 within 100 ms" in lines


def test_what_misses_the_objective_is_marked_at_the_latency_that_does() -> None:
    assert any("170.6!" in line for line in shown(table()))
    assert not any("!" in line for line in shown(table(), Objective(900_000, 99.0)))


def test_it_fits_into_eighty_columns_row_by_row() -> None:
    lines = shown(table(), show_all=True)
    assert max(map(len, lines)) <= 80
    assert sum(line.endswith((" yes", " no", " unsettled")) for line in lines) == 60


def test_points_that_did_not_settle_are_told_with_their_notes() -> None:
    lines = shown(table(), show_all=True, width=120)
    (marked,) = (line for line in lines if line.endswith("unsettled"))
    assert marked.split()[:3] == ["12", "0.2", "8"]
    assert lines[-1] == '12 % of the SMs, quota 0.2, batch 8 did not settle: times drift: "hot", after 3 s'


def test_a_point_that_did_not_settle_shows_what_the_others_make_of_it() -> None:
    (shaky,) = (row for row in shown_rows(table()) if not row.is_settled)
    (expected,) = (p for p in table().surface if (p.sm_partition, p.quota, p.batch) == (12, 0.2, 8))
    assert (shaky.is_measured, shaky.is_certain) == (True, False)
    assert (shaky.throughput_rps, shaky.p99_us) == (expected.throughput_rps, expected.latency_p99_us)


def test_many_unsettled_points_do_not_bury_the_table() -> None:
    points = tuple(replace(point, settled=False, note="") for point in table().points)
    lines = shown(replace(table(), points=points), width=120)
    assert lines[-1] == "and 13 points more did not settle"
    assert lines[-2].endswith("did not settle: no reason was given")


def test_the_head_tells_state_source_and_how_much_was_measured() -> None:
    assert tables.headline(table(), shown_rows(table())) == (
        "NVIDIA H200: complete; 18 of 60 points measured in 54 s on 2026-09-21, the others within 4 %"
    )
    taken_in = table(source="imported from h200.csv on 2026-11-26")
    assert "; imported from h200.csv on 2026-11-26; 18 of 60" in tables.headline(taken_in, shown_rows(taken_in))


def test_a_failed_table_shows_its_reason_and_what_was_measured() -> None:
    failed = table(state=ProfileState.FAILED, reason="the device was lost", surface=())
    lines = shown(failed, width=120)
    assert lines[0].startswith("NVIDIA H200: given up: the device was lost; 18 of 18 points measured")
    assert sum(line.endswith((" yes", " unsettled")) for line in lines) == 9
    nothing = Profile(model_digest=DIGEST, device_kind="cpu", state=ProfileState.FAILED, reason="no input")
    assert shown(nothing) == ["cpu: given up: no input"]


def test_a_table_of_before_surfaces_is_shown_by_its_points() -> None:
    old = table(surface=(), axes=None)
    assert {row.is_measured for row in shown_rows(old)} == {True}
    assert len(shown_rows(old)) == 18


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.12"),
        (9.994, "9.99"),
        (9.999, "10.0"),
        (99.96, "100"),
        (1234.5, "1234"),
        (12_345, "12.3k"),
        (2e6, "2.0M"),
    ],
)
def test_figures_are_brief(value: float, text: str) -> None:
    assert brief(value) == text


def test_errors_and_times_are_written_for_people() -> None:
    assert [percent(error) for error in (0, 0.004, 0.0432, 0.5)] == ["", "±0.4 %", "±4 %", "±50 %"]
    assert [ms(us) for us in (0, 45, 1_234, 56_780, 9_800_000)] == ["-", "0.045", "1.23", "56.8", "9800"]
    assert [lasting(time_ms) for time_ms in (400, 59_900, 125_000, 840_000, 7_500_000)] == [
        "less than 1 s",
        "60 s",
        "2 min 5 s",
        "14 min",
        "2 h 5 min",
    ]


def test_what_a_complete_table_lacks_is_told_with_its_reason() -> None:
    lines = shown(replace(table(), reason="6 points of the grid were left out"), width=300)
    assert lines[0].endswith("; 6 points of the grid were left out")
