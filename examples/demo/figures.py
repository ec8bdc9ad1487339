"""The figures of the report, which are also the JSON beside it. Times in milliseconds.

Shares are honest: attainment divides what was answered in time by everything that was sent.
"""

import msgspec

from examples.demo.rectangles import Moment
from fastgshare.shared.messages import Profile, ReplicaStatus


class Target(msgspec.Struct, frozen=True):
    """What is asked of a function: answers within `objective_ms` for `percentile` of 100, and right ones."""

    function: str
    objective_ms: float
    percentile: float
    least_accuracy: float

    def is_met(self, attainment: float | None) -> bool | None:
        """Whether so large a share in time is enough; None where nothing was sent."""
        return None if attainment is None else attainment * 100 >= self.percentile


class Latency(msgspec.Struct, frozen=True):
    """Percentiles of the answers; None where there were none."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Refusals(msgspec.Struct, frozen=True):
    """Requests that got the same code and, but for numbers, the same reason; `example` is one, `by` who said it."""

    code: str
    by: str
    count: int
    example: str


class Wrong(msgspec.Struct, frozen=True):
    """An answer that was not the right one, and how often it came."""

    example: str
    expected: str
    got: str
    count: int


class Means(msgspec.Struct, frozen=True):
    """Where an answer's time went: in the replica's queue, at its token, in the model, in user code, elsewhere."""

    queue: float | None
    token: float | None
    execute: float | None
    handler: float | None
    elsewhere: float | None


class Counts(msgspec.Struct, frozen=True):
    """How requests ended; they add up to `sent`."""

    sent: int
    in_time: int
    late: int
    expired: int
    refused: int
    lost: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))

    @property
    def attainment(self) -> float | None:
        """The share of all that was sent."""
        return self.in_time / self.sent if self.sent else None

    @property
    def attainment_admitted(self) -> float | None:
        """The share of what was not refused at the door."""
        admitted = self.sent - self.refused
        return self.in_time / admitted if admitted else None


class FunctionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One function over the whole load."""

    target: Target
    counts: Counts
    attainment: float | None
    attainment_admitted: float | None
    sent_rps: float
    answered_rps: float
    latency_ms: Latency
    right: int
    wrong: int
    accuracy: float | None
    wrong_examples: list[Wrong]
    refusals: list[Refusals]
    means_ms: Means
    batches: dict[int, int]
    replicas: dict[str, int]


class Verdict(msgspec.Struct, frozen=True):
    """Whether an objective was met by the share in time of all that was sent; None where nothing was."""

    attainment: float | None
    met: bool | None


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """One function's objective, over the whole load and over the phases that asked for less than there is."""

    overall: Verdict
    below_capacity: Verdict


class CoresBusy(msgspec.Struct, frozen=True):
    """Cores at work on average: for anybody on this machine, and for the demo with all that it started."""

    by_all: float
    by_us: float

    @property
    def by_others(self) -> float:
        """What was not ours."""
        return max(self.by_all - self.by_us, 0.0)


class PhaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One phase: what was planned, and by function how its requests ended.

    Where it was disturbed, its level is void: others took what it was a share of.
    """

    name: str
    seconds: float
    begin: float
    end: float
    cores_busy: CoresBusy | None
    disturbed: bool
    functions: dict[str, Counts]

    @property
    def is_below_capacity(self) -> bool:
        """Whether all of it was planned to fit."""
        return max(self.begin, self.end) < 1


class DoorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One door, by function."""

    door: str
    functions: dict[str, Counts]
    latency_ms: dict[str, Latency]


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """One second of one function, by when its requests were due."""

    sent: int
    in_time: int
    p50_ms: float | None
    p99_ms: float | None


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """One function in the gateways' own counters, warm-up included: `arrived` should be `sent`, `open` nothing."""

    sent: int
    arrived: int
    answered: int
    refused: int
    failed: int
    open: int


class Stage(msgspec.Struct, frozen=True):
    """A part of the run and how long it took."""

    name: str
    seconds: float


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The same load in simulation, under one policy: devices that it took, device time, and who had answers in time."""

    policy: str
    devices: int
    device_seconds: float
    attainment: dict[str, float]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to tell of one run.

    `problems` are why it failed; none: it did what it should. `notes` are what made its figures worse than need be.
    `moments` are who held what of the device during the load, `fleets` what the same load takes in simulation.
    """

    began_at: str
    seed: int
    load_seconds: float
    problems: list[str]
    notes: list[str]
    functions: list[FunctionFigures]
    objectives: dict[str, Objective]
    phases: list[PhaseFigures]
    doors: list[DoorFigures]
    timeline: dict[str, list[Second]]
    lag_ms: Latency
    books: dict[str, Books]
    replicas: list[ReplicaStatus]
    profiles: dict[str, Profile]
    first_answers: list[str]
    stages: list[Stage]
    machine: dict[str, str | int]
    memory_mib: dict[str, float]
    moments: list[Moment] = []
    fleets: list[Fleet] = []
