"""Experiment e, alone and in company, and the fleet whose simulation is timed: in small."""

from pathlib import Path

from benchmarks.scheduler import speed
from benchmarks.scheduler.service_levels import ALONE, COMPANY, POLICIES, cost, measure
from fastgshare.simulator.adapters.reading import read_scenario


def short(source: Path, folder: Path) -> Path:
    """The first seconds of a scenario."""
    found = folder / source.name
    steps = [line for line in source.read_text().splitlines(keepends=True) if not line.strip().startswith("- [")]
    found.write_text(
        "".join(steps)
        .replace("duration_s: 200", "duration_s: 15")
        .replace("      steps:\n", "      steps: [[0, 20], [8, 40]]\n")
    )
    return found


def test_in_company_resnet_has_the_load_of_experiment_e_and_bert_one_of_its_own() -> None:
    alone, company = (read_scenario(path).scenario for path in (ALONE, COMPANY))

    assert company.functions[0] == alone.functions[0]
    assert [function.name for function in company.functions] == ["resnet50", "bert"]
    assert (company.devices, company.duration_s, company.seed) == (alone.devices, alone.duration_s, alone.seed)


def test_each_policy_is_told_with_what_it_costs_and_who_kept_the_objective(tmp_path: Path) -> None:
    alone, company = short(ALONE, tmp_path), short(COMPANY, tmp_path)

    figures = measure(quick=True, say=lambda line: None, alone=alone, company=company)

    ours = cost(alone, "objective")
    assert figures["late_share_e"] == ours.late_share
    assert figures["requests_e"] == ours.requests
    for key in ("device_seconds_e", "promised_device_seconds_e", "late_share_e_by_policy", "late_share_e_company"):
        found = figures[key]
        assert isinstance(found, dict)
        assert tuple(found) == POLICIES
    crowded = cost(company, "paper")
    assert figures["late_share_e_company_by_function"]["paper"] == crowded.late_by_function  # type: ignore[index]
    assert crowded.late_by_function.keys() == {"resnet50", "bert"}


def test_functions_of_the_timed_fleet_scale_and_rates_after_the_start_are_told_apart() -> None:
    read = speed.fleet(speed.STEADY_S + 1, speed.PARTS)

    assert len(read.scenario.functions) == sum(speed.PARTS)
    assert all(function.autoscale for function in read.scenario.functions)
    played = speed.play(read)
    assert played.outcome.decisions
    assert played.rps > 0
    assert played.steady_rps > 0
