"""The report's sections on devices and the machine: what was held, costs elsewhere, memory, profiles. Pure."""

from collections import Counter

from examples.demo.figures import Summary
from examples.demo.plot import LABEL_CELLS
from examples.demo.profiled import why_it_ends
from examples.demo.rectangles import FREE, bands, changes, letters
from examples.demo.shapes import Grid, Section
from examples.demo.wording import ms, share

SETTLED = (
    "Settled: the medians of the first and the second half of a point's batches lie within 10 %, so neither warm-up "
    "nor a neighbour shaped it; one that did not settle was measured twice."
)
POLICY_NAMES = {
    "objective": "sharing in space and time (objective)",
    "exclusive": "every function a device to itself (exclusive)",
}


def rectangles(summary: Summary, picture: str) -> Section:
    """What replicas held of the device over the load; `picture` is a file that shows the same."""
    functions = [figures.target.function for figures in summary.functions]
    plot: list[str] = []
    for chunk, lines in bands(summary.moments, summary.load_seconds, functions).items():
        plot += [f"{chunk if at == 0 else '':<{LABEL_CELLS}}{line}" for at, line in enumerate(lines)]
    rows = [
        (function, f"{most}", f"{moved}", f"{resized}")
        for function, (most, moved, resized) in changes(summary.moments).items()
    ]
    legend = ", ".join(f"{letter} is {function}" for function, letter in letters(functions).items())
    return Section(
        title="The device, second by second",
        text=f"![what replicas held]({picture})" if picture else "",
        grid=Grid(("function", "most replicas", "came or went", "slices changed in place"), "lrrr", rows),
        plot=tuple(plot),
        after=f"A block is a chunk of the device (a core), its height all of its time in tenths, a column a second: "
        f"{legend}, {FREE} is promised to nobody, and goes to whoever has work.",
        brief=bool(summary.moments),
    )


def fleets(summary: Summary) -> Section:
    """What the same load takes in simulation."""
    functions = [figures.target.function for figures in summary.functions]
    rows = [
        (
            POLICY_NAMES.get(fleet.policy, fleet.policy),
            f"{fleet.devices}",
            f"{fleet.device_seconds:.0f}",
            *(share(fleet.attainment.get(function)) for function in functions),
        )
        for fleet in summary.fleets
    ]
    return Section(
        title="What the same load costs elsewhere",
        text="" if rows else "Not simulated.",
        grid=Grid(("simulated", "devices", "device seconds", *functions), "lrr" + "r" * len(functions), rows)
        if rows
        else None,
        after="The arrivals of this run on devices such as this machine's: as many as it has where functions share "
        "them, and one for each function where they do not. As `fastgshare simulate` reckons it from "
        "the profiles; this run's own attainment, above, has handlers and the sender beside the models. Shares are of "
        "all requests, answered in time.",
        brief=bool(rows),
    )


def replicas(summary: Summary) -> Section:
    """Every replica at the end."""
    answered = {replica: count for figures in summary.functions for replica, count in figures.replicas.items()}
    rows = [
        (
            status.function,
            status.replica,
            status.device,
            ", ".join(map(str, status.chunks)),
            status.state.value,
            f"{status.memory_mib:.0f}",
            f"{status.load_ms:.0f}",
            f"{answered.get(status.replica, 0):,}",
        )
        for status in summary.replicas
    ]
    headings = ("function", "replica", "device", "chunks", "state", "loading took MiB", "ms", "answers")
    return Section(
        title="Who ran where",
        grid=Grid(headings, "lllllrrr", rows),
        after="Answers that came by NATS: over HTTP the protocol does not tell who gave them. MiB and ms are what "
        "loading took; a worker's total is larger, see Memory in the report.",
        brief=True,
    )


def memory(summary: Summary) -> Section:
    """Of every process."""
    loading: Counter[str] = Counter()
    for status in summary.replicas:
        loading[status.device] += round(status.memory_mib)
    rows = [
        (f"worker {name}", f"{mib:.0f}", f"{loading[name]:,}") if name in loading else (name, f"{mib:.0f}", "-")
        for name, mib in summary.memory_mib.items()
    ]
    return Section(
        title="Memory",
        text="Resident MiB at the end. Loading its replicas is by how much a worker grew while it loaded them; its "
        "total is all it has resident, so runtime, arenas and buffers too.",
        grid=Grid(("process", "total", "loading its replicas took"), "lrr", rows),
    )


def profiles(summary: Summary) -> Section:
    """What the profiler measured, and why it stopped where it did."""
    rows = [
        (
            function,
            f"{point.sm_partition}",
            f"{point.quota:g}",
            f"{point.batch}",
            f"{point.throughput_rps:.1f} \u00b1 {100 * point.throughput_error:.0f} %",
            *(f"{time_us / 1000:.2f}" for time_us in (point.device_us, point.latency_p50_us, point.latency_p99_us)),
            f"{point.runs}",
            "yes" if point.settled else "no",
        )
        for function, profile in summary.profiles.items()
        for point in profile.points
    ]
    headings = ("function", "SMs %", "quota", "batch", "inputs/s", "a batch", "p50", "p99", "batches run", "settled")
    largest = {str(status.function): status.max_batch for status in summary.replicas}
    objectives_ms = {figures.target.function: figures.target.objective_ms for figures in summary.functions}
    ends = {
        function: why_it_ends(profile, largest[function], objectives_ms[function])
        for function, profile in summary.profiles.items()
        if function in largest
    }
    return Section(
        title="Profiles",
        text="Measured by the profiler on slices lent to it, before the load: the model alone, in ms. Latencies are "
        "those of requests that arrive by chance at 80 % of the point's capacity.",
        grid=Grid(headings, "lrrrrrrrrl", rows),
        after="\n\n".join([SETTLED, *(f"{function}: {why}." for function, why in ends.items() if why)]),
    )


def machine(summary: Summary) -> Section:
    """What this ran on, and how far the sender was behind."""
    facts = ", ".join(f"{name} {value}" for name, value in summary.machine.items())
    return Section(
        title="The machine",
        text=f"{facts}.\n\nThe sender ran {ms(summary.lag_ms.p50)} ms "
        f"behind its timetable at the median and {ms(summary.lag_ms.p99)} ms at p99; latencies include that. Seed "
        f"{summary.seed}; the run began at {summary.began_at}.",
    )
