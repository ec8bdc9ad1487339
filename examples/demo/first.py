"""The first answers of each function, one request at a time: real answers to look at, and what one request costs.

The profile knows the model on its sample; here real inputs of all sizes go the whole way, so what user code, bus,
gateway and client take is in the cost too.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

import msgspec

from examples.demo.books import Ledger
from examples.demo.doors import HttpDoor, NatsDoor
from examples.demo.inputs import Example
from examples.demo.plan import Cost
from examples.demo.sender import answer_of
from fastgshare.client import Result
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.messages import Profile, ReplicaState, ReplicaStatus
from fastgshare.shared.units import us_to_ms

REQUESTS = 20
FIRST_TIMEOUT_S = 10.0
KEPT_SHARE = 0.9  # the slowest had a neighbour, or were the first of all


class Taste(msgspec.Struct, frozen=True):
    """One function's first answers: what one request costs, and lines to read."""

    cost: Cost
    lines: list[str]


async def taste(
    nats: NatsDoor, http: HttpDoor, examples: Sequence[Example], places: tuple[frozenset[str], ...], ledger: Ledger
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


def places_of(function: str, replicas: Sequence[ReplicaStatus]) -> tuple[frozenset[str], ...]:
    """The chunks of each ready replica, by names that are unique on this machine."""
    return tuple(
        frozenset(f"{status.device} {chunk}" for chunk in status.chunks)
        for status in replicas
        if status.function == function and status.state is ReplicaState.READY
    )


def cost_line(function: str, cost: Cost, profile: Profile | None) -> str:
    """What one request takes, beside what the profile says of the model."""
    alone = next((point.device_us for point in profile.points if point.batch == 1), None) if profile else None
    profiled = f" (its profile: {us_to_ms(alone):.1f})" if alone is not None else ""
    return (
        f"one request of {function} takes {us_to_ms(cost.device_us):.1f} ms in the model{profiled} "
        f"and {us_to_ms(cost.around_us):.1f} ms around it"
    )


def _told(example: Example, result: Result) -> str:
    got = answer_of(example, result)
    name = f"a line with {example.name!r}" if example.function != "filetype" else example.name
    right = "" if example.is_right(result.outputs) else f" (wrong: it is {example.expected!r})"
    return f"{example.function}: {name} is {got!r}{right}"


def _spread(examples: Sequence[Example], count: int) -> Iterator[Example]:
    """This many, from all over the list."""
    for number in range(count):
        yield examples[number * len(examples) // count]


def _usual(times_us: Sequence[float]) -> float:
    return fmean(sorted(times_us)[: max(1, round(KEPT_SHARE * len(times_us)))])
