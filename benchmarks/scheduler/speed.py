"""How many requests a second of one core are simulated, with everything in it, and which room takes how much of that.

A steady fleet: eight emulated V100s, 48 replicas of three models on slices as the paper has them, at about 80 % of
what they can do. Each request is admitted, routed, batched, waits for tokens, runs and is answered; the scheduler hears
of it all. Processor time is counted, so that other work on the machine matters little; the fastest of several runs.
"""

import time
from collections.abc import Callable, Mapping

from benchmarks.platforms import ROOT
from benchmarks.scheduler.sampling import sampled, shares
from fastgshare.simulator.adapters.reading import Read, complete, parse_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.core.world import simulate

SCENARIO = """
devices: {gpu: v100, count: 8}
duration_s: %g
functions:
  - {name: resnet50, model: {curve: v100/resnet50}, slo_ms: 100, max_batch: 4, replicas: 40, load_ms: 100,
     slice: {sm_partition: 12, quota_request: 1.0, gpu_mem_mib: 1525}, traffic: {rps: 2200, start_s: 1}}
  - {name: bert, model: {curve: v100/bert}, slo_ms: 500, max_batch: 4, replicas: 4, load_ms: 100,
     slice: {sm_partition: 50, quota_request: 1.0, gpu_mem_mib: 1600}, traffic: {rps: 150, start_s: 1}}
  - {name: rnnt, model: {curve: v100/rnnt}, slo_ms: 800, max_batch: 4, replicas: 4, load_ms: 100,
     slice: {sm_partition: 24, quota_request: 1.0, gpu_mem_mib: 800}, traffic: {rps: 38, start_s: 1}}
"""
POLICY = "fixed"
QUICK_S, FULL_S = 6.0, 60.0
QUICK_RUNS, FULL_RUNS = 6, 9


def measure(quick: bool, say: Callable[[str], None]) -> Mapping[str, object]:
    """The figures by key."""
    read = complete(parse_scenario(SCENARIO % (QUICK_S if quick else FULL_S)), ROOT)
    outcomes = []
    for number in range(QUICK_RUNS if quick else FULL_RUNS):
        say(f"speed: run {number + 1}")
        outcomes.append(play(read))
    say("speed: once more, to see where the time goes")
    with sampled() as found:
        play(read)
    best = max(outcomes, key=rate)
    return {
        "sim_requests_per_s": round(rate(best)),
        "sim_time_share": shares(found),
        "sim_requests": best.requests,
        "sim_late_share": round(best.late_share, 4),
        "sim_rows_per_batch": round(best.requests / sum(function.batches for function in best.functions), 2),
    }


def play(read: Read) -> Outcome:
    """One run, its processor time in `Outcome.spent`."""
    return simulate(run_of(read.scenario, POLICY, read.sources), clock=time.process_time)


def rate(outcome: Outcome) -> float:
    """Requests a second of the simulation's own time."""
    return outcome.requests / outcome.spent.wall_s
