"""How far simulation is from the real platform: one trace on both, on `cpu`, level by level of load.

The real trace runs twice: no simulator can agree better with the real system than that does with itself.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import msgspec

from benchmarks.scheduler.comparison import counted, headline, rows
from benchmarks.scheduler.figures import percentile_us
from benchmarks.scheduler.real import OBJECTIVE_MS, Budgets, Scene, open_scene, run_trace
from benchmarks.scheduler.sender import Report
from benchmarks.scheduler.simulated import hops_of, simulate_level
from benchmarks.scheduler.traces import Level, levels
from fastgshare.shared.units import US_PER_MS

SEED = 5
SHARES = {"steady": 0.6, "capped": 0.4}
OBJECTIVE_US = round(OBJECTIVE_MS * US_PER_MS)
PASSES = 2


class Plan(msgspec.Struct, frozen=True):
    """Which levels of load, for how long each, and how well the table is known."""

    loads: tuple[float, ...]
    seconds: float
    budgets: Budgets


QUICK = Plan((0.5, 0.9), 2.0, Budgets(point_ms=150, open_ms=0, table_s=2.0))
FULL = Plan((0.4, 0.7, 0.9, 1.1), 15.0, Budgets(point_ms=600, open_ms=200, table_s=20.0))


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Run everything; the figures by key."""
    with tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        scene, trace, reports = anyio.run(_real, QUICK if quick else FULL, Path(home), say)
    say("fidelity: the same in virtual time")
    hops = hops_of([sent for report in reports for sent in report.idle])
    found = rows(
        trace,
        [simulate_level(scene, level, hops) for level in trace],
        [counted(r, trace, OBJECTIVE_US) for r in reports],
    )
    return {
        **headline(found),
        "fidelity": {
            "levels": found,
            "hops": {"client_us": hops.client_us, "worker_us": hops.worker_us},
            "capacity_rps": round(scene.capacity_rps, 1),
            "sender_lag_p99_us": percentile_us([sent.lag_us for report in reports for sent in report.sent], 99),
            "device_over_table": round(_slowness(scene, reports), 3),
        },
    }


async def _real(plan: Plan, home: Path, say: Callable[[str], None]) -> tuple[Scene, list[Level], list[Report]]:
    say("fidelity: a real platform on one core")
    async with open_scene(home, plan.budgets) as scene:
        trace = levels(plan.loads, plan.seconds, scene.capacity_rps, SHARES, SEED)
        reports = []
        for number in range(PASSES):
            say(f"fidelity: the real trace, {number + 1} of {PASSES}")
            reports.append(await run_trace(scene, trace))
    return scene, trace, reports


def _slowness(scene: Scene, reports: Sequence[Report]) -> float:
    """Time that single inputs took on the device during the traces, over what the table says: how the machine drifted
    between measuring and using it."""
    told = scene.device_us(1)
    took = [each.execute_us for report in reports for each in report.sent if each.batch == 1]
    return sum(took) / len(took) / told if took else 1.0
