"""Experiment e (`examples/scenarios/service_levels.yaml`) under each policy: who is late, and what it costs.

Once alone, as published, and once in company (`..._company.yaml`): beside BERT-large, busy all the while, so that time
that one function leaves is wanted by the other. Runs share nothing and are spread over the machine's cores.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.platforms import ROOT
from benchmarks.scheduler.figures import OURS, kept_objective
from fastgshare.shared.units import us_to_s
from fastgshare.simulator.adapters.reading import read_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.run import Run
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.core.world import simulate

SCENARIOS = ROOT / "examples" / "scenarios"
ALONE, COMPANY = SCENARIOS / "service_levels.yaml", SCENARIOS / "service_levels_company.yaml"
POLICIES = ("time_sharing", "paper", "objective")


class Cost(NamedTuple):
    """What a policy made of a scenario: requests, the share of them that was late, refused or failed (and by function),
    seconds in which anything was placed on a device, and seconds of a whole device that replicas were promised."""

    requests: int
    late_share: float
    late_by_function: dict[str, float]
    device_seconds: float
    promised_device_seconds: float


def measure(quick: bool, say: Callable[[str], None], alone: Path = ALONE, company: Path = COMPANY) -> dict[str, object]:
    """The figures by key; `quick` changes nothing, so that they mean the same."""
    say(f"service levels: {alone.stem} and {company.stem} under {', '.join(POLICIES)}")
    tasks = [(scenario, policy) for scenario in (alone, company) for policy in POLICIES]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawned) as pool:
        costs = list(pool.map(cost, *zip(*tasks, strict=True)))
    by_policy = dict(zip(POLICIES, costs, strict=False))
    crowded = dict(zip(POLICIES, costs[len(POLICIES) :], strict=True))
    late = {policy: each.late_share for policy, each in by_policy.items()}
    return {
        "late_share_e": late[OURS],
        "device_seconds_e": {policy: each.device_seconds for policy, each in by_policy.items()},
        "promised_device_seconds_e": {policy: each.promised_device_seconds for policy, each in by_policy.items()},
        "late_share_e_by_policy": late,
        "kept_objective_e": kept_objective(late),
        "requests_e": by_policy[OURS].requests,
        "late_share_e_company": {policy: each.late_share for policy, each in crowded.items()},
        "late_share_e_company_by_function": {policy: each.late_by_function for policy, each in crowded.items()},
        "device_seconds_e_company": {policy: each.device_seconds for policy, each in crowded.items()},
        "promised_device_seconds_e_company": {policy: each.promised_device_seconds for policy, each in crowded.items()},
        "kept_objective_e_company": kept_objective(
            {policy: max(each.late_by_function.values()) for policy, each in crowded.items()}
        ),
    }


def cost(scenario: Path, policy: str) -> Cost:
    """One run."""
    read = read_scenario(scenario)
    run = run_of(read.scenario, policy, read.sources)
    outcome = simulate(run)
    return Cost(
        requests=outcome.requests,
        late_share=round(outcome.late_share, 5),
        late_by_function={function.function: round(function.late_share, 5) for function in outcome.functions},
        device_seconds=round(outcome.device_seconds, 1),
        promised_device_seconds=round(promised(run, outcome), 1),
    )


def promised(run: Run, outcome: Outcome) -> float:
    """Seconds of a whole device that replicas were promised: share of its chunks times quota requested, over time."""
    chunks = {device.device: device.chunks for device in run.devices}
    return sum(
        len(held.chunks) / chunks[held.device] * held.quota_request * us_to_s(held.until_us - held.from_us)
        for held in outcome.rectangles
    )
