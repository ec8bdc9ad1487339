"""What the simulator tells while it works: one JSON object a line on its standard output, of one of these kinds.

The command `fastgshare simulate` runs the simulator as a process and reads this; neither imports the other.
"""

from collections.abc import Iterator

import msgspec

from fastgshare.shared.typed import json_decoder


class _Told(msgspec.Struct, frozen=True, kw_only=True, tag_field="told", tag=str.lower):
    """A line."""


class Began(_Told, frozen=True, kw_only=True):
    """A simulation begins: what it is called, how many there are to be (0: not known), and requests to be expected."""

    what: str
    duration_s: float
    of: int = 0
    requests: int = 0


class Advanced(_Told, frozen=True, kw_only=True):
    """Virtual time that passed in the simulation under way, and its requests so far."""

    at_s: float
    requests: int


class Noted(_Told, frozen=True, kw_only=True):
    """Something that a person should know; the work goes on."""

    text: str


class FunctionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One function under one policy; shares of all its requests, latencies of answers (None: there was none).

    A cold start is a request that waited for a function's first replica; `cold_start_ms` is the longest such wait.
    """

    function: str
    slo_ms: float
    slo_percentile: float
    requests: int
    attainment: float
    late: float
    refused: float
    failed: float
    p50_ms: float | None
    p99_ms: float | None
    most_replicas: int
    infeasible: str = ""
    cold_starts: int = 0
    cold_start_ms: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the share that the objective names was answered in time."""
        return self.attainment * 100 >= self.slo_percentile


class Simulated(_Told, frozen=True, kw_only=True):
    """What came of one policy. `promised` and `busy` are shares of the SM-time of devices while they were in use.

    `running` is the share of that time in which anything ran on them: the utilization that drivers of GPUs report.
    """

    policy: str
    functions: tuple[FunctionFigures, ...]
    requests: int
    late_share: float
    most_devices: int
    device_seconds: float
    promised: float
    busy: float
    decisions: int
    wall_s: float
    running: float = 0.0


class Tried(_Told, frozen=True, kw_only=True):
    """A number of devices that a plan tried, how many of them were `used` at once, and `why` they are not enough."""

    devices: int
    used: int
    is_enough: bool
    device_seconds: float
    late_share: float
    why: str = ""


class Planned(_Told, frozen=True, kw_only=True):
    """The fewest `devices` that are enough under a policy, or 0 and `why` none are."""

    policy: str
    devices: int
    kind: str
    tried: tuple[Tried, ...]
    why: str = ""


class Wrote(_Told, frozen=True, kw_only=True):
    """A file that people may want to look at."""

    path: str


class Refused(_Told, frozen=True, kw_only=True):
    """Nothing is done; `problems` says what is wrong with what was asked for."""

    problems: tuple[str, ...]


Told = Began | Advanced | Noted | Simulated | Tried | Planned | Wrote | Refused

_decoder = json_decoder(Told)
_encoder = msgspec.json.Encoder()


def line_of(told: Told) -> bytes:
    """A line, with its end."""
    return _encoder.encode(told) + b"\n"


def told_by(line: bytes) -> Iterator[Told]:
    """What a line tells; nothing where it is no such line."""
    try:
        yield _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
