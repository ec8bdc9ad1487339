"""How much of a grid has to be measured to know all of it: emulated V100s in virtual time, and a real model on cores.

See README.md beside this file for what each figure means.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from benchmarks.command import finish, parser, say
from benchmarks.profiler import real, virtual
from benchmarks.profiler.figures import Comparison, compare
from benchmarks.profiler.replay import follow
from benchmarks.targets import Targets, at_least, at_most, machine, misses, shown
from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.node_manager.devices.sim.gpus import GPUS
from fastgshare.profiler.core.plan import axes_for

GPU = "v100"
MAX_BATCH = 8
QUICK_MODELS = ("bert",)
SEEDS = (1, 2)
"""The few points and the grid scatter differently: what is compared was never the same measurement."""
QUICK_BUDGETS = real.Budgets(closed_ms=200, open_ms=35, precision=0.08, max_batch=2, passes=1)
FULL_BUDGETS = real.Budgets(closed_ms=300, open_ms=100, precision=0.05, max_batch=4, passes=3)
TARGETS: Targets = {
    "points_used_share": at_most(0.35),
    "median_error": at_most(0.05),
    "p95_error": at_most(0.12),
    "rank_agreement": at_least(0.95),
}


class Sim(msgspec.Struct, frozen=True):
    """The worst of the emulated models, key by key; seconds of the device's own time; every model beside it."""

    points_used_share: float
    median_error: float
    p95_error: float
    rank_agreement: float
    adaptive_device_s: float
    grid_device_s: float
    wall_s: float
    models: tuple[Comparison, ...]


def main(argv: Sequence[str]) -> int:
    """Measure, print a table and, as the last line, one JSON object; the exit status."""
    options = parser("how much of a grid has to be measured to know it").parse_args(argv)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        say("a real model on cores, through the platform")
        budgets = QUICK_BUDGETS if options.quick else FULL_BUDGETS
        cores = anyio.run(real.measure, budgets, Path(home) / "platform", real.network(Path(home), budgets.max_batch))
    emulated = measure_emulated(options.quick)
    return publish(cores, emulated, time.monotonic() - began_s, options.check)


def measure_emulated(quick: bool) -> Sim:
    """Both tables of each model."""
    began_s = time.monotonic()
    comparisons: list[Comparison] = []
    adaptive_s = grid_s = 0.0
    for name, fitted in shipped().items():
        gpu, _, model = name.partition("/")
        if gpu != GPU or (quick and model not in QUICK_MODELS):
            continue
        say(f"{name} in virtual time")
        few, all_ = (virtual.Emulated(fitted.curve, GPUS[GPU].chunks, seed) for seed in SEEDS)
        axes = axes_for(GPUS[GPU].chunks, MAX_BATCH)
        points, survey = follow(axes, few.measure)
        whole = virtual.grid(axes, all_.measure)
        comparisons.append(compare(name, points, survey.surface, whole))
        adaptive_s += virtual.seconds(few)
        grid_s += virtual.seconds(all_)
    return Sim(
        points_used_share=max(each.points_used_share for each in comparisons),
        median_error=max(each.median_error for each in comparisons),
        p95_error=max(each.p95_error for each in comparisons),
        rank_agreement=min(each.rank_agreement for each in comparisons),
        adaptive_device_s=round(adaptive_s, 1),
        grid_device_s=round(grid_s, 1),
        wall_s=round(time.monotonic() - began_s, 2),
        models=tuple(comparisons),
    )


def publish(cores: real.Real, emulated: Sim, wall_s: float, check: bool) -> int:
    """Say it all; the exit status."""
    columns = {"cpu": msgspec.to_builtins(cores.comparison), "sim": msgspec.to_builtins(emulated)}
    print(f"{'':<22}{'cpu, real':<12}{'sim, virtual':<14}target")
    for key, target in TARGETS.items():
        print(f"{key:<22}{shown(columns['cpu'][key]):<12}{shown(columns['sim'][key]):<14}{target}")
    missed = [f"{side}: {line}" for side, figures in columns.items() for line in misses(TARGETS, figures)]
    worst = {key: target.worse(columns["cpu"][key], columns["sim"][key]) for key, target in TARGETS.items()}
    document = {**worst, "wall_s": round(wall_s, 1), "cpu": cores, "sim": emulated, "missed": missed}
    return finish({**document, "machine": machine()}, missed, check=check)
