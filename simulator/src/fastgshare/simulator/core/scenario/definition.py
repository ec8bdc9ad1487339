"""The keys of a scenario file. Plain data: what may stand there is a matter of `checks`."""

import msgspec

from fastgshare.shared.messages import Autoscale, Slice


class DeviceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`count` equal devices on as many nodes, or on `nodes`; a known `gpu`, or `kind`, `chunks` and `memory_mib`."""

    count: int
    gpu: str | None = None
    kind: str | None = None
    chunks: int | None = None
    memory_mib: int | None = None
    nodes: int | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a model is: the name of a `curve` that is shipped, or a profile as JSON, relative to the scenario."""

    curve: str | None = None
    table: str | None = None


class Diurnal(msgspec.Struct, frozen=True, kw_only=True):
    """A wave around the mean, `peak_ratio` times it at `peak_at_s`; a ratio of 2 goes down to nothing."""

    mean_rps: float
    peak_ratio: float = 1.5
    period_s: float = 86_400.0
    peak_at_s: float = 0.0


class TraceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A CSV file, relative to the scenario; `function` is whose rows, this function's own name by default."""

    file: str
    function: str | None = None


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `rps`, `steps`, `diurnal` and `trace`, times `scale`, from `start_s` until `stop_s`.

    `cv` is the coefficient of variation of the gaps between requests: 1 Poisson, 0 even, more is bursty (Gamma). Steps
    are [from second, requests a second], in seconds since `start_s`.
    """

    rps: float | None = None
    steps: tuple[tuple[float, float], ...] | None = None
    diurnal: Diurnal | None = None
    trace: TraceEntry | None = None
    cv: float = 1.0
    scale: float = 1.0
    start_s: float = 0.0
    stop_s: float | None = None


class FunctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A function and its load. Keys that `fastgshare deploy` knows mean the same here; traffics add up.

    `load_ms` passes from placing a replica to its being ready, `reload_ms` where its weights are on the device already.
    """

    name: str
    model: ModelEntry
    traffic: Traffic | tuple[Traffic, ...]
    slo_ms: float = 1000.0
    slo_percentile: float = 99.0
    max_batch: int = 8
    replicas: int | None = None
    autoscale: Autoscale | None = None
    slice: Slice = Slice()
    weights_mib: float = 0.0
    load_ms: int = 1000
    reload_ms: int = 250
    patience_s: float | None = None

    @property
    def traffics(self) -> tuple[Traffic, ...]:
        """All of its traffic."""
        return (self.traffic,) if isinstance(self.traffic, Traffic) else self.traffic


class FailureEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A `node` with all its devices, or one `device`, is lost at `at_s` and back at `until_s`, or never."""

    at_s: float
    node: str | None = None
    device: str | None = None
    until_s: float | None = None


class SchedulerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The scheduler's own settings, named as in its environment; what is left out is as it is by default."""

    tick_ms: int | None = None
    node_silent_s: float | None = None
    idle_s: float | None = None
    scale_down_s: float | None = None
    scale_up_s: float | None = None
    drain_s: float | None = None
    rate_s: float | None = None
    headroom: float | None = None


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True):
    """For `fastgshare plan`: what came during the first `warmup_s` does not count; it tries up to `most` devices."""

    warmup_s: float = 0.0
    most: int = 1024


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Without `duration_s` it lasts as long as its longest trace."""

    devices: DeviceGroup | tuple[DeviceGroup, ...]
    functions: tuple[FunctionEntry, ...]
    name: str = "scenario"
    description: str = ""
    duration_s: float | None = None
    seed: int = 0
    policies: tuple[str, ...] = ("objective",)
    failures: tuple[FailureEntry, ...] = ()
    scheduler: SchedulerEntry = SchedulerEntry()
    plan: PlanEntry = PlanEntry()
    window_ms: int = 100
    sample_s: float = 1.0
    gateways: int = 1
    stretch_permille: int | None = None

    @property
    def groups(self) -> tuple[DeviceGroup, ...]:
        """All of its devices."""
        return (self.devices,) if isinstance(self.devices, DeviceGroup) else self.devices
