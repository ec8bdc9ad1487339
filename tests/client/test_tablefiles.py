"""Tables in files come back exactly; files made elsewhere are understood; what is wrong is told by line and column."""

import csv
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.client import tablefiles
from fastgshare.client.errors import TableFileInvalid
from fastgshare.client.tablecsv import MAX_ROWS, read_csv, write_csv
from fastgshare.client.tablefiles import CSV, JSON, MAX_FILE_BYTES, read_table, write_table
from fastgshare.shared.messages import Profile, ProfileAxes, ProfileState
from fastgshare.shared.tables import Table
from tests.client.tables import AXES, measured_point, surface_point, table

PUBLISHED = """model,sm_pct,quota,rps,p95_ms,gpu_util_max
bert,12,0.2,4.9,8800.0,99
bert,12,1.0,17.8,480.0,99
bert,50,1.0,47.7,180.0,72
rnnt,50,1.0,10.5,900.0,80
"""


def problems(text: str | bytes, suffix: str = CSV) -> list[str]:
    with pytest.raises(TableFileInvalid) as caught:
        read_table(text if isinstance(text, bytes) else text.encode(), suffix)
    return caught.value.problems


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_what_is_written_is_read_back_exactly(suffix: str) -> None:
    whole = table(max_batch=8, objective_us=50_000)
    assert read_table(write_table(whole, suffix), suffix).profile == whole


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_a_table_that_never_had_a_surface_comes_back_with_its_points_and_their_axes(suffix: str) -> None:
    old = table(surface=(), axes=None)
    read = read_table(write_table(old, suffix), suffix).profile
    assert read.points == old.points
    assert read.axes is not None
    assert read.axes.sm_partitions == (12, 50, 100)
    assert len(read.surface) == 3 * 3 * 2
    known = Table.of(read)
    assert known is not None
    assert known.at(50, 1.0, 8).throughput_rps == pytest.approx(573, rel=0.05)


texts = st.text(max_size=20)
figures = st.floats(0, 100, allow_nan=False)


@given(texts, texts, texts, figures, st.floats(0.1, 1.0), st.none() | st.floats(0, 100), st.booleans())
def test_any_figures_and_words_come_back_exactly(
    note: str, kind: str, source: str, rps: float, quota: float, occupancy: float | None, settled: bool
) -> None:
    shown = replace(surface_point(50, quota, 4, True), throughput_rps=rps, throughput_error=rps / 3)
    point = measured_point(shown, note=note, occupancy_percent=occupancy, settled=settled, wall_ms=rps)
    inside = table(points=(point,), surface=(shown,), device_kind=kind, source=source, wall_ms=rps, reason=note)
    assert read_csv(write_csv(inside)) == (inside, [])


def test_the_head_names_units_and_each_row_says_whether_it_was_measured() -> None:
    lines = write_csv(table()).splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert '# device_kind: "NVIDIA H200"' in head
    rows = list(csv.DictReader(lines[len(head) :]))
    assert len(rows) == 60
    assert {row["measured"] for row in rows} == {"true", "false"}
    assert {row["measured_rps"] == "" for row in rows if row["measured"] == "false"} == {True}
    assert {"sm_percent", "device_us", "latency_p99_us", "memory_mib"} <= set(rows[0])


def test_a_published_grid_is_understood_by_its_own_names() -> None:
    read = read_table(PUBLISHED.encode(), CSV, model="bert")
    assert [(p.sm_partition, p.quota, p.batch, p.throughput_rps) for p in read.profile.points] == [
        (12, 0.2, 1, 4.9),
        (12, 1.0, 1, 17.8),
        (50, 1.0, 1, 47.7),
    ]
    assert [p.latency_p95_us for p in read.profile.points] == [8_800_000, 480_000, 180_000]
    assert read.profile.points[0].device_us == round(1e6 / 17.8)
    assert (read.profile.model_digest, read.profile.device_kind, read.profile.state) == ("", "", ProfileState.COMPLETE)
    assert read.notes[:2] == ("3 of 4 rows are of bert", "columns left out: gpu_util_max")


def test_a_file_of_several_models_needs_to_be_told_which() -> None:
    assert problems(PUBLISHED) == ["it has rows of several models (bert, rnnt): choose one with --model"]
    with pytest.raises(TableFileInvalid, match="no row of model 'vit', expected one of bert, rnnt"):
        read_table(PUBLISHED.encode(), CSV, model="vit")


