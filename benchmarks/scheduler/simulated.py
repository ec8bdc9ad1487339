"""The simulated side of the fidelity benchmark: the same definitions, table and arrivals, over virtual time. Pure.

What simulation needs beside these is how long the way of a request takes (`Hops`): measured on requests that came one
by one to idle functions, as what they took beyond their time on the device.
"""

from collections.abc import Sequence
from statistics import median

from fastgshare.simulator.core.simulation import simulate

from benchmarks.scheduler.figures import Answered
from benchmarks.scheduler.real import PATIENCE_US, Scene
from benchmarks.scheduler.sender import Sent
from benchmarks.scheduler.traces import Level
from fastgshare.simulator.core.outcome import FunctionOutcome
from fastgshare.simulator.core.run import DevicePlan, FunctionPlan, Hops, Run

LEAD_US = 2_000_000
"""Before the first arrival: every replica is ready."""
LOAD_US = 100_000
LEGS = 4
"""Client to gateway to worker, and back: what an idle request takes beyond the device is spread evenly over these."""


def hops_of(idle: Sequence[Sent]) -> Hops:
    """The way of a request, from idle ones."""
    beyond_us = median(each.latency_us - each.execute_us for each in idle)
    leg_us = max(round(beyond_us / LEGS), 0)
    return Hops(client_us=leg_us, worker_us=leg_us)


def simulate_level(scene: Scene, level: Level, hops: Hops) -> dict[str, Answered]:
    """What callers of each function would have seen of one level."""
    outcome = simulate(run_of(scene, level, hops))
    return {function.function: answered(function, level.seconds) for function in outcome.functions}


def run_of(scene: Scene, level: Level, hops: Hops) -> Run:
    """One level as a simulation: everything else as it really stands."""
    device = scene.device
    plan = DevicePlan(device.device, scene.node.node, device.kind, device.chunks, device.memory_mib)
    functions = tuple(
        FunctionPlan(
            spec=spec,
            arrivals=[LEAD_US + at_us for at_us in level.arrivals_us[spec.name]],
            patience_us=PATIENCE_US,
            load_us=LOAD_US,
            reload_us=LOAD_US,
        )
        for spec in scene.specs
    )
    return Run(
        devices=(plan,),
        functions=functions,
        tables={(scene.table.model_digest, scene.table.device_kind): scene.table},
        duration_us=LEAD_US + level.duration_us + PATIENCE_US,
        hops=hops,
        seed=1,
    )


def answered(function: FunctionOutcome, seconds: float) -> Answered:
    """A simulated function's requests as the real ones are counted."""
    counts = function.counts
    return Answered(
        arrived=counts.arrived,
        in_time=counts.in_time,
        refused=counts.refused,
        late=counts.late,
        failed=counts.failed,
        p50_us=function.latency_us.get("50", 0),
        p99_us=function.latency_us.get("99", 0),
        seconds=seconds,
    )
