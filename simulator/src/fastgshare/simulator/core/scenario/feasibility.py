"""What no scheduler can do anything about: objectives below the quickest batch, replicas larger than any device.

A batch's time scatters (`chance`), so that an objective is impossible only where even a batch far below the mean is too
slow; where a part of them is quick enough, but less than the objective's share, that is a note.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile
from fastgshare.shared.tables import Table
from fastgshare.shared.units import ms_to_us, us_to_ms
from fastgshare.simulator.core.chance import Pace, pace_of
from fastgshare.simulator.core.run import FunctionPlan, Hops, Run

HARDLY_EVER = 1e-6
"""No larger share of batches is as quick as an objective that is called impossible."""


def impossible_in(run: Run) -> dict[str, str]:
    """By function, why it can never meet its objective on this fleet; the others are not concerned."""
    found = {}
    for function in run.functions:
        reasons = list(_reasons(function, run))
        if reasons:
            found[str(function.spec.name)] = "; ".join(reasons)
    return found


def _reasons(function: FunctionPlan, run: Run) -> Iterator[str]:
    spec = function.spec
    largest_mib = max(device.memory_mib for device in run.devices)
    if spec.slice.gpu_mem_mib > largest_mib:
        yield (
            f"a replica takes {spec.slice.gpu_mem_mib} MiB, larger than any device: expected at most {largest_mib} MiB"
        )
    quickest = _quickest(function, run)
    if quickest is not None and _share_within(quickest, _left_us(function, run.hops)) < HARDLY_EVER:
        yield (
            f"the objective of {spec.slo_ms:g} ms is impossible: one input takes {us_to_ms(quickest.median_us):.1f} ms "
            f"at the median, alone on the best slice of a device, and {us_to_ms(_way_us(run.hops)):.2f} ms on the way"
        )


def doubtful_in(run: Run) -> dict[str, str]:
    """By function, why no fleet of these devices will meet its objective but by luck; what is impossible not again."""
    impossible, found = impossible_in(run), {}
    for function in run.functions:
        quickest, spec = _quickest(function, run), function.spec
        if quickest is None or str(spec.name) in impossible:
            continue
        share = _share_within(quickest, _left_us(function, run.hops))
        if 100 * share < spec.slo_percentile:
            found[str(spec.name)] = (
                f"hardly more than {share:.1%} can be answered within {spec.slo_ms:g} ms, expected "
                f"{spec.slo_percentile:g}%: one input takes {us_to_ms(quickest.median_us):.1f} ms at the median, alone "
                f"on the best slice of a device, and {us_to_ms(_way_us(run.hops)):.2f} ms on the way"
            )
    return found


def _way_us(hops: Hops) -> int:
    """From the caller to its gateway, on to the replica, and from there back to the caller."""
    return 2 * hops.client_us + hops.worker_us


def _left_us(function: FunctionPlan, hops: Hops) -> float:
    """For the device."""
    return ms_to_us(function.spec.slo_ms) - _way_us(hops) + 0.5  # a batch's time is rounded


def _share_within(pace: Pace, time_us: float) -> float:
    """The share of batches that take no longer."""
    if time_us <= 0:
        return 0.0
    if not pace.sigma:
        return float(pace.median_us <= time_us)
    return NormalDist(0.0, pace.sigma).cdf(math.log(time_us / pace.median_us))


def _quickest(function: FunctionPlan, run: Run) -> Pace | None:
    """Of single inputs on any slice of any kind; None where that is not known of all kinds."""
    kinds = sorted({device.kind for device in run.devices})
    tables = [_table(run.tables, function.spec.model.digest, kind) for kind in kinds]
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(kinds):
        return None
    widths = range(1, 101)
    answers = [table.at(float(width), 1.0, 1) for table in known for width in widths]
    return min((pace_of(answer.device_us, answer.device_p95_us) for answer in answers), key=lambda pace: pace.median_us)


def _table(tables: Mapping[tuple[Digest, str], Profile], digest: Digest, kind: str) -> Table | None:
    profile = tables.get((digest, kind))
    return Table.of(profile) if profile is not None else None
