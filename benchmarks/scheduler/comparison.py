"""One trace on both sides, compared level by level of load and function by function. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.scheduler.figures import Answered, Gap, both, gap, mean_gap, percentile_us, worst_gap
from benchmarks.scheduler.sender import Report, Sent
from benchmarks.scheduler.traces import GAP_US, Level


class Row(msgspec.Struct, frozen=True):
    """One function at one level: simulated, twice real, how far the first is from the mean of the others, and those
    from each other."""

    load: float
    function: str
    simulated: Answered
    real: tuple[Answered, Answered]
    error: Gap
    repeat: Gap


def counted(report: Report, trace: Sequence[Level], objective_us: int) -> list[dict[str, Answered]]:
    """What callers of each function saw of each level."""
    found = []
    for level, own in zip(trace, by_level(report, trace), strict=True):
        by_function = {name: [sent for sent in own if sent.function == name] for name in level.arrivals_us}
        found.append({name: _of(sent, level.seconds, objective_us) for name, sent in by_function.items()})
    return found


def by_level(report: Report, trace: Sequence[Level]) -> list[list[Sent]]:
    """Which requests were of which level."""
    found, begin_us = [], 0
    for level in trace:
        end_us = begin_us + level.duration_us
        found.append([sent for sent in report.sent if begin_us <= sent.at_us < end_us])
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


def _of(sent: Sequence[Sent], seconds: float, objective_us: int) -> Answered:
    latencies_us = [each.latency_us for each in sent if each.what == "answered"]
    in_time = sum(latency_us <= objective_us for latency_us in latencies_us)
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
