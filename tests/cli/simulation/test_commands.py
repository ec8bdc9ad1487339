"""`fastgshare simulate` and `plan` as people meet them, on the real simulator in a process of its own."""

import importlib.util
from pathlib import Path

import pytest
from rich.progress import Progress
from typer.testing import CliRunner, Result

from fastgshare.cli.app import app
from fastgshare.cli.commands.simulation import process
from fastgshare.cli.commands.simulation.showing import NOTHING, Bar, answer, functions_table
from fastgshare.shared.simulated import Advanced, Began, FunctionFigures, Planned, Simulated, Tried

TINY = """
devices: {gpu: v100, count: 1}
duration_s: 3
policies: [fixed]
functions:
  - name: photos
    model: {curve: v100/resnet50}
    slo_ms: 500
    slo_percentile: 50
    max_batch: 2
    slice: {sm_partition: 50, quota_request: 1.0}
    traffic: {rps: 20, start_s: 1.5}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_scenario_is_simulated_and_shown(scenario: Path, tmp_path: Path) -> None:
    done = run("simulate", scenario, "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, f"report: {tmp_path}/out/report.html")
    head, row, functions, photos = done.stdout.splitlines()
    assert head.split()[:3] == ["policy", "devices", "device-s"]
    assert row.split()[:2] == ["fixed", "1"]
    assert functions.split()[:3] == ["fixed", "objective", "requests"]
    assert photos.split()[:4] == ["photos", "p50", "500", "ms"]
    assert photos.split()[-1] == "yes"


def test_a_plan_is_one_line_on_standard_output(scenario: Path) -> None:
    done = run("plan", scenario)
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith("fixed: 1 v100, 3 device-seconds, 0.00% not in time")
    assert done.stderr.startswith("1 device: enough")


def test_a_bad_scenario_is_one_line_that_names_file_and_place(scenario: Path) -> None:
    scenario.write_text(TINY.replace("gpu: v100", "gpu: a100"))
    done = run("simulate", scenario)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"fastgshare: {scenario}: devices.gpu is 'a100', expected one of v100, h200\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["simulate", "/no/such.yaml"], "/no/such.yaml: cannot read it: No such file or directory"),
        (["plan", "/no/such.csv"], "/no/such.csv: cannot read it: No such file or directory"),
    ],
)
def test_a_file_that_is_not_there_is_told(words: list[str], problem: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stderr) == (2, f"fastgshare: {problem}\n")


def test_a_plan_that_no_number_of_devices_meets_ends_with_status_one(scenario: Path) -> None:
    scenario.write_text(TINY.replace("rps: 20", "rps: 2000"))
    done = run("plan", scenario)
    assert done.exit_code == 1
    assert done.stdout.startswith("fixed: no number of v100 is enough: more devices do not help: 1 of 2 were used")


def test_without_the_simulator_it_is_said_how_to_get_it(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = run("simulate", scenario)
    assert (done.exit_code, done.stderr) == (2, f"fastgshare: {process.MISSING}\n")


def test_a_simulator_that_breaks_down_is_told(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MODULE", "fastgshare.shared.units")  # runs, and tells nothing
    done = run("simulate", scenario, "--out", scenario.parent)
    assert (done.exit_code, done.stderr) == (1, "fastgshare: the simulator failed: it ended without an answer\n")


def test_an_answer_names_what_was_just_below_and_why_it_failed() -> None:
    tried = (
        Tried(devices=2, used=2, is_enough=False, device_seconds=10, late_share=0.5, why="f answered 50.00%"),
        Tried(devices=3, used=3, is_enough=True, device_seconds=12, late_share=0.004),
    )
    told = answer(Planned(policy="objective", devices=3, kind="v100", tried=tried))
    assert told == ("objective: 3 v100, 12 device-seconds, 0.40% not in time; 2 are not enough: f answered 50.00%")
    assert answer(Planned(policy="objective", devices=0, kind="v100", tried=tried, why="late")) == (
        "objective: no number of v100 is enough: late"
    )


def test_in_a_pipe_a_line_tells_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0, 1_000_000, 6_000_000, 6_000_000, 7_000_000])
    bar = Bar(Progress(disable=True), lambda: next(clock))
    bar.take(Began(what="paper", duration_s=1800, of=2, requests=540_000))
    for at_s in (100, 600, 700):
        bar.take(Advanced(at_s=at_s, requests=1000 * at_s))
    assert capsys.readouterr().err.splitlines() == [
        "about 540,000 requests in 1,800 s for each simulation",
        "paper (1 of 2): 600 of 1,800 s, 600,000 requests",
    ]


def test_what_nobody_asked_has_no_figures() -> None:
    none = FunctionFigures(
        function="f",
        slo_ms=100,
        slo_percentile=99,
        requests=0,
        attainment=1.0,
        late=0,
        refused=0,
        failed=0,
        p50_ms=None,
        p99_ms=None,
        most_replicas=1,
    )
    table = functions_table(
        Simulated(
            policy="paper",
            functions=(none,),
            requests=0,
            late_share=0,
            most_devices=1,
            device_seconds=1,
            promised=1,
            busy=0,
            decisions=0,
            wall_s=0,
        )
    )
    assert [list(column.cells) for column in table.columns[3:]] == [[NOTHING]] * 6