def test_units_in_other_names_are_minded() -> None:
    text = "SMs,Quota_Pct,Batch_Size,Throughput,Device_ms,P99_s\n50,20,4,120,12.5,0.25\n"
    (point,) = read_table(text.encode(), CSV).profile.points
    assert (point.sm_partition, point.quota, point.batch, point.throughput_rps) == (50, 0.2, 4, 120.0)
    assert (point.device_us, point.p95_us, point.latency_p99_us) == (12_500, 12_500, 250_000)


def test_throughput_that_falls_with_more_is_told_and_taken() -> None:
    text = "sm_pct,quota,rps\n50,0.5,20\n60,0.5,18\n60,1.0,17\n"
    read = read_table(text.encode(), CSV)
    assert len(read.profile.points) == 3
    sms, quotas = read.notes[-2:]
    assert sms.startswith("throughput falls with more SMs in 1 place from 50 % at quota 0.5, batch 1 (20/s) to 60 %")
    assert quotas.startswith("throughput falls with more quota in 1 place from 60 % at quota 0.5, batch 1 (18/s)")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("50,0.5,abc", "line 3, column throughput_rps: 'abc' is not a number of at least 0 and at most 1e+07"),
        ("50,0.5,-1", "line 3, column throughput_rps: -1 is not a number of at least 0 and at most 1e+07"),
        ("50,0.5,nan", "line 3, column throughput_rps: nan is not a number of at least 0 and at most 1e+07"),
        ("50,0.5,0", "line 3: no throughput, expected inputs a second above 0"),
        ("50,0.5,", "line 3: no throughput, expected inputs a second above 0"),
        ("50,0,5", "line 3, column quota: 0 is not a number above 0 and at most 1"),
        (
            "50,60,5",
            "line 3, column quota: 60 is not a number above 0 and at most 1 (percent go into a column quota_pct)",
        ),
        ("50,0.5,2e7", "line 3, column throughput_rps: 2e7 is not a number of at least 0 and at most 1e+07"),
        ("0,0.5,5", "line 3, column sm_percent: 0 is not a whole number of at least 1 and at most 100"),
        ("12.5,0.5,5", "line 3, column sm_percent: '12.5' is not a whole number of at least 1 and at most 100"),
        (",0.5,5", "line 3, column sm_percent: it is empty"),
        ("50,0.5", "line 3: 2 cells, expected 3"),
        ("10,0.1,5", "line 3: SMs 10 %, quota 0.1, batch 1 stand on line 2 already, expected each once"),
        ('50,0.5,"5', "it is no CSV: unexpected end of data"),
    ],
)
def test_a_bad_row_is_told_by_line_and_column(row: str, problem: str) -> None:
    assert problems(f"sm_pct,quota,rps\n10,0.1,1\n{row}\n") == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "sm_pct,quota,rps,device_ms\n50,0.5,200,10\n",
            "line 2, column rps: 200 is too much for batches that take 10000 us, expected at most 150",
        ),
        (
            "sm_pct,quota,rps,p50_ms,p99_ms\n50,0.5,200,8,7\n",
            "line 2, column p99_ms: 7000 is below the p50, 8000, expected no less",
        ),
        ("sm_pct;quota;rps\n50;0,5;200\n", "line 1: separated by ';', expected ','"),
        ("sm_pct\tquota\trps\n50\t0.5\t200\n", "line 1: separated by '\\t', expected ','"),
        (
            "# state: failed\nsm_pct,quota,rps\n50,0.5,200\n",
            "line 1, state: it is failed, and only complete tables are taken",
        ),
        (
            "# state: done\nsm_pct,quota,rps\n50,0.5,200\n",
            "line 1, state: 'done' is no state, expected complete (of complete, measuring, failed)",
        ),
    ],
)
def test_what_no_table_can_say_is_refused(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_our_own_tables_are_held_to_what_can_be(suffix: str) -> None:
    point = replace(table().points[0], throughput_rps=9_000.0, latency_p95_us=1)
    told = problems(write_table(table(points=(point, *table().points[1:])), suffix), suffix)
    names = ("measured_rps", "measured_latency_p95_us") if suffix == CSV else ("throughput_rps", "latency_p95_us")
    assert len(told) == 2
    assert f"{names[0]}: 9000 is too much for batches that take 14000 us" in told[0]
    assert f"{names[1]}: 1 is below the p50, " in told[1]


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_only_complete_tables_are_taken(suffix: str) -> None:
    (told,) = problems(write_table(table(state=ProfileState.MEASURING), suffix), suffix)
    assert told.endswith("state: it is measuring, and only complete tables are taken")


def test_a_state_that_is_none_in_json_is_told_with_those_there_are() -> None:
    text = write_table(table(), JSON).decode().replace('"complete"', '"done"')
    assert problems(text, JSON) == ["state: 'done' is no state, expected complete (of complete, measuring, failed)"]


def test_a_row_without_what_to_expect_there_is_told_by_its_line() -> None:
    lines = write_csv(table()).split("\r\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("100,1.0,8,true"))
    cells = lines[at].split(",")
    lines[at] = ",".join([*cells[:4], *([""] * 8), *cells[12:]])
    read = read_table("\r\n".join(lines).encode(), CSV)
    assert read.notes[:2] == (
        f"line {at + 1}: no throughput_rps, only what was measured there",
        "the points between are worked out anew",
    )


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_what_the_profiler_wrote_is_taken_without_remarks(suffix: str) -> None:
    """Points measured scatter by more than their own errors; the surface fitted to them does not fall."""
    low = replace(table().points[0], throughput_rps=table().points[0].throughput_rps * 0.9)
    assert read_table(write_table(table(points=(low, *table().points[1:])), suffix), suffix).notes == ()


def test_everything_that_is_wrong_is_told_at_once_and_only_some_of_it_shown() -> None:
    text = "sm_pct,quota,rps\n" + "x,0.5,1\n" * 9
    with pytest.raises(TableFileInvalid) as caught:
        read_table(text.encode(), CSV)
    assert len(caught.value.problems) == 9
    assert str(caught.value).endswith("; and 4 more")


def test_columns_that_are_missing_or_twice_there_are_told() -> None:
    told = problems("sm_pct,batch\n10,1\n")
    assert told[0].startswith("line 1: no column of the share of time, expected one of ")
    assert told[1].startswith("line 1: no column of inputs a second, expected one of rps, ")
    assert problems("sm,sms,quota,rps\n1,1,1,1\n") == ["line 1: 2 columns of sm_partition, expected one"]


@pytest.mark.parametrize("text", ["", "\n\n", "# device_kind: cpu\n"])
def test_an_empty_file_is_told(text: str) -> None:
    assert problems(text) == ["it is empty: expected a line of column names, then a line a point"]


def test_names_without_rows_are_told() -> None:
    assert problems("sm,quota,rps\n") == ["line 1: no row follows the column names"]


def test_lines_count_through_the_head_and_through_notes_of_several_lines() -> None:
    text = write_csv(table(points=(measured_point(surface_point(12, 0.2, 1, True), note="two\nlines"),)))
    broken = text.replace("24,0.2,1,", "24,0.2,zero,", 1)
    (problem,) = problems(broken)
    line = broken.split("\n").index(next(line for line in broken.split("\n") if ",zero," in line)) + 1
    assert problem == f"line {line}, column batch: 'zero' is not a whole number of at least 1 and at most 1024"


def test_a_wrong_head_is_told() -> None:
    assert problems("# wall_ms: long\nsm,quota,rps\n1,1,1\n")[0].startswith("line 1, wall_ms: ")


def test_a_row_of_our_own_file_that_lacks_a_figure_is_told() -> None:
    lines = write_csv(table()).split("\r\n")
    names = next(line for line in lines if line.startswith("sm_percent")).split(",")
    at = next(i for i, line in enumerate(lines) if line.startswith("100,1.0,8,true"))
    cells = lines[at].split(",")
    cells[names.index("run_p95_us")] = cells[names.index("device_us")] = ""
    lines[at] = ",".join(cells)
    assert problems("\r\n".join(lines)) == [
        f"line {at + 1}, column device_us: it is empty",
        f"line {at + 1}, column run_p95_us: it is empty",
    ]


def test_a_file_that_is_too_large_is_not_looked_into() -> None:
    assert problems(b"x" * (MAX_FILE_BYTES + 1)) == ["it has 8.0 MiB, expected at most 8"]
    rows = "".join(f"{sm},{quota / 1000},1\n" for sm in range(1, 100) for quota in range(1, 100))
    assert problems(f"sm,quota,rps\n{rows}") == [f"it has 9801 rows, expected at most {MAX_ROWS - 1}"]


def test_values_that_make_too_many_combinations_are_refused() -> None:
    rows = "".join(f"{1 + at % 100},{(1 + at) / 400},{1 + at % 7},1\n" for at in range(300))
    assert problems(f"sm,quota,batch,rps\n{rows}") == [
        "its values of SMs, quota and batch make 210000 combinations, expected at most 2000"
    ]


def test_bytes_that_are_no_text_are_told_by_line() -> None:
    assert problems(b"sm,quota,rps\n1,1,\xff\n") == ["line 2: byte 0xff is not UTF-8"]


def test_another_kind_of_file_is_refused() -> None:
    expected = ["'.xlsx' is no kind of table, expected .csv or .json"]
    assert problems("", ".xlsx") == expected
    with pytest.raises(TableFileInvalid) as caught:
        write_table(table(), ".xlsx")
    assert caught.value.problems == expected


def with_point(**changes: object) -> Callable[[Profile], Profile]:
    return lambda whole: replace(whole, points=(*whole.points[:-1], replace(whole.points[-1], **changes)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (with_point(quota=-0.5), "points[17].quota: -0.5 is not a number above 0 and at most 1"),
        (
            with_point(throughput_rps=-1.0),
            "points[17].throughput_rps: -1.0 is not a number of at least 0 and at most 1e+07",
        ),
        (with_point(batch=0), "points[17].batch: 0 is not a whole number of at least 1 and at most 1024"),
        (
            lambda whole: replace(whole, points=(*whole.points, whole.points[3])),
            "points[18]: stands at points[3] already, expected each once",
        ),
        (lambda whole: replace(whole, points=()), "no point in it was measured"),
    ],
)
def test_a_bad_point_in_json_is_told_by_its_place(change: Callable[[Profile], Profile], problem: str) -> None:
    assert problems(msgspec.json.encode(change(table())), JSON) == [problem]


def test_json_that_is_none_is_told_by_line_and_column() -> None:
    assert problems('{"points": [\n\n  oops]}', JSON) == ["line 3, column 3: no JSON: Expecting value"]
    assert problems('{"model_digest": 3}', JSON) == ["Expected `str`, got `int` - at `$.model_digest`"]


def test_a_surface_with_a_hole_is_left_out_and_said_so() -> None:
    read = read_table(write_table(table(surface=table().surface[1:]), CSV), CSV)
    assert read.profile.axes == tablefiles.axes_of(table().points)
    assert len(read.profile.surface) == 18
    assert read.notes[1] == "the points between are worked out anew"


@pytest.mark.parametrize(
    "axes",
    [
        ProfileAxes(sm_partitions=(), quotas=(), batches=()),
        ProfileAxes(sm_partitions=AXES.sm_partitions[::-1], quotas=AXES.quotas, batches=AXES.batches),
    ],
)
@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_axes_that_are_none_or_do_not_ascend_are_worked_out_anew(axes: ProfileAxes, suffix: str) -> None:
    """The profiler takes the last of an axis for its largest."""
    surface = () if not axes.batches else table().surface
    read = read_table(write_table(table(axes=axes, surface=surface), suffix), suffix)
    assert read.profile.axes == tablefiles.axes_of(table().points)


@pytest.mark.parametrize("suffix", [CSV, JSON])
def test_figures_about_the_whole_table_are_held_to_bounds_too(suffix: str) -> None:
    strange = table(wall_ms=-1.0, max_batch=-3)
    assert problems(write_table(strange, suffix), suffix) == [
        "wall_ms: -1.0 is not a number of at least 0 and at most 1e+12",
        "max_batch: -3 is not a whole number of at least 0 and at most 1024",
    ]


def test_a_table_whose_points_did_nothing_is_refused() -> None:
    idle = table(points=tuple(replace(point, throughput_rps=0.0) for point in table().points), surface=())
    assert problems(write_table(idle, JSON), JSON) == ["no point in it has a throughput and a device time above 0"]


def test_a_file_with_one_percentile_of_latency_says_nothing_of_the_others() -> None:
    read = read_table(b"sm,quota,rps,p95_ms\n50,1,100,20\n100,1,150,15\n", CSV)
    for shown, known_us in zip(read.profile.surface, (20_000, 15_000), strict=True):
        assert shown.latency_p95_us == pytest.approx(known_us, rel=0.01)
        assert (shown.latency_p50_us, shown.latency_p99_us) == (0, 0)


def test_axes_are_the_values_there_are() -> None:
    assert tablefiles.axes_of(table().surface) == AXES
