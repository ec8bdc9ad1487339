"""Which request goes when: phases of load, and from them and a seed one timetable of arrivals. Pure.

A level is a share of what the machine can do: at 1 its busiest part, be it a core that replicas run on or all cores
together, has as much to do as it can. What one request costs, and how much gets done when everything is busy, was
measured here, so the same phases suit slow machines and fast ones. Arrivals are a Poisson process, because callers do
not wait for each other.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from fastgshare.shared.units import US_PER_S, s_to_us

HTTP_EVERY = 5  # this many requests of a function, and one of them goes by HTTP


class Phase(msgspec.Struct, frozen=True):
    """A stretch of load: its share of the whole, its level from begin to end, and who gets how much of the time."""

    name: str
    weight: float
    begin: float
    end: float
    mix: Mapping[str, float]


class Cost(msgspec.Struct, frozen=True):
    """What one request of a function takes: time on its replica's chunks, and processor time around that.

    `places` are the chunks of each replica, by names that are unique on the machine.
    """

    device_us: float
    around_us: float
    places: tuple[frozenset[str], ...]

    @property
    def total_us(self) -> float:
        """All of it."""
        return self.device_us + self.around_us


class Capacity(msgspec.Struct, frozen=True):
    """How much gets done when everything is busy: the costs of what `cores` cores finish in a second, in seconds.

    Less than a second for each core where cores slow each other down or somebody else uses them.
    """

    cores: int
    done_s: float


class Arrival(msgspec.Struct, frozen=True):
    """One request: when it is due after the load's begin, to whom, with which example, through which door."""

    due_us: int
    function: str
    phase: int
    example: int
    over_http: bool


EVEN = {"filetype": 0.35, "ocr": 0.40, "textdir": 0.25}
FILES = {"filetype": 0.70, "ocr": 0.20, "textdir": 0.10}
LINES = {"filetype": 0.10, "ocr": 0.60, "textdir": 0.30}

# Up to about 0.7 callers that do not wait for each other can be answered in time; closer to 1 queues grow without end.
PHASES = (
    Phase("calm", 8, 0.30, 0.30, EVEN),
    Phase("rising", 16, 0.30, 0.65, EVEN),
    Phase("busy", 8, 0.65, 0.65, EVEN),
    Phase("burst", 6, 1.30, 1.30, EVEN),
    Phase("mostly files", 8, 0.50, 0.50, FILES),
    Phase("mostly lines", 8, 0.50, 0.50, LINES),
    Phase("calm again", 6, 0.30, 0.30, EVEN),
)


def spans_us(phases: Sequence[Phase], seconds: float) -> list[tuple[int, int]]:
    """Begin and end of each phase when all of them together take `seconds`."""
    whole = sum(phase.weight for phase in phases)
    edges = [0.0]
    for phase in phases:
        edges.append(edges[-1] + phase.weight / whole)
    return [(s_to_us(begin * seconds), s_to_us(end * seconds)) for begin, end in itertools.pairwise(edges)]


def full_rates(costs: Mapping[str, Cost], mix: Mapping[str, float], capacity: Capacity) -> dict[str, float]:
    """Requests a second of each function at level 1, when `mix` divides the time among them."""
    whole = sum(mix.values())
    rates = {function: share / whole * US_PER_S / costs[function].total_us for function, share in mix.items()}
    busy: defaultdict[str, float] = defaultdict(float)
    for function, rate in rates.items():
        cost = costs[function]
        for place in cost.places:
            for chunk in place:
                busy[chunk] += rate / len(cost.places) * cost.device_us / US_PER_S
    core_s = capacity.done_s / capacity.cores
    bottleneck = max(1 / capacity.done_s, *(share / core_s for share in busy.values()))
    return {function: rate / bottleneck for function, rate in rates.items()}


def arrivals(
    phases: Sequence[Phase],
    costs: Mapping[str, Cost],
    examples: Mapping[str, int],
    capacity: Capacity,
    seconds: float,
    seed: int,
) -> list[Arrival]:
    """The whole timetable, in order of time; `examples` tells how many each function has."""
    timetable: list[Arrival] = []
    for function, count in examples.items():
        choice = random.Random(f"{seed} {function}")
        order = _rounds(count, choice)
        for number, (due_us, phase) in enumerate(_times(phases, function, costs, capacity, seconds, choice)):
            over_http = number % HTTP_EVERY == HTTP_EVERY - 1
            timetable.append(Arrival(due_us, function, phase, next(order), over_http))
    return sorted(timetable, key=lambda arrival: (arrival.due_us, arrival.function))


def _times(
    phases: Sequence[Phase],
    function: str,
    costs: Mapping[str, Cost],
    capacity: Capacity,
    seconds: float,
    choice: random.Random,
) -> Iterator[tuple[int, int]]:
    """When requests of one function are due, and in which phase: each phase's highest rate, thinned to its slope."""
    for number, (phase, (begin_us, end_us)) in enumerate(zip(phases, spans_us(phases, seconds), strict=True)):
        highest = max(phase.begin, phase.end)
        rate = highest * full_rates(costs, phase.mix, capacity)[function]
        at_us = begin_us + choice.expovariate(rate) * US_PER_S
        while at_us < end_us:
            level = phase.begin + (phase.end - phase.begin) * (at_us - begin_us) / (end_us - begin_us)
            if choice.random() * highest < level:
                yield int(at_us), number
            at_us += choice.expovariate(rate) * US_PER_S


def _rounds(count: int, choice: random.Random) -> Iterator[int]:
    """Every index once in each round, in an order that changes."""
    while True:
        yield from choice.sample(range(count), count)
