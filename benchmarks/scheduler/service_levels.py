"""Experiment e (`examples/scenarios/service_levels.yaml`) under each policy: who is late, and what it costs."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.platforms import ROOT
from fastgshare.simulator.adapters.reading import read_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.core.world import simulate

SCENARIO = ROOT / "examples" / "scenarios" / "service_levels.yaml"
POLICIES = ("time_sharing", "paper", "objective")
OURS = "objective"


def measure(quick: bool, say: Callable[[str], None], scenario: Path = SCENARIO) -> dict[str, object]:
    """The figures by key; `quick` changes nothing, so that they mean the same."""
    read = read_scenario(scenario)
    outcomes: dict[str, Outcome] = {}
    for policy in POLICIES:
        say(f"service levels: {scenario.stem} under {policy}")
        outcomes[policy] = simulate(run_of(read.scenario, policy, read.sources))
    return {
        "late_share_e": round(outcomes[OURS].late_share, 5),
        "device_seconds_e": {policy: round(outcome.device_seconds, 1) for policy, outcome in outcomes.items()},
        "late_share_e_by_policy": {policy: round(outcome.late_share, 5) for policy, outcome in outcomes.items()},
        "requests_e": outcomes[OURS].requests,
    }
