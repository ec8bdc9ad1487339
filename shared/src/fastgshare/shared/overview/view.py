"""What a console shows, as plain data: this is also the JSON that the console's page gets. Pure.

Shares are of 1, latencies in milliseconds, rates in requests a second; None stands for what is not known.
"""

import msgspec

WINDOWS_S = {"1m": 60, "10m": 600, "1h": 3600}
"""The windows over which attainment and error budget are told."""
SPARK_S = 2
"""Seconds that one point of a sparkline stands for."""
SPARK_POINTS = 60
DECISIONS = 100
"""How many recent decisions are kept."""


class Piece(msgspec.Struct, frozen=True):
    """A part of a replica's rectangle: `chunks` neighbours from `chunk` on, and `height` of their time from `bottom`.

    A replica has one piece where its chunks are neighbours and the same stretch of time is free on all of them. One
    that `is_over` lies over others: a loan uses time that is theirs where nothing is free.
    """

    chunk: int
    chunks: int
    bottom: float
    height: float
    is_over: bool = False


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """A replica on its device. `had` is its share of the device's time since the heartbeat before."""

    replica: str
    function: str
    node: str
    device: str
    state: str
    generation: int
    chunks: tuple[int, ...] = ()
    quota_request: float = 0.0
    quota_limit: float = 0.0
    pieces: tuple[Piece, ...] = ()
    had: float = 0.0
    depth: int = 0
    is_running: bool = False
    is_loan: bool = False
    memory_mib: float = 0.0
    weights_mib: float = 0.0
    restarts: int = 0
    since_us: int = 0
    reason: str = ""
    note: str = ""


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """A device and who holds what of it. `busy` and `promised` are shares of its chunks' time."""

    device: str
    node: str
    kind: str
    chunks: int
    memory_mib: float
    used_mib: float
    is_healthy: bool
    reason: str = ""
    busy: float = 0.0
    promised: float = 0.0
    busy_spark: tuple[float, ...] = ()
    gauges: dict[str, float] = {}
    replicas: tuple[ReplicaView, ...] = ()


class FunctionView(msgspec.Struct, frozen=True, kw_only=True):
    """A function: what it promises, how it keeps it, and what serves it.

    `attainment` is the share of requests that met the objective, by window of `WINDOWS_S`; `burn` how many times as
    fast as the objective's percentile allows the error budget is spent. `rate` and the latencies are of the last ten
    seconds, `refused` counts since the console looks. Sparklines are oldest first, `SPARK_S` a point.
    """

    function: str
    generation: int
    serving: int
    slo_ms: float
    slo_percentile: float
    policy: str
    wanted_min: int
    wanted_max: int
    ready: int
    replicas: int
    model_digest: str = ""
    attainment: dict[str, float | None] = {}
    burn: dict[str, float | None] = {}
    rate: float = 0.0
    goodput: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    outstanding: int = 0
    held: int = 0
    refused: dict[str, int] = {}
    rate_spark: tuple[float, ...] = ()
    missed_spark: tuple[float, ...] = ()
    profiles: dict[str, str] = {}
    reasons: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Something the platform decided or that happened to it, and why."""

    at_us: int
    kind: str
    function: str
    text: str
    source: str


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instance of a service, and how long ago it was heard."""

    service: str
    instance: str
    silent_ms: int


class PlatformView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, at one moment; lists are in a fixed order (by name), decisions newest first."""

    at_us: int
    services: tuple[ServiceView, ...] = ()
    devices: tuple[DeviceView, ...] = ()
    functions: tuple[FunctionView, ...] = ()
    decisions: tuple[Decision, ...] = ()
