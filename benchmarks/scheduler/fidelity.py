"""How far simulation is from the real platform: one trace on both, on `cpu`, level by level of load.

The real trace runs twice: no simulator can agree better with the real system than that does with itself.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from benchmarks.scheduler.figures import Answered, Gap, both, gap, mean_gap, percentile_us, worst_gap
from benchmarks.scheduler.real import GAP_US, OBJECTIVE_MS, SLICES, Budgets, Scene, open_scene, run_trace
from benchmarks.scheduler.sender import Report, Sent
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


class Row(msgspec.Struct, frozen=True):
    """One function at one level: simulated, twice real, how far the first is from the mean of the others, and those
    from each other."""

    load: float
    function: str
    simulated: Answered
    real: tuple[Answered, Answered]
    error: Gap
    repeat: Gap


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Run everything; the figures by key."""
    with tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        scene, trace, reports = anyio.run(_real, QUICK if quick else FULL, Path(home), say)
    say("fidelity: the same in virtual time")
    hops = hops_of([sent for report in reports for sent in report.idle])
    found = rows(trace, [simulate_level(scene, level, hops) for level in trace], [counted(r, trace) for r in reports])
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


def counted(report: Report, trace: Sequence[Level]) -> list[dict[str, Answered]]:
    """What callers of each function saw of each level."""
    found, begin_us = [], 0
    for level in trace:
        end_us = begin_us + level.duration_us
        own = [sent for sent in report.sent if begin_us <= sent.at_us < end_us]
        found.append({name: _of([sent for sent in own if sent.function == name], level.seconds) for name in SLICES})
        begin_us = end_us + GAP_US
    return found


def rows(
    trace: Sequence[Level],
    simulated: Sequence[Mapping[str, Answered]],
    real: Sequence[Sequence[Mapping[str, Answered]]],
) -> list[Row]:
    """Level by level, function by function."""
    first, second = real
    return [
        Row(
            load=level.load,
            function=name,
            simulated=ours[name],
            real=(one[name], other[name]),
            error=gap(ours[name], both(one[name], other[name])),
            repeat=gap(one[name], other[name]),
        )
        for level, ours, one, other in zip(trace, simulated, first, second, strict=True)
        for name in sorted(ours)
    ]


def headline(found: Sequence[Row]) -> dict[str, object]:
    """The published figures: means over levels and functions, the worst of them beside."""
    error, repeat = mean_gap([row.error for row in found]), mean_gap([row.repeat for row in found])
    worst, worst_repeat = worst_gap([row.error for row in found]), worst_gap([row.repeat for row in found])
    return {
        "fidelity_error_goodput": error.goodput,
        "fidelity_error_p99": error.p99,
        "fidelity_worst_goodput": worst.goodput,
        "fidelity_worst_p99": worst.p99,
        "real_repeat_goodput": repeat.goodput,
        "real_repeat_p99": repeat.p99,
        "real_repeat_worst_p99": worst_repeat.p99,
    }


def _of(sent: Sequence[Sent], seconds: float) -> Answered:
    latencies_us = [each.latency_us for each in sent if each.what == "answered"]
    in_time = sum(latency_us <= OBJECTIVE_US for latency_us in latencies_us)
    return Answered(
        arrived=len(sent),
        in_time=in_time,
        refused=sum(each.what == "refused" for each in sent),
        late=len(latencies_us) - in_time,
        failed=sum(each.what == "failed" for each in sent),
        p50_us=percentile_us(latencies_us, 50),
        p99_us=percentile_us(latencies_us, 99),
        seconds=seconds,
    )


def _slowness(scene: Scene, reports: Sequence[Report]) -> float:
    """Time that single inputs took on the device during the traces, over what the table says: how the machine drifted
    between measuring and using it."""
    told = scene.device_us(1)
    took = [each.execute_us for report in reports for each in report.sent if each.batch == 1]
    return sum(took) / len(took) / told if took else 1.0
