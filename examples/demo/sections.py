"""What the report says, section by section, for whoever renders it. Pure.

A section is told in full in the file; those that are `brief` also end the demo on the terminal.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from examples.demo.figures import Counts, FunctionFigures, Latency, PhaseFigures, Summary, Target, Verdict
from examples.demo.plot import LABEL_CELLS, LEGEND, over_time
from examples.demo.profiled import why_it_ends
from examples.demo.rectangles import FREE, bands, changes, letters
from examples.demo.wording import ms, share

WRONG_TOLD = 5
REASONS_TOLD = 4
SETTLED = (
    "Settled: the medians of the first and the second half of a point's batches lie within 10 %, so neither warm-up "
    "nor a neighbour shaped it; one that did not settle was measured twice."
)
POLICY_NAMES = {
    "objective": "sharing in space and time (objective)",
    "exclusive": "every function a device to itself (exclusive)",
}
DOOR_NAMES = {"nats": "NATS (Python client)", "http": "HTTP (Open Inference Protocol v2)"}


class Grid(msgspec.Struct, frozen=True):
    """A table: a heading and an alignment (`l` or `r`) for each column, and rows of text."""

    headings: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the report: text, then a table, then lines whose characters stand below each other."""

    title: str
    text: str = ""
    grid: Grid | None = None
    plot: tuple[str, ...] = ()
    after: str = ""
    brief: bool = False


def sections(summary: Summary, picture: str = "") -> list[Section]:
    """The whole report, in order; `picture` is the name of a file beside it that shows the device over time."""
    return [
        _functions(summary),
        _answers(summary),
        _refusals(summary),
        _over_time(summary),
        _rectangles(summary, picture),
        _fleets(summary),
        _phases(summary),
        _doors(summary),
        _time_spent(summary),
        _replicas(summary),
        _memory(summary),
        _profiles(summary),
        _first(summary),
        _books(summary),
        _stages(summary),
        _machine(summary),
    ]


def verdict(summary: Summary) -> str:
    """The run in a sentence or two; it never says OK without saying whether the objectives were met."""
    counts = [figures.counts for figures in summary.functions]
    whole = f"{sum(c.sent for c in counts):,} requests in {summary.load_seconds:.0f} s"
    if summary.problems:
        return f"FAILED, {whole}: {'; '.join(summary.problems)}."
    right = sum(figures.right for figures in summary.functions)
    answered = sum(c.in_time + c.late for c in counts)
    ends = [
        f"{sum(c.in_time for c in counts):,} answered in time",
        *_some(sum(c.late for c in counts), "answered late"),
        *_some(sum(c.refused for c in counts), "refused with a reason"),
        *_some(sum(c.expired for c in counts), "expired"),
    ]
    answers = "every answer" if right == answered else f"{share(right / answered)} of the answers"
    return f"OK: nothing lost, {answers} right; {_objectives_met(summary)}. {whole}: {', '.join(ends)}."


def _objectives_met(summary: Summary) -> str:
    if all(objective.overall.met for objective in summary.objectives.values()):
        return "every objective met"
    below = {function: objective.below_capacity for function, objective in summary.objectives.items()}
    overall = {function: objective.overall for function, objective in summary.objectives.items()}
    return f"objectives met below capacity: {_yes_or_no(below)}; with the overload: {_yes_or_no(overall)}"


def _yes_or_no(verdicts: Mapping[str, Verdict]) -> str:
    return ", ".join(f"{function} {_met(verdict)}" for function, verdict in verdicts.items())


def _met(verdict: Verdict) -> str:
    return "untried" if verdict.met is None else "yes" if verdict.met else "no"


def _judged(verdict: Verdict, target: Target) -> str:
    if verdict.met is None:
        return "untried"
    return f"{_met(verdict)} ({share(verdict.attainment)} in time of {target.percentile:g}%)"


def _some(count: int, what: str) -> list[str]:
    return [f"{count:,} {what}"] if count else []


