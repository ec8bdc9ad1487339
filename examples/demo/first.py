"""The first answers: one request at a time, to look at and to learn what one costs, then as many as the machine can do.

The profile knows the model on its sample, alone on its core; here real inputs of all sizes go the whole way, so what
user code, bus, gateway and client take is in the cost too, and what the cores lose to each other in the capacity.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

import anyio
import msgspec

from examples.demo.books import Ledger
from examples.demo.doors import Door
from examples.demo.faults import first_fault
from examples.demo.inputs import Example
from examples.demo.plan import Capacity, Cost
from examples.demo.sender import answer_of
from fastgshare.client import Result
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.messages import Profile, ReplicaState, ReplicaStatus, Slice
from fastgshare.shared.tables import Table
from fastgshare.shared.units import US_PER_S, us_to_ms

SENTENCES = {
    "filetype": "{name} is {got}",
    "ocr": "a picture of '{name}' reads '{got}'",
    "textdir": "a picture of '{name}' is turned by {got} degrees",
}
REQUESTS = 20
FIRST_TIMEOUT_S = 10.0
CALLERS = 3  # by NATS, and one more by HTTP: enough to keep a replica and everything around it busy
WARM_UP_S, MEASURE_S, PATIENCE_S, TRIES = 0.5, 2.5, 0.5, 3
KEPT_SHARE = 0.9  # the slowest had a neighbour, or were the first of all


class Taste(msgspec.Struct, frozen=True):
    """One function's first answers: what one request costs, and lines to read."""

    cost: Cost
    lines: list[str]


async def taste(
    nats: Door, http: Door, examples: Sequence[Example], places: tuple[frozenset[str], ...], ledger: Ledger
) -> Taste:
    """Send a few. Raises RequestRefused, or NoWord."""
    device_us: list[float] = []
    around_us: list[float] = []
    chosen = list(_spread(examples, REQUESTS))
    lines = []
    for number, example in enumerate(chosen):
        ledger.sent[example.function] += 1
        begun_us = monotonic_us()
        result = await nats.send(example, FIRST_TIMEOUT_S)
        took_us = monotonic_us() - begun_us
        execute_us = result.timing.execute_us if result.timing is not None else took_us
        device_us.append(execute_us)
        around_us.append(took_us - execute_us)
        if number == len(chosen) - 1:
            lines.append(f"{_told(example, result)}, by NATS in {us_to_ms(took_us):.1f} ms")
    ledger.sent[chosen[0].function] += 1
    begun_us = monotonic_us()
    result = await http.send(chosen[0], FIRST_TIMEOUT_S)
    lines.append(f"{_told(chosen[0], result)}, by HTTP in {us_to_ms(monotonic_us() - begun_us):.1f} ms")
    return Taste(Cost(_usual(device_us), _usual(around_us), places), lines)


async def capacity_of(
    nats: Door,
    http: Door,
    examples: Mapping[str, Sequence[Example]],
    costs: Mapping[str, Cost],
    cores: int,
    ledger: Ledger,
) -> tuple[Capacity, dict[str, float]]:
    """What all functions together get done, and each one's answers a second. Raises RequestRefused, or NoWord."""
    done: Counter[str] = Counter()

    async def call_on(door: Door, function: str, first: int) -> None:
        number = first
        while True:
            example = examples[function][number % len(examples[function])]
            ledger.sent[function] += 1
            await door.send(example, FIRST_TIMEOUT_S)
            done[function] += 1
            number += CALLERS + 1

    with first_fault():
        async with anyio.create_task_group() as callers:
            for function in examples:
                for first, door in enumerate([http] + [nats] * CALLERS):
                    callers.start_soon(call_on, door, function, first)
            await anyio.sleep(WARM_UP_S)
            rates = await _rates(done, examples)
            callers.cancel_scope.cancel()
    done_s = sum(rate * costs[function].total_us / US_PER_S for function, rate in rates.items())
    return Capacity(cores, done_s), rates


async def _rates(done: Mapping[str, int], functions: Iterable[str]) -> dict[str, float]:
    """By how much each count grows a second."""
    tries_left = TRIES
    while True:
        before, begun_us = {function: done[function] for function in functions}, monotonic_us()
        await anyio.sleep(MEASURE_S)
        seconds = (monotonic_us() - begun_us) / US_PER_S
        tries_left -= 1
        if seconds < MEASURE_S + PATIENCE_S or not tries_left:  # else this machine stood still: count again
            return {function: (done[function] - count) / seconds for function, count in before.items()}


def places_of(function: str, replicas: Sequence[ReplicaStatus]) -> tuple[frozenset[str], ...]:
    """The chunks of each ready replica, loans aside, by names that are unique on this machine."""
    return tuple(
        frozenset(f"{status.device} {chunk}" for chunk in status.chunks)
        for status in replicas
        if status.function == function and status.state is ReplicaState.READY and not status.loan
    )


def cost_line(function: str, cost: Cost, profile: Profile | None, held: Slice | None) -> str:
    """What one request takes, beside what the profile says of the model on such a slice."""
    table = Table.of(profile) if profile is not None else None
    alone = table.at(held.sm_partition, 1.0, 1).device_us if table is not None and held is not None else None
    profiled = f" (its profile: {us_to_ms(alone):.1f})" if alone is not None else ""
    return (
        f"one request of {function} takes {us_to_ms(cost.device_us):.1f} ms in the model{profiled} "
        f"and {us_to_ms(cost.around_us):.1f} ms around it"
    )


def capacity_line(capacity: Capacity, rates: Mapping[str, float]) -> str:
    """What all functions get done together when everything is busy."""
    together = ", ".join(f"{rate:.0f} of {function}" for function, rate in rates.items())
    return (
        f"all at once this machine answers {together} a second: "
        f"{capacity.done_s:.2f} s of work, were it one after the other, on {capacity.cores} cores"
    )


def _told(example: Example, result: Result) -> str:
    got = answer_of(example, result)
    sentence = SENTENCES.get(example.function, "{name} is {got}").format(name=example.name, got=got)
    right = "" if example.is_right(result.outputs) else f" (wrong: expected {example.expected!r})"
    return f"{example.function}: {sentence}{right}"


def _spread(examples: Sequence[Example], count: int) -> Iterator[Example]:
    """This many, from all over the list."""
    for number in range(count):
        yield examples[number * len(examples) // count]


def _usual(times_us: Sequence[float]) -> float:
    return fmean(sorted(times_us)[: max(1, round(KEPT_SHARE * len(times_us)))])
