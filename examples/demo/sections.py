"""What the report says, section by section, for whoever renders it; `devicesections` has what is said of devices. Pure.

A section is told in full in the file; those that are `brief` also end the demo on the terminal.
"""

from collections.abc import Mapping

from examples.demo import devicesections
from examples.demo.figures import Counts, FunctionFigures, Latency, PhaseFigures, Summary, Target, Verdict
from examples.demo.plot import LEGEND, over_time
from examples.demo.shapes import Grid, Section
from examples.demo.wording import ms, share

WRONG_TOLD = 5
REASONS_TOLD = 4
DOOR_NAMES = {"nats": "NATS (Python client)", "http": "HTTP (Open Inference Protocol v2)"}


def sections(summary: Summary, picture: str = "") -> list[Section]:
    """The whole report, in order; `picture` is the name of a file beside it that shows the device over time."""
    return [
        _functions(summary),
        _answers(summary),
        _refusals(summary),
        _over_time(summary),
        devicesections.rectangles(summary, picture),
        devicesections.fleets(summary),
        _phases(summary),
        _doors(summary),
        _time_spent(summary),
        devicesections.replicas(summary),
        devicesections.memory(summary),
        devicesections.profiles(summary),
        _first(summary),
        _books(summary),
        _stages(summary),
        devicesections.machine(summary),
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


def _percentiles(latency: Latency) -> tuple[str, str, str]:
    return ms(latency.p50), ms(latency.p95), ms(latency.p99)
