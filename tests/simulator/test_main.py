"""The simulator as it is run: lines for programs, files for people, and a status that says how it went."""

import json
from pathlib import Path

import msgspec
import pytest

from fastgshare.shared.simulated import (
    Advanced,
    Began,
    Noted,
    Planned,
    Refused,
    Simulated,
    Told,
    Tried,
    Wrote,
    told_by,
)
from fastgshare.simulator.__main__ import main
from fastgshare.simulator.adapters.report import drawing
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario import lengths
from tests.simulator.fake_engine import simulate
from tests.simulator.scenarios import SMALL, with_function

PNG = b"\x89PNG"


def run(capfdbinary: pytest.CaptureFixture[bytes], *words: object) -> tuple[int, list[Told]]:
    status = main([str(word) for word in words], engine=simulate)
    return status, [one for line in capfdbinary.readouterr().out.splitlines() for one in told_by(line)]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_each_policy_is_simulated_told_and_reported(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = tmp_path / "out"
    status, told = run(capfdbinary, "run", scenario, "--out", out, "--policy", "objective", "--policy", "time_sharing")
    assert status == 0
    assert [one.what for one in told if isinstance(one, Began)] == ["objective", "time_sharing"]
    assert any(isinstance(one, Advanced) for one in told)
    figures = [one for one in told if isinstance(one, Simulated)]
    assert [one.policy for one in figures] == ["objective", "time_sharing"]
    assert figures[0].requests == figures[1].requests > 900
    assert figures[0].device_seconds < figures[1].device_seconds
    assert [one.path for one in told if isinstance(one, Wrote)] == [str(out / "report.html")]
    stored = msgspec.json.decode((out / "outcome-objective.json").read_bytes(), type=Outcome)
    assert stored.requests == figures[0].requests
    assert json.loads((out / "figures.json").read_bytes())[1]["policy"] == "time_sharing"


def test_a_report_has_figures_pictures_and_decisions_with_reasons(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run(capfdbinary, "run", scenario, "--out", tmp_path)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {
        "attainment.png",
        "cost.png",
        "devices.png",
        "latency.png",
        "packing-objective.png",
        "rectangles-objective.png",
        "replicas-objective.png",
        "use.png",
    }
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in pictures)
    text = (tmp_path / "report.md").read_text()
    assert all(f"({name})" in text for name in pictures)
    assert "| photos | p99 in 150 ms |" in text
    assert "requests a second need 2 \\| 2 placed" in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(pictures)
    assert 'src="http' not in page


def test_without_matplotlib_there_are_figures_and_a_word_about_pictures(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "can_draw", lambda: False)
    status, told = run(capfdbinary, "run", scenario, "--out", tmp_path)
    assert status == 0
    assert Noted(text=drawing.MISSING) in told
    assert "pip install" in (tmp_path / "report.md").read_text()
    assert list(tmp_path.glob("*.png")) == []


def test_an_impossible_objective_is_noted_and_the_rest_is_simulated(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SMALL + "  - {name: maps, model: {curve: v100/resnet50}, slo_ms: 5, traffic: {rps: 1}}\n")
    status, told = run(capfdbinary, "run", path, "--out", tmp_path)
    assert status == 0
    notes = [one.text for one in told if isinstance(one, Noted)]
    assert [text.partition(" is impossible")[0] for text in notes] == ["maps: the objective of 5 ms"]
    assert "maps: the objective of 5 ms is impossible" in (tmp_path / "report.md").read_text()


def test_a_bad_scenario_is_refused_before_anything_is_simulated(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SMALL.replace("count: 2", "count: 0").replace("rps: 50", "rps: -1"))
    status, [told] = run(capfdbinary, "run", path, "--out", tmp_path / "out")
    assert status == 2
    assert isinstance(told, Refused)
    assert [problem.startswith(f"{path}: ") for problem in told.problems] == [True, True]
    assert not (tmp_path / "out").exists()


def test_a_place_for_the_report_that_cannot_be_is_told_first(
    scenario: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    status, [told] = run(capfdbinary, "run", scenario, "--out", scenario / "below")
    assert status == 2
    assert isinstance(told, Refused)
    assert told.problems == (f"--out {scenario}/below: cannot make it: Not a directory",)


def test_the_fewest_devices_are_planned_with_what_was_just_below(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    scenario.write_text(SMALL.replace("rps: 50", "rps: 200"))
    status, told = run(capfdbinary, "plan", scenario, "--out", tmp_path)
    assert status == 0
    [planned] = [one for one in told if isinstance(one, Planned)]
    tried = {one.devices: one for one in told if isinstance(one, Tried)}
    assert tried[planned.devices].is_enough
    assert "photos answered" in tried[planned.devices - 1].why
    assert (tmp_path / "report.html").exists()


def test_a_trace_alone_can_be_planned(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "load.csv"
    path.write_text("t_s,rps,function\n0,100,a\n20,200,a\n0,50,b\n20,50,b\n")
    status, told = run(capfdbinary, "plan", path, "--slo-ms", 200, "--model", "v100/bert", "--gpu", "h200")
    assert status == 0
    [planned] = [one for one in told if isinstance(one, Planned)]
    assert (planned.kind, planned.devices > 1) == ("h200", True)
    assert any(isinstance(one, Noted) and "v100/bert: fitted on v100, taken to be as fast" in one.text for one in told)
    path.write_text("t_s,rps\n0,100\n1,x\n")
    status, [refused] = run(capfdbinary, "plan", path, "--model", "v100/bert")
    assert status == 2
    assert isinstance(refused, Refused)
    assert refused.problems == (f"{path}: line 3: rps is 'x', expected requests a second from 0 to 1e+07",)


def test_no_number_of_devices_helps_against_a_limit_of_replicas(
    scenario: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = with_function("model: {curve: v100/resnet50}\nreplicas: 1\ntraffic: {rps: 200}")
    scenario.write_text(text)
    status, told = run(capfdbinary, "plan", scenario)
    assert status == 3
    [planned] = [one for one in told if isinstance(one, Planned)]
    assert planned.devices == 0
    assert planned.why.startswith("more devices do not help: 1 of 2 were used, and photos answered")


def test_a_plan_for_an_impossible_objective_is_refused_at_once(
    scenario: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    scenario.write_text(SMALL.replace("slo_ms: 150", "slo_ms: 5"))
    status, [told] = run(capfdbinary, "plan", scenario)
    assert status == 2
    assert isinstance(told, Refused)
    assert "photos: the objective of 5 ms is impossible" in told.problems[0]


def test_a_plan_keeps_what_fails_in_the_fleet(scenario: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    scenario.write_text(SMALL.replace("count: 2", "count: 3") + "failures: [{node: node-2, at_s: 5}]\n")
    _, told = run(capfdbinary, "plan", scenario)
    assert min(one.devices for one in told if isinstance(one, Tried)) == 3


def test_a_trace_without_a_model_is_refused_with_those_there_are(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "load.csv"
    path.write_text("t_s,rps\n0,100\n20,100\n")
    status, [told] = run(capfdbinary, "plan", path)
    assert status == 2
    assert isinstance(told, Refused)
    assert "expected --model, a table in .json or one of v100/" in told.problems[0]


@pytest.mark.parametrize("warmup", ["40", "1000"])
def test_a_warm_up_as_long_as_the_trace_is_refused(
    warmup: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "load.csv"
    path.write_text("t_s,rps\n0,2000\n20,2000\n")
    status, [told] = run(capfdbinary, "plan", path, "--model", "v100/resnet50", "--warmup", warmup)
    assert status == 2
    assert isinstance(told, Refused)
    assert "expected less than what the scenario lasts, 40 s: nothing would count" in told.problems[0]


def test_what_takes_hours_is_refused_unless_asked_for(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, problem in (
        (SMALL.replace("rps: 50", "rps: 1.0e+7"), "about 200,000,000 requests for each simulation, expected at most"),
        (SMALL.replace("20\n", "2000000\n", 1).replace("rps: 50", "rps: 0"), "it lasts 2,000,000 s, expected at most"),
    ):
        scenario.write_text(text)
        status, [told] = run(capfdbinary, "run", scenario, "--out", tmp_path)
        assert status == 2
        assert isinstance(told, Refused)
        assert problem in told.problems[0]
    monkeypatch.setattr(lengths, "MAX_SHORT_S", 100)
    scenario.write_text(SMALL.replace("20\n", "200\n", 1).replace("rps: 50", "rps: 0"))
    assert run(capfdbinary, "run", scenario, "--out", tmp_path)[0] == 2
    assert run(capfdbinary, "run", scenario, "--out", tmp_path, "--huge")[0] == 0


def test_a_fault_of_the_simulator_is_one_line(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def breaks(*_: object) -> Outcome:
        raise ValueError("no such\nthing")

    assert main(["run", str(scenario), "--out", str(tmp_path)], engine=breaks) == 1
    [*_, line] = capfdbinary.readouterr().out.splitlines()
    [told] = told_by(line)
    assert isinstance(told, Refused)
    assert "the simulator broke down: ValueError: no such thing (test_main.py, line" in told.problems[0]


def test_what_an_earlier_run_wrote_is_removed_and_nothing_else(
    scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run(capfdbinary, "run", scenario, "--out", tmp_path, "--policy", "objective", "--policy", "paper")
    own = tmp_path / "notes-paper.png"
    own.write_text("mine")
    run(capfdbinary, "run", scenario, "--out", tmp_path, "--policy", "objective")
    assert {path.name for path in tmp_path.glob("*paper*")} == {own.name}


def test_no_devices_is_one_problem(scenario: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, [told] = run(capfdbinary, "run", scenario, "--out", tmp_path, "--devices", "0")
    assert status == 2
    assert isinstance(told, Refused)
    assert told.problems == (f"{scenario}: devices.count is 0, expected 1 to 100000",)