def _functions(summary: Summary) -> Section:
    columns = [
        (
            f"p{figures.target.percentile:g} in {figures.target.objective_ms:g} ms",
            _judged(summary.objectives[figures.target.function].overall, figures.target),
            _judged(summary.objectives[figures.target.function].below_capacity, figures.target),
            f"{figures.counts.sent:,}",
            f"{figures.answered_rps:.1f}",
            f"{figures.counts.in_time:,}",
            f"{figures.counts.late:,}",
            f"{figures.counts.expired:,}",
            f"{figures.counts.refused:,}",
            share(figures.attainment),
            share(figures.attainment_admitted),
            *(f"{cell} ms" for cell in _percentiles(figures.latency_ms)),
        )
        for figures in summary.functions
    ]
    names = (
        "objective",
        "objective met",
        "met below capacity",
        "sent",
        "answered a second",
        "answered in time",
        "answered late",
        "expired",
        "refused",
        "attainment",
        "of admitted",
        "p50 of answers",
        "p95 of answers",
        "p99 of answers",
    )
    rows = [(name, *(column[at] for column in columns)) for at, name in enumerate(names)]
    headings = ("", *(figures.target.function for figures in summary.functions))
    return Section(
        title="Requests",
        text="Every request carries its function's objective as its deadline. Objective met: by the share in time of "
        "all that was sent; what failed, was refused or expired counts against it. Below capacity: only the phases "
        "whose load was planned to fit.",
        grid=Grid(headings, "l" + "r" * len(columns), rows),
        after="Late: after the objective. Expired: no answer by the deadline. Refused: told why before it ran. "
        "Attainment: answered in time, of all that was sent; of admitted: of what was not refused. Percentiles of "
        "answers: from when a request was due to its answer; they cover only answers that came, and as callers wait no "
        "longer than the deadline, they are cut there.",
        brief=True,
    )


def _answers(summary: Summary) -> Section:
    rows = [
        (
            figures.target.function,
            f"{figures.right:,}",
            f"{figures.wrong:,}",
            share(figures.accuracy),
            f"{figures.target.least_accuracy:.0%}",
            _wrong(figures),
        )
        for figures in summary.functions
    ]
    return Section(
        title="Right answers",
        grid=Grid(("function", "right", "wrong", "accuracy", "at least", "wrong ones"), "lrrrrl", rows),
        brief=True,
    )


def _wrong(figures: FunctionFigures) -> str:
    told = [
        f"{wrong.example}: {wrong.got!r}" + (f" ({wrong.count} times)" if wrong.count > 1 else "")
        for wrong in figures.wrong_examples[:WRONG_TOLD]
    ]
    more = len(figures.wrong_examples) - len(told)
    return "; ".join([*told, f"{more} more"] if more > 0 else told)


def _refusals(summary: Summary) -> Section:
    rows = [
        (figures.target.function, f"{refusals.count:,}", refusals.code, refusals.by, refusals.example)
        for figures in summary.functions
        for refusals in figures.refusals[:REASONS_TOLD]
    ]
    return Section(
        title="Why requests were not answered",
        text="" if rows else "All were.",
        grid=Grid(("function", "requests", "code", "said by", "for example"), "lrlll", rows) if rows else None,
        brief=bool(rows),
    )


def _over_time(summary: Summary) -> Section:
    return Section(title="Second by second", plot=over_time(summary), after=LEGEND, brief=True)


def _rectangles(summary: Summary, picture: str) -> Section:
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


def _fleets(summary: Summary) -> Section:
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
        after="The arrivals of this run on devices such as this machine's, as `fastgshare simulate` reckons it from "
        "the profiles; this run's own attainment, above, has handlers and the sender beside the models. Shares are of "
        "all requests, answered in time.",
        brief=bool(rows),
    )


def _phases(summary: Summary) -> Section:
    functions = [figures.target.function for figures in summary.functions]
    rows = [
        (
            phase.name,
            f"{phase.seconds:.0f}",
            f"{phase.begin:.0%}" if phase.begin == phase.end else f"{phase.begin:.0%} to {phase.end:.0%}",
            *_cores(phase),
            *(_phase_cell(phase.functions[function]) for function in functions),
            _disturbance(phase),
        )
        for phase in summary.phases
    ]
    headings = ("phase", "seconds", "load", "cores busy", "ours", *functions, "")
    return Section(
        title="Phase by phase",
        text="Load is a share of what the machine can do, reckoned from what one request costs. Cores busy is for "
        "anybody on this machine, ours for the demo and all that it started. For each function: requests sent, the "
        "share answered in time, and how many were refused or expired. Where others disturbed a phase, its load is "
        "void: they took some of what it is a share of.",
        grid=Grid(headings, "lrrrr" + "r" * len(functions) + "l", rows),
    )


