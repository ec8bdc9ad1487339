"""From outcomes to figures. Pure.

Means of the times on the worker are over the answers whose door tells them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from examples.demo.figures import (
    Books,
    CoresBusy,
    Counts,
    DoorFigures,
    FunctionFigures,
    Latency,
    Means,
    Objective,
    PhaseFigures,
    Refusals,
    Second,
    Target,
    Verdict,
    Wrong,
)
from examples.demo.plan import Phase, spans_us
from examples.demo.reasons import NEVER_SENT, said_by
from examples.demo.tally import Ending, Outcome, mean, percentile, standing
from fastgshare.shared.units import US_PER_MS, US_PER_S, us_to_ms, us_to_s

OTHERS_WORTH_TELLING = 0.15
OTHERS_VOID_A_LEVEL = 0.3
LAG_WORTH_TELLING_MS = 300.0
_NUMBER = re.compile(r"\d+(\.\d+)?")


def function_figures(target: Target, outcomes: Sequence[Outcome], seconds: float) -> FunctionFigures:
    """The figures of one function from its outcomes."""
    counts = counts_of(outcomes, target.objective_ms)
    answered = [outcome for outcome in outcomes if outcome.ending is Ending.ANSWERED]
    right = sum(outcome.right is True for outcome in answered)
    return FunctionFigures(
        target=target,
        counts=counts,
        attainment=counts.attainment,
        attainment_admitted=counts.attainment_admitted,
        sent_rps=counts.sent / seconds,
        answered_rps=len(answered) / seconds,
        latency_ms=latency_of(answered),
        right=right,
        wrong=len(answered) - right,
        accuracy=right / len(answered) if answered else None,
        wrong_examples=_wrong(answered),
        refusals=_refusals(outcomes),
        means_ms=_means(answered),
        batches=dict(sorted(Counter(outcome.batch for outcome in answered if outcome.batch).items())),
        replicas=dict(sorted(Counter(outcome.replica for outcome in answered if outcome.replica).items())),
    )


def phase_figures(
    phases: Sequence[Phase],
    targets: Sequence[Target],
    outcomes: Sequence[Outcome],
    seconds: float,
    cores_busy: Callable[[int, int], CoresBusy | None],
) -> list[PhaseFigures]:
    """Each phase; `cores_busy(begin_us, end_us)` tells how many cores were at work between two moments."""
    spans = spans_us(phases, seconds)
    busy = [cores_busy(begin_us, end_us) for begin_us, end_us in spans]
    return [
        PhaseFigures(
            name=phase.name,
            seconds=us_to_s(end_us - begin_us),
            begin=phase.begin,
            end=phase.end,
            cores_busy=busy[number],
            disturbed=_is_disturbed(busy[number]),
            functions={
                target.function: counts_of(
                    [o for o in outcomes if o.phase == number and o.function == target.function], target.objective_ms
                )
                for target in targets
            },
        )
        for number, (phase, (begin_us, end_us)) in enumerate(zip(phases, spans, strict=True))
    ]


def objectives_of(targets: Sequence[Target], phases: Sequence[PhaseFigures]) -> dict[str, Objective]:
    """Whether each function's objective was met: failures, refusals and what expired count as not in time."""
    below = [phase for phase in phases if phase.is_below_capacity]
    return {
        target.function: Objective(overall=_verdict(target, phases), below_capacity=_verdict(target, below))
        for target in targets
    }


def _verdict(target: Target, phases: Sequence[PhaseFigures]) -> Verdict:
    attainment = sum((phase.functions[target.function] for phase in phases), Counts(0, 0, 0, 0, 0, 0)).attainment
    return Verdict(attainment, target.is_met(attainment))


def _is_disturbed(busy: CoresBusy | None) -> bool:
    return busy is not None and busy.by_others > OTHERS_VOID_A_LEVEL


def door_figures(targets: Sequence[Target], outcomes: Sequence[Outcome]) -> list[DoorFigures]:
    """Each door that was used."""
    found = []
    for door in sorted({outcome.door for outcome in outcomes}, reverse=True):
        by_function = {
            target.function: [o for o in outcomes if o.door == door and o.function == target.function]
            for target in targets
        }
        counts = {target.function: counts_of(by_function[target.function], target.objective_ms) for target in targets}
        found.append(
            DoorFigures(
                door=door,
                functions=counts,
                latency_ms={function: latency_of(_answered(ended)) for function, ended in by_function.items()},
            )
        )
    return found


