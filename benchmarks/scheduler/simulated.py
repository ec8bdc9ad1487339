"""The simulated side of the fidelity benchmark: the same definitions, table and arrivals, over virtual time. Pure.

What simulation needs beside these is what a batch and a request's way cost beside the device (`Hops`), and how fast the
device is while the whole platform works beside it. A batch: what passed between two while the platform measured its
table. Way and speed: as in the first real run.
"""

from collections.abc import Sequence
from math import log
from statistics import fmean, median

from msgspec.structs import replace

from benchmarks.ranks import nearest_rank
from benchmarks.scheduler.figures import Answered, answered
from benchmarks.scheduler.real import Scene
from benchmarks.scheduler.sender import Sent
from benchmarks.scheduler.traces import Level
from fastgshare.simulator.core.run import DevicePlan, FunctionPlan, Hops, Run
from fastgshare.simulator.core.world import World

LEAD_US = 2_000_000
"""Before the first arrival: every replica is ready."""
LOAD_US = 100_000
ENOUGH = 10
"""Answers, to tell how fast the device was."""
HALF, TAIL = log(2), log(10)
"""An exponential's median, and what its 95th percentile is above that, in means."""
LEGS = 3
"""Caller to gateway, to worker, to caller: what an idle request takes beyond the device is spread evenly over these."""


def hops_of(scene: Scene, idle: Sequence[Sent]) -> Hops:
    """What a request's way and a batch cost beside the device."""
    beyond_us = median(each.latency_us - each.execute_us for each in idle) - scene.around_batch_us
    leg_us = max(round(beyond_us / LEGS), 0)
    return Hops(client_us=leg_us, worker_us=leg_us, batch_us=scene.around_batch_us)


def hops_under(scene: Scene, sent: Sequence[Sent]) -> Hops:
    """What a request's way costs beside others: the median, and a tail as long as the 95th percentile says."""
    ways = [each.way_us for each in sent if each.batch]
    if len(ways) < ENOUGH:
        return hops_of(scene, [each for each in sent if each.batch] or sent)
    usual_us = nearest_rank(ways, 50)
    tail_us = max(nearest_rank(ways, 95) - usual_us, 0) / TAIL
    leg_us = max(round((usual_us - tail_us * HALF - scene.around_batch_us) / LEGS), 0)
    return Hops(client_us=leg_us, worker_us=leg_us, batch_us=scene.around_batch_us, tail_us=round(tail_us))


def at_speed(scene: Scene, sent: Sequence[Sent]) -> Scene:
    """The same with a device as fast, and as uneven, as it was when these requests ran: times of the table, longer by
    what batches took over it. Nothing else is taken from them."""
    over = over_table(scene, sent)
    if len(over) < ENOUGH:
        return scene
    slowness = fmean(over)
    spread = max(nearest_rank(over, 95) / slowness, 1.0)
    surface = tuple(
        replace(
            point,
            device_us=round(point.device_us * slowness),
            device_p95_us=round(point.device_us * slowness * spread),
            throughput_rps=point.throughput_rps / slowness,
        )
        for point in scene.table.surface
    )
    return replace(scene, table=replace(scene.table, surface=surface))


def over_table(scene: Scene, sent: Sequence[Sent]) -> list[float]:
    """What the batch of each answer took over what the table says of such a batch."""
    ran = [each for each in sent if each.batch]
    told_us = {rows: scene.device_us(rows) for rows in sorted({each.batch for each in ran})}
    return [each.execute_us / told_us[each.batch] for each in ran]


def simulate_level(scene: Scene, level: Level, hops: Hops) -> dict[str, Answered]:
    """What callers of each function would have seen of one level."""
    world = World(run_of(scene, level, hops))
    world.play()
    return {
        name: answered(tally.outcome().counts, tally.latencies, level.patience_us, level.seconds)
        for name, tally in world.scene.tallies.items()
    }


def run_of(scene: Scene, level: Level, hops: Hops) -> Run:
    """One level as a simulation: everything else as it really stands."""
    device = scene.device
    plan = DevicePlan(device.device, scene.node.node, device.kind, device.chunks, device.memory_mib)
    functions = tuple(
        FunctionPlan(
            spec=spec,
            arrivals=[LEAD_US + at_us for at_us in level.arrivals_us[spec.name]],
            patience_us=level.patience_us,
            load_us=LOAD_US,
            reload_us=LOAD_US,
        )
        for spec in scene.specs
    )
    return Run(
        devices=(plan,),
        functions=functions,
        tables={(scene.table.model_digest, scene.table.device_kind): scene.table},
        duration_us=LEAD_US + level.duration_us + level.patience_us,
        hops=hops,
        seed=1,
    )
