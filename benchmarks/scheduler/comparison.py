"""One trace on both sides, compared level by level of load and function by function. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.scheduler.figures import Answered, Gap, answered, both, gap, mean_gap, worst_gap
from benchmarks.scheduler.sender import Report, Sent
from benchmarks.scheduler.traces import GAP_US, Level
from fastgshare.simulator.core.histogram import Histogram
from fastgshare.simulator.core.outcome import Counts


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
        found.append({name: _of(sent, level, objective_us) for name, sent in by_function.items()})
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
    """The published figures: means over levels and functions, the worst of them beside. A 99th percentile that is
    censored on both sides is in none of them; where all are, there is no such figure."""
    error, repeat = mean_gap([row.error for row in found]), mean_gap([row.repeat for row in found])
    worst, worst_repeat = worst_gap([row.error for row in found]), worst_gap([row.repeat for row in found])
    figures = {
        "fidelity_error_goodput": error.goodput,
        "fidelity_error_p99": error.p99,
        "fidelity_worst_goodput": worst.goodput,
        "fidelity_worst_p99": worst.p99,
        "real_repeat_goodput": repeat.goodput,
        "real_repeat_p99": repeat.p99,
        "real_repeat_worst_p99": worst_repeat.p99,
    }
    return {key: figure for key, figure in figures.items() if figure is not None}


def censored(found: Sequence[Row]) -> list[str]:
    """Levels and functions whose 99th percentile is in no mean."""
    return [f"{row.load:g} {row.function}" for row in found if row.error.p99 is None]


def _of(sent: Sequence[Sent], level: Level, objective_us: int) -> Answered:
    latencies, counts = Histogram(), Counts(arrived=len(sent))
    for each in sent:
        if each.what == "refused":
            counts.refused += 1
        elif each.what == "failed" or each.latency_us > level.patience_us:  # nobody waits for it any more
            counts.failed += 1
        else:
            latencies.add(each.latency_us)
            counts.in_time += each.latency_us <= objective_us
    counts.late = latencies.count - counts.in_time
    return answered(counts, latencies, level.patience_us, level.seconds)