def timeline(target: Target, outcomes: Sequence[Outcome], seconds: float) -> list[Second]:
    """Second by second, one function's outcomes."""
    buckets: list[list[Outcome]] = [[] for _ in range(max(1, -int(-seconds // 1)))]
    for outcome in outcomes:
        buckets[min(outcome.due_us // US_PER_S, len(buckets) - 1)].append(outcome)
    return [_second(bucket, target.objective_ms) for bucket in buckets]


def counts_of(outcomes: Sequence[Outcome], objective_ms: float) -> Counts:
    """How these ended."""
    objective_us = round(objective_ms * US_PER_MS)
    counted = Counter(standing(outcome, objective_us) for outcome in outcomes)
    return Counts(
        sent=len(outcomes),
        in_time=counted["in_time"],
        late=counted["late"],
        expired=counted["expired"],
        refused=counted["refused"],
        lost=counted["lost"],
    )


def latency_of(answered: Sequence[Outcome]) -> Latency:
    """Percentiles of their latencies."""
    return spread(outcome.latency_us for outcome in answered)


def spread(values_us: Iterable[int]) -> Latency:
    """Percentiles of any times."""
    ordered = sorted(values_us)
    p50, p95, p99, highest = (_ms(percentile(ordered, percent)) for percent in (50, 95, 99, 100))
    return Latency(p50, p95, p99, highest)


def problems_of(functions: Sequence[FunctionFigures], books: dict[str, Books]) -> list[str]:
    """What keeps this run from being a good one, in words."""
    problems = []
    for figures in functions:
        function, counts = figures.target.function, figures.counts
        if counts.lost:
            problems.append(f"{function}: {counts.lost} requests had neither an answer nor a reason")
        book = books.get(function)
        unknown = unaccounted(counts, book) if book is not None else counts.expired
        unknown = max(0, unknown - sum(r.count for r in figures.refusals if NEVER_SENT in r.example))
        if unknown:
            problems.append(f"{function}: of {unknown} requests past their deadline no gateway knows the end")
        if figures.accuracy is None:
            problems.append(f"{function}: nothing was answered")
        elif figures.accuracy < figures.target.least_accuracy:
            least = figures.target.least_accuracy
            problems.append(f"{function}: {figures.accuracy:.1%} of the answers are right, wanted at least {least:.0%}")
    return problems


def notes_on(busy: CoresBusy | None, phases: Sequence[PhaseFigures], lag_ms: Latency, stood_still_us: int) -> list[str]:
    """What disturbed a run: somebody else's work on this machine, or a machine that was overfull or stood still."""
    notes = []
    if busy is not None and busy.by_others >= OTHERS_WORTH_TELLING:
        others = f"{busy.by_others:.2f} cores"
        notes.append(f"others used {others} of this machine during the load: on one of its own more is in time")
    if disturbed := [phase.name for phase in phases if phase.disturbed]:
        notes.append(f"the levels of these phases are void, others disturbed them: {', '.join(disturbed)}")
    if lag_ms.max is not None and lag_ms.max >= LAG_WORTH_TELLING_MS:
        notes.append(f"requests left up to {lag_ms.max / 1000:.1f} s late, because this machine was overfull")
    if stood_still_us:
        notes.append(f"this machine stood still for {us_to_s(stood_still_us):.1f} s, which prolonged the load")
    return notes


def unaccounted(counts: Counts, book: Books) -> int:
    """Expired requests that may have got lost: those that the gateways never saw, or have no ending for."""
    return min(counts.expired, max(0, book.sent - book.arrived) + max(0, book.open))


def _answered(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.ending is Ending.ANSWERED]


def _second(outcomes: Sequence[Outcome], objective_ms: float) -> Second:
    latency = latency_of(_answered(outcomes))
    counts = counts_of(outcomes, objective_ms)
    return Second(sent=counts.sent, in_time=counts.in_time, p50_ms=latency.p50, p99_ms=latency.p99)


def _wrong(answered: Sequence[Outcome]) -> list[Wrong]:
    found = Counter((o.example, o.expected, o.got) for o in answered if o.right is False)
    return [Wrong(*key, count) for key, count in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def _refusals(outcomes: Sequence[Outcome]) -> list[Refusals]:
    """Everything that was not answered, by code and reason."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.ending is not Ending.ANSWERED:
            key = (outcome.code, said_by(outcome.code, outcome.reason), _NUMBER.sub("N", outcome.reason))
            groups.setdefault(key, []).append(outcome)
    found = [Refusals(code, by, len(group), group[0].reason) for (code, by, _), group in groups.items()]
    return sorted(found, key=lambda refusals: (-refusals.count, refusals.code, refusals.example))


def _means(answered: Sequence[Outcome]) -> Means:
    told = [outcome for outcome in answered if outcome.batch]
    return Means(
        queue=_mean_ms(told, lambda o: o.queue_us),
        token=_mean_ms(told, lambda o: o.token_us),
        execute=_mean_ms(told, lambda o: o.execute_us),
        handler=_mean_ms(told, lambda o: o.handler_us),
        elsewhere=_mean_ms(told, lambda o: o.latency_us - o.queue_us - o.token_us - o.execute_us - o.handler_us),
    )


def _mean_ms(outcomes: Sequence[Outcome], time_us: Callable[[Outcome], int]) -> float | None:
    return _ms(mean(time_us(outcome) for outcome in outcomes))


def _ms(time_us: float | None) -> float | None:
    return None if time_us is None else round(us_to_ms(time_us), 3)
