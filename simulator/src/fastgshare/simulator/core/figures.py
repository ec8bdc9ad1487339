"""An outcome in few figures, and over time: what tables and pictures show. Pure."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from fastgshare.shared.simulated import FunctionFigures, Simulated
from fastgshare.shared.units import US_PER_S, us_to_ms
from fastgshare.simulator.core.outcome import Counts, FunctionOutcome, Outcome
from fastgshare.simulator.core.traffic import Floats

Steps = tuple[list[float], list[float]]
"""Seconds, and the value from each of them on."""


def simulated(policy: str, outcome: Outcome) -> Simulated:
    """All of it in one line."""
    used = [sample for sample in outcome.samples if sample.devices_used]
    weights = [sample.devices_used for sample in used]
    occupied_us = sum(device.occupied_us for device in outcome.devices)
    busy_us = sum(device.busy_us for device in outcome.devices)
    running_us = sum(device.running_us for device in outcome.devices)
    return Simulated(
        policy=policy,
        functions=tuple(figures_of(function) for function in outcome.functions),
        requests=sum(function.counts.arrived for function in outcome.functions),
        late_share=outcome.late_share,
        most_devices=most_devices(outcome),
        device_seconds=outcome.device_seconds,
        promised=float(np.average([sample.promised for sample in used], weights=weights)) if used else 0.0,
        busy=busy_us / occupied_us if occupied_us else 0.0,
        running=running_us / occupied_us if occupied_us else 0.0,
        decisions=len(outcome.decisions),
        wall_s=outcome.spent.wall_s,
    )


def figures_of(function: FunctionOutcome) -> FunctionFigures:
    """One function's."""
    counts = function.counts
    return FunctionFigures(
        function=function.function,
        slo_ms=function.slo_ms,
        slo_percentile=function.slo_percentile,
        requests=counts.arrived,
        attainment=function.attainment,
        late=_share(counts.late, counts),
        refused=_share(counts.refused, counts),
        failed=_share(counts.failed, counts),
        p50_ms=_percentile_ms(function, 50),
        p99_ms=_percentile_ms(function, 99),
        most_replicas=max((count for _, count in function.replicas), default=0),
        infeasible=function.infeasible,
        cold_starts=len(function.cold_starts_us),
        cold_start_ms=us_to_ms(max(function.cold_starts_us)) if function.cold_starts_us else None,
    )


def most_devices(outcome: Outcome) -> int:
    """The largest number of devices that anything was placed on at once."""
    return int(max(devices_used(outcome)[1], default=0))


def devices_used(outcome: Outcome) -> Steps:
    """How many devices held anything, from each change on. From rectangles, so that no short use is missed."""
    spans = [span for _, spans in _spans_by_device(outcome) for span in spans]
    changes: dict[int, int] = {0: 0}
    for from_us, until_us in spans:
        changes[from_us] = changes.get(from_us, 0) + 1
        changes[until_us] = changes.get(until_us, 0) - 1
    times = sorted(changes)
    counts = np.cumsum([changes[at_us] for at_us in times]).tolist()
    return [at_us / US_PER_S for at_us in times], [float(count) for count in counts]


def _spans_by_device(outcome: Outcome) -> list[tuple[str, list[tuple[int, int]]]]:
    """By device the times in which it held anything, as spans that neither touch nor overlap."""
    ordered = sorted(outcome.rectangles, key=lambda held: (held.device, held.from_us))
    found = []
    for device, held in groupby(ordered, key=lambda held: held.device):
        spans: list[tuple[int, int]] = []
        for one in held:
            if spans and one.from_us <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], one.until_us))
            elif one.until_us > one.from_us:
                spans.append((one.from_us, one.until_us))
        found.append((str(device), spans))
    return found


def rates(function: FunctionOutcome, sample_us: int) -> Floats:
    """Requests a second, by sample."""
    return np.array([counts.arrived for counts in function.samples], dtype=float) * US_PER_S / sample_us


def attained(samples: Sequence[Counts], width: int) -> Floats:
    """The share answered in time over `width` samples around each; NaN where none came."""
    came = _around([counts.arrived for counts in samples], width)
    in_time = _around([counts.in_time for counts in samples], width)
    return _ratio(in_time, came, np.nan)


def missed_so_far(functions: Sequence[FunctionOutcome]) -> Floats:
    """By sample, how many requests until then were not answered in time, as a share of all of the run's.

    Over all functions; it never falls, and ends at the share for which the run is known.
    """
    came, in_time = _summed(functions, "arrived"), _summed(functions, "in_time")
    return np.asarray(np.cumsum(came - in_time) / max(came.sum(), 1.0), dtype=np.float64)


def counted_from(function: FunctionOutcome, sample_us: int, from_us: int) -> Counts:
    """The requests that came at `from_us` or later; a sample that `from_us` lies in counts as a whole."""
    kept = function.samples[from_us // sample_us :]
    return Counts(
        arrived=sum(counts.arrived for counts in kept),
        in_time=sum(counts.in_time for counts in kept),
        late=sum(counts.late for counts in kept),
        refused=sum(counts.refused for counts in kept),
        failed=sum(counts.failed for counts in kept),
    )


def _ratio(part: Floats, whole: Floats, otherwise: float) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), otherwise), where=whole > 0), dtype=np.float64)


def _summed(functions: Sequence[FunctionOutcome], field: str) -> Floats:
    rows = [[getattr(counts, field) for counts in function.samples] for function in functions]
    return np.asarray(np.sum(np.array(rows, dtype=float), axis=0), dtype=np.float64)


def _around(values: Sequence[int], width: int) -> Floats:
    """Moving sums over `width` values centred on each, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - (width - 1) // 2, 0), np.minimum(at + width // 2 + 1, len(values))
    return np.asarray(sums[last] - sums[first], dtype=float)


def _share(count: int, counts: Counts) -> float:
    return count / counts.arrived if counts.arrived else 0.0


def _percentile_ms(function: FunctionOutcome, percentile: float) -> float | None:
    """Of answers; None without any."""
    if not function.counts.in_time and not function.counts.late:
        return None
    return us_to_ms(function.latency_us.get(f"{percentile:g}", 0))
