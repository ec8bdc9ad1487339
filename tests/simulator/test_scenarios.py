"""What is wrong with a scenario is told at once, all of it, with place, value and expectation."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest
from fastgshare.simulator.adapters.reading import Read, complete, parse_scenario, read_scenario
from fastgshare.simulator.core.curves import table_of
from fastgshare.simulator.core.run import Run
from fastgshare.simulator.core.scenario.building import requests_of, resized, run_of
from fastgshare.simulator.core.scenario.feasibility import doubtful_in, impossible_in
from tests.simulator.scenarios import SMALL, with_function
from tests.simulator.test_curves import CURVE

EXAMPLES = sorted((Path(__file__).parents[2] / "examples/scenarios").glob("*.yaml"))
GOOD = "model: {curve: v100/resnet50}\ntraffic: {rps: 5}"


def read(text: str, base: Path = Path()) -> Read:
    return complete(parse_scenario(text), base)


def problems(text: str, base: Path = Path()) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        read(text, base)
    return caught.value.problems


def run(text: str, policy: str = "objective") -> Run:
    found = read(text)
    return run_of(found.scenario, policy, found.sources)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_run_and_asks_for_nothing_impossible(path: Path) -> None:
    found = read_scenario(path)
    assert found.notes == ()
    for policy in found.scenario.policies:
        made = run_of(found.scenario, policy, found.sources)
        assert impossible_in(made) == {}
        assert all(next(iter(function.arrivals)) >= 0 for function in made.functions)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected keys such as devices and functions, found nothing"),
        ("[1]", "expected keys such as devices and functions, found a list"),
        ("devices: {\n", "line 2, column 1: not YAML"),
        (SMALL + "seeds: 3\n", "seeds is not known; did you mean seed?"),
        (SMALL.replace("rps: 50", "rsp: 50"), "functions[0].traffic.rsp is not known; did you mean rps?"),
        (SMALL.replace("count: 2", "count: two"), "devices.count: expected 'int', got 'str'"),
        (SMALL.replace("count: 2", "number: 2"), "devices.number is not known"),
        (SMALL.replace("v100,", "a100,"), "devices.gpu is 'a100', expected one of v100, h200"),
        (SMALL.replace("gpu: v100,", ""), "devices: kind, chunks, memory_mib missing, expected gpu"),
        (SMALL.replace("gpu: v100", "gpu: v100, chunks: 4"), "devices: gpu and chunks given, expected either gpu or"),
        (SMALL.replace("count: 2", "count: 0"), "devices.count is 0, expected 1 to"),
        (SMALL.replace("count: 2", "count: 2, nodes: 3"), "devices.nodes is 3, expected 1 to 2"),
        (SMALL.replace("duration_s: 20\n", ""), "duration_s is missing: only a trace says how long"),
        (SMALL.replace("20\n", "-1\n", 1), "duration_s is -1, expected 0.001 to"),
        (SMALL.replace("20\n", ".nan\n", 1), "duration_s is nan, expected 0.001 to"),
        (SMALL.replace("[objective]", "[best]"), "policies[0] is 'best', expected one of fixed, objective"),
        (SMALL.replace("[objective]", "[paper, paper]"), "policies[1] is 'paper' once more, expected each once"),
        (SMALL + "scheduler: {headroom: -1}\n", "scheduler.headroom is -1, expected 0 to 10"),
        (SMALL + "plan: {warmup_s: 30}\n", "plan.warmup_s is 30, expected less than what the scenario lasts, 20 s"),
        (SMALL + "failures: [{node: node-7, at_s: 3}]\n", "failures[0].node is 'node-7', expected one of node-0 to"),
        (SMALL + "failures: [{at_s: 3}]\n", "failures[0]: neither of node and device given"),
        (
            SMALL + "failures: [{node: node-0, at_s: 3, until_s: 3}]\n",
            "failures[0].until_s is 3, expected more than at_s",
        ),
        (with_function("traffic: {rps: 3}"), "functions[0].model is missing"),
        (
            with_function("model: {}\ntraffic: {rps: 3}"),
            "functions[0] (photos): model: neither of curve and table given",
        ),
        (
            with_function("model: {curve: x}\ntraffic: {rps: 3}"),
            "functions[0] (photos): model.curve is 'x', expected one",
        ),
    ],
)
def test_one_problem_is_told_with_its_place(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("slo_ms: 0", "slo_ms is 0.0, expected above 0"),
        ("replicas: 2\nautoscale: {min: 1, max: 2}", "both of replicas and autoscale given, expected exactly one"),
        ("autoscale: {min: 3, max: 2}", "autoscale is min 3, max 2, expected 0 <= min <= max"),
        (
            "slice: {quota_request: 0.8, quota_limit: 0.5}",
            "slice.quota_request is 0.8, expected at most quota_limit, 0.5",
        ),
        ("autoscale: {max: 2, policy: best}", "autoscale.policy is 'best', expected one of fixed, objective"),
        ("weights_mib: 900", "weights_mib is 900, expected at most slice.gpu_mem_mib, 256, which counts them"),
        ("load_ms: -5", "load_ms is -5, expected 0 to"),
    ],
)
def test_contradictory_limits_are_told_with_the_function(lines: str, problem: str) -> None:
    assert f"functions[0] (photos): {problem}" in problems(with_function(f"{GOOD}\n{lines}"))[0]


@pytest.mark.parametrize(
    ("traffic", "problem"),
    [
        ("{}", "none given, expected exactly one of rps, steps, diurnal, trace"),
        ("{rps: 3, steps: [[0, 1]]}", "rps and steps given, expected exactly one"),
        ("{rps: -3}", "rps is -3, expected 0 to"),
        ("{rps: 3, cv: 50}", "cv is 50, expected 0 to 20"),
        ("{rps: 3, scale: 0}", "scale is 0, expected above 0"),
        ("{rps: 3, start_s: 5, stop_s: 5}", "stop_s is 5, expected more than start_s, 5"),
        ("{steps: []}", "steps is empty"),
        ("{steps: [[5, 1], [5, 2]]}", "steps[1] begins at 5 after 5, expected ascending times"),
        ("{steps: [[5, -1]]}", "steps[0] rate is -1, expected 0 to"),
        ("{diurnal: {mean_rps: 5, peak_ratio: 3}}", "diurnal.peak_ratio is 3, expected 1 to 2"),
    ],
)
def test_impossible_traffic_is_told_with_the_function(traffic: str, problem: str) -> None:
    [told] = problems(with_function(f"model: {{curve: v100/resnet50}}\ntraffic: {traffic}"))
    assert told.startswith("functions[0] (photos): traffic")
    assert problem in told


def test_all_problems_are_told_at_once() -> None:
    text = SMALL.replace("count: 2", "count: two").replace("rps: 50", "rps: much").replace("slo_ms", "slo")
    assert [line.partition(":")[0].partition(" ")[0] for line in problems(text)] == [
        "functions[0].slo",
        "devices.count",
        "functions[0].traffic.rps",
    ]
    values = SMALL.replace("count: 2", "count: 0").replace("rps: 50", "rps: -1").replace("150", "0")
    assert len(problems(values)) == 3


def test_two_functions_of_one_name_are_told(tmp_path: Path) -> None:
    doubled = SMALL + SMALL[SMALL.index("  - name") :]
    assert problems(doubled) == ["functions[1].name is 'photos' once more, expected each once"]


def test_bad_rows_of_a_trace_are_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("t_s,rps\n0,5\n1,many\n")
    text = with_function("model: {curve: v100/resnet50}\ntraffic: {trace: {file: load.csv}}")
    assert problems(text, tmp_path)[0].startswith("load.csv: line 3: rps is 'many', expected requests a second")
    assert problems(text, tmp_path / "elsewhere") == ["load.csv: cannot read it: No such file or directory"]


def test_a_trace_without_the_function_is_told_and_rows_of_others_are_noted(tmp_path: Path) -> None:
    text = with_function("model: {curve: v100/resnet50}\ntraffic: {trace: {file: load.csv}}")
    (tmp_path / "load.csv").write_text("t_s,function\n0,maps\n1,maps\n")
    assert problems(text, tmp_path) == ["functions[0] (photos): load.csv has no rows of 'photos', it has maps"]
    (tmp_path / "load.csv").write_text("t_s,function\n0,maps\n1,photos\n")
    assert read(text, tmp_path).notes == ("load.csv: rows of maps are left out, no function is called so",)


def test_without_a_duration_a_scenario_lasts_as_long_as_its_trace(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("t_s,rps\n0,5\n30,10\n")
    text = with_function("model: {curve: v100/resnet50}\ntraffic: {trace: {file: load.csv}, start_s: 5}")
    found = read(text.replace("duration_s: 20\n", ""), tmp_path)
    made = run_of(found.scenario, "objective", found.sources)
    assert made.duration_us == 65_000_000
    assert max(made.functions[0].arrivals) > 60_000_000


def test_a_table_stands_for_a_model_on_its_kind_of_device_only(tmp_path: Path) -> None:
    text = with_function("model: {table: t.json}\ntraffic: {rps: 3}")
    (tmp_path / "t.json").write_text("{}")
    assert problems(text, tmp_path)[0].startswith("t.json: no table as `fastgshare profile FUNCTION --export` writes")
    table = table_of(CURVE, Digest("b" * 64), "sim-v100-16g", 16, 100_000, 2)
    (tmp_path / "t.json").write_bytes(msgspec.json.encode(table))
    assert list(read(text, tmp_path).sources.tables) == [("b" * 64, "sim-v100-16g")]
    told = problems(text.replace("v100,", "h200,"), tmp_path)
    assert told == ["functions[0] (photos): t.json was measured on sim-v100-16g, devices are of kind sim-h200-141g"]


def test_an_impossible_objective_is_told_and_the_other_function_is_not_concerned() -> None:
    more = "  - {name: maps, model: {curve: v100/resnet50}, slo_ms: 5, traffic: {rps: 1}}\n"
    [(name, why)] = impossible_in(run(SMALL + more)).items()
    assert name == "maps"
    assert why.startswith("the objective of 5 ms is impossible: one input takes 13.4 ms at the median")


def test_a_function_larger_than_any_device_is_told() -> None:
    [(_, why)] = impossible_in(run(with_function(f"{GOOD}\nslice: {{gpu_mem_mib: 20000}}"))).items()
    assert why == "a replica takes 20000 MiB, larger than any device: expected at most 16384 MiB"


def test_a_policy_goes_into_definitions_unless_they_name_their_own() -> None:
    own = "  - {name: maps, model: {curve: v100/bert}, autoscale: {max: 2, policy: paper}, traffic: {rps: 1}}\n"
    specs = [function.spec for function in run(SMALL + own, "time_sharing").functions]
    assert [spec.autoscale.policy for spec in specs if spec.autoscale] == ["time_sharing", "paper"]


def test_fixed_replicas_keep_their_slices_except_where_sms_are_not_shared() -> None:
    text = with_function(f"{GOOD}\nreplicas: 2\nslice: {{sm_partition: 12, quota_request: 0.4, quota_limit: 0.6}}")
    slices = {
        policy: run(text, policy).functions[0].spec.slice for policy in ("objective", "time_sharing", "exclusive")
    }
    found = {name: (held.sm_partition, held.quota_request, held.quota_limit) for name, held in slices.items()}
    assert found == {"objective": (12, 0.4, 0.6), "time_sharing": (100, 0.4, 0.6), "exclusive": (100, 1.0, 1.0)}


def test_every_policy_has_the_same_traffic_and_each_function_its_own() -> None:
    twice = SMALL + "  - {name: maps, model: {curve: v100/resnet50}, traffic: {rps: 50}}\n"
    one, other = run(twice, "objective").functions, run(twice, "paper").functions
    assert list(one[0].arrivals) == list(other[0].arrivals) == list(one[0].arrivals)
    assert list(one[0].arrivals) != list(one[1].arrivals)


def test_devices_lie_on_nodes_as_asked_and_keep_to_it_when_there_are_more() -> None:
    text = SMALL.replace("count: 2", "count: 4, nodes: 2")
    assert [device.device for device in run(text).devices] == [
        "node-0-gpu0",
        "node-1-gpu0",
        "node-0-gpu1",
        "node-1-gpu1",
    ]
    grown = resized(read(text).scenario, 7)
    assert (grown.groups[0].count, grown.groups[0].nodes) == (7, 4)


def test_what_the_scenario_says_of_the_scheduler_reaches_it() -> None:
    settings = run(SMALL + "scheduler: {headroom: 0.4, idle_s: 7, tick_ms: 250}\n").settings
    assert (settings.headroom, settings.idle_us, settings.tick_us) == (0.4, 7_000_000, 250_000)


def test_an_objective_that_half_of_the_batches_are_quick_enough_for_is_possible() -> None:
    half = run(with_function(f"{GOOD}\nslo_ms: 13.9\nslo_percentile: 50"))
    assert (impossible_in(half), doubtful_in(half)) == ({}, {})
    most = run(with_function(f"{GOOD}\nslo_ms: 13.9\nslo_percentile: 99"))
    assert impossible_in(most) == {}
    assert "can be answered within 13.9 ms, expected 99%" in doubtful_in(most)["photos"]


def test_neighbours_stretch_batches_of_curves_as_on_sim_devices_and_the_scheduler_knows() -> None:
    usual, own = run(SMALL), run(SMALL + "stretch_permille: 100\nwindow_ms: 50\n")
    assert (usual.stretch_permille, usual.settings.stretch) == (250, 0.25)
    assert (own.stretch_permille, own.settings.stretch, own.settings.window_us) == (100, 0.1, 50_000)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("sample_s: 30\n", "sample_s is 30, expected at most what the scenario lasts, 20 s"),
        ("sample_s: 0.001\n", "sample_s is 0.001, which makes 30,000,000 samples over 1 functions"),
    ],
)
def test_samples_are_neither_longer_than_the_run_nor_too_many(more: str, problem: str) -> None:
    text = SMALL if "30\n" in more else SMALL.replace("20\n", "30000\n", 1)
    assert problems(text + more)[0].startswith(problem)


def test_whose_rows_of_a_trace_that_does_not_tell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_s,rps\n0,20\n10,20\n20,20\n")
    lines = "model: {curve: v100/resnet50}\ntraffic: {trace: {file: t.csv, function: maps}}"
    [told] = problems(with_function(lines), tmp_path)
    assert told.startswith("functions[0] (photos): trace.function is 'maps', but t.csv has no column 'function'")


def test_what_a_trace_does_not_tell_is_noted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_s,rps\n0,20\n1000,20\n")
    lines = "model: {curve: v100/resnet50}\ntraffic: {trace: {file: t.csv}}"
    twice = "  - {name: maps, model: {curve: v100/resnet50}, traffic: {trace: {file: t.csv}}}\n"
    text = with_function(lines, twice).replace("duration_s: 20\n", "")
    assert read(text, tmp_path).notes == (
        "t.csv: it does not tell whose rows they are, so each of photos, maps gets all of them",
        "t.csv: its last rates are taken to hold for 1000 s, as long as those before",
    )


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    lines = "model: {curve: v100/resnet50}\ntraffic: {trace: {file: /dev/null}}"
    assert problems(with_function(lines), tmp_path) == ["/dev/null: it is no regular file"]


def test_devices_of_all_groups_are_counted() -> None:
    groups = "devices: [{gpu: v100, count: 60000}, {gpu: v100, count: 60000}]"
    assert problems(SMALL.replace("devices: {gpu: v100, count: 2}", groups))[0].startswith(
        "devices: their count is 120000, expected 1 to 100000"
    )


def test_expected_requests_are_told_without_making_them(tmp_path: Path) -> None:
    found = read(SMALL.replace("rps: 50", "steps: [[0, 10], [10, 20]], scale: 2"))
    assert requests_of(found.scenario, found.sources) == pytest.approx(600)
    (tmp_path / "t.csv").write_text("t_s\n1\n2\n30\n")
    lines = "model: {curve: v100/resnet50}\ntraffic: {trace: {file: t.csv}}"
    found = read(with_function(lines), tmp_path)
    assert requests_of(found.scenario, found.sources) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_digest": ""}, "model_digest is empty"),
        ({"axes": {"sm_partitions": [50, 100], "quotas": [1.0], "batches": []}}, "axes.batches is [], expected"),
        ({"point": {"device_us": 0}}, "surface[0]: expected SMs of 1 to 100"),
        ({"point": {"device_us": -5}}, "surface[0]: expected"),
        ({"point": {"throughput_rps": -1}}, "surface[0]: expected"),
        ({"point": {"sm_partition": 0}}, "surface[0]: expected"),
        ({"point": {"quota": 0.5}}, "surface has"),
    ],
)
def test_a_table_that_nobody_can_have_measured_is_told(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    table = table_of(CURVE, Digest("d"), "sim-v100-16g", 16, 100_000, max_batch=2)
    raw = msgspec.json.decode(msgspec.json.encode(table))
    raw["surface"][0].update(change.pop("point", {}))
    (tmp_path / "t.json").write_bytes(msgspec.json.encode(raw | change))
    text = with_function("model: {table: t.json}\ntraffic: {rps: 1}")
    assert problems(text, tmp_path)[0].startswith(f"t.json: {problem}")
