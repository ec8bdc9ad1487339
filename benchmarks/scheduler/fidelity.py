"""How far simulation is from the real platform: one trace on both, on `cpu`, level by level of load.

The real trace runs twice: no simulator can agree better with the real system than that does with itself. What the
simulator knows: the platform's own table; from the first real run how fast the device was beside it, on the average of
all levels; and from the lightest level of that run what a request's way takes. Beside stand the errors with the table
and idle requests alone, and with each level's own speed of the device.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import anyio
import msgspec

from benchmarks.ranks import nearest_rank
from benchmarks.scheduler.comparison import by_level, censored, counted, headline, rows
from benchmarks.scheduler.meter import Meter
from benchmarks.scheduler.real import OBJECTIVE_MS, Budgets, Scene, open_scene, run_trace
from benchmarks.scheduler.sender import Report
from benchmarks.scheduler.simulated import at_speed, hops_of, hops_under, over_table, simulate_level
from benchmarks.scheduler.traces import Level, levels
from fastgshare.shared.units import US_PER_MS

SEED = 5
SHARES = {"steady": 0.6, "capped": 0.4}
OBJECTIVE_US = round(OBJECTIVE_MS * US_PER_MS)
PATIENCE_US = 5 * OBJECTIVE_US
"""What callers wait at most: far longer than the objective, so that the 99th percentile is not cut off at it."""
PASSES = 2
IDLE, WARM = 25, 3
"""Requests of each function before the trace: in the first pass to know their way, in the second as a warm-up only."""
CALM_CORES = 0.3
"""Where others keep more cores busy than that, nothing that was measured tells much about the simulator."""


class Plan(msgspec.Struct, frozen=True):
    """Which levels of load with how much patience, for how long each, and how well the table is known."""

    loads: dict[float, int]
    seconds: float
    budgets: Budgets


QUICK = Plan({0.3: PATIENCE_US, 0.6: PATIENCE_US}, 1.2, Budgets(point_ms=150, open_ms=0, table_s=1.5))
FULL = Plan(
    # Under more than the device can do, a patient caller only makes everybody late: there callers leave at the
    # objective, and goodput tells who was admitted; there is no 99th percentile.
    {0.3: PATIENCE_US, 0.5: PATIENCE_US, 0.7: PATIENCE_US, 1.1: OBJECTIVE_US},
    15.0,
    Budgets(point_ms=600, open_ms=200, table_s=20.0),
)


class Recorded(msgspec.Struct, frozen=True):
    """The real side. `others_cores`: how many cores anybody else kept busy meanwhile, by pass."""

    scene: Scene
    trace: list[Level]
    reports: list[Report]
    others_cores: list[float]


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Run everything; the figures by key."""
    with tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        recorded = anyio.run(record, QUICK if quick else FULL, Path(home), say)
    if (others := max(recorded.others_cores)) > CALM_CORES:
        say(f"fidelity: disturbed: others kept {others:.1f} cores busy meanwhile")
    say("fidelity: the same in virtual time")
    return compared(recorded)


async def record(plan: Plan, home: Path, say: Callable[[str], None]) -> Recorded:
    """The real side: the trace, twice."""
    say("fidelity: a real platform on one core")
    async with open_scene(home, plan.budgets) as scene:
        trace = levels(plan.loads, plan.seconds, scene.capacity_rps, SHARES, SEED)
        reports, others_cores = [], []
        for number in range(PASSES):
            say(f"fidelity: the real trace, {number + 1} of {PASSES}")
            meter = Meter(scene.pids)
            reports.append(await run_trace(scene, trace, IDLE if number == 0 else WARM))
            others_cores.append(round(meter.others_cores(), 2))
    return Recorded(scene, trace, reports, others_cores)


def compared(recorded: Recorded) -> dict[str, object]:
    """The simulated side, and how far it is from the real."""
    scene, trace, reports = recorded.scene, recorded.trace, recorded.reports
    hops = hops_of(scene, reports[0].idle)
    real = [counted(report, trace, OBJECTIVE_US) for report in reports]
    parts = [by_level(report, trace) for report in reports]
    ran = [[sent for part in pair for sent in part] for pair in zip(*parts, strict=True)]
    settled, known = at_speed(scene, reports[0].sent), hops_under(scene, parts[0][0])
    ways = [[sent.way_us for sent in part if sent.batch] for part in ran]
    told = rows(trace, [simulate_level(settled, level, known) for level in trace], real)
    plain = headline(rows(trace, [simulate_level(scene, level, hops) for level in trace], real))
    at_their_speed = [
        simulate_level(at_speed(scene, sent), level, known) for level, sent in zip(trace, ran, strict=True)
    ]
    corrected = headline(rows(trace, at_their_speed, real))
    return {
        **headline(told),
        "fidelity_error_goodput_by_table": plain["fidelity_error_goodput"],
        "fidelity_error_p99_by_table": plain.get("fidelity_error_p99"),
        "fidelity_error_goodput_at_speed": corrected["fidelity_error_goodput"],
        "fidelity_error_p99_at_speed": corrected.get("fidelity_error_p99"),
        "fidelity_p99_censored": censored(told),
        "fidelity_disturbed": max(recorded.others_cores) > CALM_CORES,
        "fidelity": {
            "levels": told,
            "hops": {name: asdict(each) for name, each in (("idle", hops), ("lightest level", known))},
            "way_us": {f"p{percent}": [nearest_rank(way, percent) for way in ways] for percent in (50, 99)},
            "capacity_rps": round(scene.capacity_rps, 1),
            "sender_lag_p99_us": nearest_rank([sent.lag_us for report in reports for sent in report.sent], 99),
            "device_over_table": [round(fmean(over_table(scene, sent) or [1.0]), 3) for sent in ran],
            "others_cores": recorded.others_cores,
        },
    }
