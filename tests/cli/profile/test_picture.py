"""Pictures: what was measured is filled and the rest hollow, every axis says what it is of."""

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from msgspec.structs import replace

from fastgshare.cli.commands.profile import picture
from fastgshare.cli.commands.profile.rows import Objective, Timing, shown_rows
from fastgshare.cli.running import Usage
from fastgshare.shared.messages import Profile
from tests.client.tables import table

PNG = b"\x89PNG\r\n\x1a\n"


def figure(profile: Profile, batches: list[int], timing: Timing = Timing.P99) -> Figure:
    subject = picture.Subject("classify", "resnet.onnx", profile, Objective(100_000, 99.0, timing))
    return picture.draw(subject, shown_rows(profile), batches)


def dots(drawn: Figure, panel: int) -> dict[str, int]:
    """How many points are filled and hollow in one panel."""
    lines = [line for line in drawn.axes[panel].lines if line.get_marker() == "o"]
    count = {"filled": 0, "hollow": 0}
    for line in lines:
        is_hollow = line.get_markerfacecolor() == "white"
        count["hollow" if is_hollow else "filled"] += len(line.get_xdata())  # type: ignore[arg-type]
    return count


def test_each_batch_has_a_row_of_throughput_and_latency_with_units() -> None:
    drawn = figure(table(), [1, 4, 8])
    assert len(drawn.axes) == 6
    assert [panel.get_title(loc="left") for panel in drawn.axes[::2]] == ["batch 1", "batch 4", "batch 8"]
    assert {panel.get_ylabel() for panel in drawn.axes[::2]} == {"inputs a second"}
    assert {panel.get_ylabel() for panel in drawn.axes[1::2]} == {"p99 latency, ms"}
    assert [panel.get_xlabel() for panel in drawn.axes[-2:]] == ["SMs of the slice, %"] * 2


def test_the_title_names_function_model_kind_date_and_source() -> None:
    title = figure(table(source="imported from h200.csv on 2026-11-26"), [8]).get_suptitle()
    for part in ("classify", "resnet.onnx", "NVIDIA H200", "2026-09-21", "imported from h200.csv"):
        assert part in title


def test_measured_points_are_filled_and_interpolated_ones_hollow() -> None:
    assert dots(figure(table(), [8]), 0) == {"filled": 8, "hollow": 11}
    assert dots(figure(table(), [4]), 1) == {"filled": 0, "hollow": 20}


def test_the_legend_tells_quotas_marks_and_the_objective() -> None:
    (legend,) = figure(table(), [8]).legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == [
        *(f"quota {quota:g}" for quota in (0.2, 0.4, 0.6, 0.8, 1)),
        "measured",
        "not settled",
        "interpolated, 95 % error",
        "p99 within 100 ms",
    ]


def test_without_latencies_times_of_batches_are_drawn() -> None:
    drawn = figure(table(), [8], Timing.DEVICE)
    assert drawn.axes[1].get_ylabel() == "device time p95 of a batch, ms"


def test_error_bars_stay_near_their_values_and_beside_each_other() -> None:
    vague = tuple(replace(point, throughput_error=6.0, latency_error=6.0) for point in table().surface)
    drawn = figure(table(points=(), surface=vague), [8])
    for panel in drawn.axes:
        bars = [bar for bars in panel.collections for bar in bars.get_segments()]  # type: ignore[attr-defined]
        assert len(bars) == 20
        middles = {(x, round(high / 2, 6)) for (x, low), (_, high) in bars if low < high}
        assert len(middles) == 20
        assert all(low == pytest.approx(high / 2 / 10) for (_, low), (_, high) in bars)
    assert len({float(bar[0][0]) for bars in drawn.axes[0].collections for bar in bars.get_segments()}) == 20  # type: ignore[attr-defined]


def test_a_table_of_a_single_point_can_be_drawn(tmp_path: Path) -> None:
    one = replace(table(), points=table().points[:1], surface=())
    subject = picture.Subject("f", "m", one, Objective(100_000, 99.0))
    picture.write_png(tmp_path / "one.png", subject, shown_rows(one), [8])
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_where_matplotlib_is_missing_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Usage, match=r"pip install 'fastgshare-cli\[plot\]'"):
        picture.ensure_matplotlib()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    subject = picture.Subject("f", "m", table(), Objective(100_000, 99.0))
    with pytest.raises(Usage, match="cannot write it: No such file or directory"):
        picture.write_png(tmp_path / "no" / "such.png", subject, shown_rows(table()), [8])


def test_a_batch_that_the_table_does_not_have_is_refused() -> None:
    assert picture.chosen_batches(shown_rows(table()), None) == [1, 4, 8]
    assert picture.chosen_batches(shown_rows(table()), 4) == [4]
    with pytest.raises(Usage, match="--batch is 3, the table has 1, 4, 8"):
        picture.chosen_batches(shown_rows(table()), 3)
