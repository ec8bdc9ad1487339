"""Refitting from a CSV of throughputs, and the curves that came out of the published one."""

from pathlib import Path

import msgspec
import pytest

from fastgshare.node_manager.devices.sim.curves import CurveFile, shipped
from fastgshare.node_manager.devices.sim.fit import main, quota_ratios, read_rows

HEADER = "model,sm_pct,quota,rps,p95_ms,gpu_util_max\n"
# Rates of the published table at quota 1, by percent of the SMs.
PUBLISHED_RPS = {
    "resnet50": {6.25: 49.9, 12.5: 68.6, 25.0: 73.4, 50.0: 74.1, 100.0: 74.9},
    "rnnt": {6.25: 8.6, 12.5: 10.8, 25.0: 12.0, 50.0: 12.3, 100.0: 12.4},
    "bert": {6.25: 9.5, 12.5: 17.8, 25.0: 34.7, 50.0: 47.7, 100.0: 47.9},
    "gnmt": {6.25: 7.2, 12.5: 12.5, 25.0: 20.3, 50.0: 27.1, 100.0: 29.5},
}


def table(directory: Path, rows: str) -> Path:
    path = directory / "table.csv"
    path.write_text(HEADER + rows)
    return path


@pytest.mark.parametrize("model", PUBLISHED_RPS)
def test_a_shipped_curve_is_within_two_percent_of_the_published_rates(model: str) -> None:
    curve = shipped()[f"v100/{model}"].curve
    for sm_percent, rps in PUBLISHED_RPS[model].items():
        assert 1e6 / curve.batch_us(sm_percent, 1) == pytest.approx(rps, rel=0.02)


def test_a_table_becomes_curves_with_their_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "m,10,1.0,10,0,100\nm,50,1.0,40,0,80\nm,100,1.0,50,0,40\nm,100,0.5,30,0,40\n"
    assert main([str(table(tmp_path, rows)), "--gpu", "mine", "--sms", "10"]) == 0
    printed = capsys.readouterr()
    made = msgspec.json.decode(printed.out, type=CurveFile)
    assert made.gpu == "mine"
    assert made.source == "table.csv"
    assert made.curves["m"].points == 3
    assert made.curves["m"].curve.fixed == 0.6  # the GPU stood still for as much of the time
    assert made.curves["m"].curve.batch_us(100, 1) == pytest.approx(20_000, rel=0.05)
    assert "1.20" in printed.err  # half the time gave 30 of 50, a fifth more than half


def test_a_quota_that_gives_its_share_has_a_ratio_of_one(tmp_path: Path) -> None:
    rows = read_rows(table(tmp_path, "m,10,1.0,10,0,100\nm,10,0.2,2,0,100\n"))
    assert quota_ratios(rows) == {("m", 0.2): [1.0]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("model,quota\n", "lacks the columns sm_pct, rps, gpu_util_max"),
        (HEADER + "m,ten,1.0,10,0,100\n", "line 2: expected numbers in sm_pct"),
        (HEADER + "m,10,1.0,0,0,100\n", "line 2: expected sm_pct above 0"),
        (HEADER + "m,10,0.5,10,0,100\n", "no rows at quota 1.0"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    assert main([str(path)]) == 1
    assert words in capsys.readouterr().err
