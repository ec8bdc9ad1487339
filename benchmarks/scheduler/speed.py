"""How many requests a second of one core are simulated, with everything in it, and which room takes how much of that.

A steady fleet: emulated V100s on which four models serve under policy `objective`, from nothing on. Requests are
admitted, routed, batched, wait for tokens and run; the scheduler measures, scales and places. The fastest of several
runs is taken: what disturbs a run can only slow it down.
"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.platforms import ROOT
from fastgshare.simulator.adapters.reading import complete, parse_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.core.world import simulate

SCENARIO = """
devices: {gpu: v100, count: 16}
duration_s: %g
functions:
  - {name: resnet50, model: {curve: v100/resnet50}, slo_ms: 100, max_batch: 8,
     autoscale: {min: 1, max: 64}, traffic: {rps: 2400}, slice: {gpu_mem_mib: 416}}
  - {name: bert, model: {curve: v100/bert}, slo_ms: 500, max_batch: 4,
     autoscale: {min: 1, max: 64}, traffic: {rps: 200}, slice: {gpu_mem_mib: 1600}}
  - {name: rnnt, model: {curve: v100/rnnt}, slo_ms: 800, max_batch: 4,
     autoscale: {min: 1, max: 64}, traffic: {rps: 100}, slice: {gpu_mem_mib: 800}}
  - {name: gnmt, model: {curve: v100/gnmt}, slo_ms: 500, max_batch: 4,
     autoscale: {min: 1, max: 64}, traffic: {rps: 200}, slice: {gpu_mem_mib: 800}}
"""
POLICY = "objective"
QUICK_S, FULL_S = 10.0, 60.0
QUICK_RUNS, FULL_RUNS = 2, 5


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """The figures by key."""
    read = complete(parse_scenario(SCENARIO % (QUICK_S if quick else FULL_S)), Path(ROOT))
    best: Outcome | None = None
    for number in range(QUICK_RUNS if quick else FULL_RUNS):
        say(f"speed: run {number + 1}")
        outcome = simulate(run_of(read.scenario, POLICY, read.sources))
        if best is None or rate(outcome) > rate(best):
            best = outcome
    assert best is not None, "there is at least one run"
    spent = best.spent
    return {
        "sim_requests_per_s": round(rate(best)),
        "sim_time_share": {room: round(seconds / spent.wall_s, 3) for room, seconds in sorted(spent.by_room.items())},
        "sim_requests": best.requests,
        "sim_late_share": round(best.late_share, 4),
    }


def rate(outcome: Outcome) -> float:
    """Requests a second of the simulation's own time."""
    return outcome.requests / outcome.spent.wall_s