def _cores(phase: PhaseFigures) -> tuple[str, str]:
    busy = phase.cores_busy
    return ("-", "-") if busy is None else (f"{busy.by_all:.2f}", f"{busy.by_us:.2f}")


def _disturbance(phase: PhaseFigures) -> str:
    if not phase.disturbed or phase.cores_busy is None:
        return ""
    return f"load void, disturbed: others used {phase.cores_busy.by_others:.1f} cores"


def _phase_cell(counts: Counts) -> str:
    ends = [share(counts.attainment), *_some(counts.refused, "refused"), *_some(counts.expired, "expired")]
    return f"{counts.sent:,}: {', '.join(ends)}"


def _doors(summary: Summary) -> Section:
    rows = []
    for door in summary.doors:
        for function, counts in door.functions.items():
            cells = _percentiles(door.latency_ms[function])
            name = DOOR_NAMES.get(door.door, door.door)
            rows.append((name, function, f"{counts.sent:,}", share(counts.attainment), *cells))
    return Section(
        title="Both doors",
        grid=Grid(("door", "function", "sent", "attainment", "p50", "p95", "p99"), "llrrrrr", rows),
    )


def _time_spent(summary: Summary) -> Section:
    rows = []
    for figures in summary.functions:
        means = figures.means_ms
        cells = (means.queue, means.token, means.execute, means.handler, means.elsewhere)
        batches = ", ".join(f"batch {size}: {count:,}" for size, count in figures.batches.items())
        rows.append((figures.target.function, *(ms(cell) for cell in cells), batches))
    headings = ("function", "queue", "token", "execute", "handler", "elsewhere", "answers by size of their batch")
    return Section(
        title="Where the time of an answer went",
        text="Means in ms over answered requests that came by NATS, as the worker tells them: "
        "in its queue, waiting for the token of its chunks, in the model, "
        "in user code (waiting for that process included). Elsewhere: bus, gateway, client, and waiting for a core.",
        grid=Grid(headings, "lrrrrrl", rows),
    )


def _replicas(summary: Summary) -> Section:
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


def _memory(summary: Summary) -> Section:
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


def _profiles(summary: Summary) -> Section:
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


def _first(summary: Summary) -> Section:
    return Section(
        title="First answers",
        text="Before the load, one request at a time, then many at once; both tell how much load is how much.\n\n"
        + "\n".join(f"- {line}" for line in summary.first_answers),
    )


def _books(summary: Summary) -> Section:
    rows = [
        (function, *(f"{count:,}" for count in (b.sent, b.arrived, b.answered, b.refused, b.failed, b.open)))
        for function, b in summary.books.items()
    ]
    return Section(
        title="The gateways' books",
        text="What the gateways counted, first requests included; what arrived and is neither answered, refused nor "
        "failed is open. Failed: ended by the worker or the deadline.",
        grid=Grid(("function", "sent", "arrived", "answered", "refused", "failed", "open"), "lrrrrrr", rows),
        after="More may have arrived than was sent: half-way to its deadline a client sends a request again, in case "
        "it got lost. A gateway that holds or answered it already does not run it again.",
    )


def _stages(summary: Summary) -> Section:
    rows = [(stage.name, f"{stage.seconds:.1f}") for stage in summary.stages]
    total = sum(stage.seconds for stage in summary.stages)
    return Section(title="Stages", grid=Grid(("stage", "seconds"), "lr", [*rows, ("all", f"{total:.1f}")]), brief=True)


def _machine(summary: Summary) -> Section:
    facts = ", ".join(f"{name} {value}" for name, value in summary.machine.items())
    return Section(
        title="The machine",
        text=f"{facts}.\n\nThe sender ran {ms(summary.lag_ms.p50)} ms "
        f"behind its timetable at the median and {ms(summary.lag_ms.p99)} ms at p99; latencies include that. Seed "
        f"{summary.seed}; the run began at {summary.began_at}.",
    )


def _percentiles(latency: Latency) -> tuple[str, str, str]:
    return ms(latency.p50), ms(latency.p95), ms(latency.p99)
