"""Experiment e (`examples/scenarios/service_levels.yaml`) under each policy: who is late, and what it costs."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.platforms import ROOT
from fastgshare.shared.units import us_to_s
from fastgshare.simulator.adapters.reading import read_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.run import Run
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.core.world import simulate

SCENARIO = ROOT / "examples" / "scenarios" / "service_levels.yaml"
POLICIES = ("time_sharing", "paper", "objective")
OURS = "objective"


def measure(quick: bool, say: Callable[[str], None], scenario: Path = SCENARIO) -> dict[str, object]:
    """The figures by key; `quick` changes nothing, so that they mean the same."""
    read = read_scenario(scenario)
    outcomes: dict[str, Outcome] = {}
    promises: dict[str, float] = {}
    for policy in POLICIES:
        say(f"service levels: {scenario.stem} under {policy}")
        run = run_of(read.scenario, policy, read.sources)
        outcomes[policy] = simulate(run)
        promises[policy] = round(promised(run, outcomes[policy]), 1)
    return {
        "late_share_e": round(outcomes[OURS].late_share, 5),
        "device_seconds_e": {policy: round(outcome.device_seconds, 1) for policy, outcome in outcomes.items()},
        "promised_device_seconds_e": promises,
        "late_share_e_by_policy": {policy: round(outcome.late_share, 5) for policy, outcome in outcomes.items()},
        "requests_e": outcomes[OURS].requests,
    }


def promised(run: Run, outcome: Outcome) -> float:
    """Seconds of a whole device that replicas were promised: share of its chunks times quota requested, over time."""
    chunks = {device.device: device.chunks for device in run.devices}
    return sum(
        len(held.chunks) / chunks[held.device] * held.quota_request * us_to_s(held.until_us - held.from_us)
        for held in outcome.rectangles
    )
