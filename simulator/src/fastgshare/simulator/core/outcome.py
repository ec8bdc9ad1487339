"""What came of a simulation, as plain data that can be stored: by function, by device, over time."""

import msgspec

from fastgshare.shared.ids import DeviceId, FunctionName, NodeId, ReplicaId


class Counts(msgspec.Struct):
    """Requests of one function, of all the run or of one sample. Every one that arrived is in exactly one of the rest.

    `in_time` were answered within the objective, `late` after it, `refused` and `failed` got an error.
    """

    arrived: int = 0
    in_time: int = 0
    late: int = 0
    refused: int = 0
    failed: int = 0


class FunctionOutcome(msgspec.Struct, kw_only=True):
    """One function's requests.

    `latency_us` are percentiles (50, 90, 95, 99, 99.9, 100) of answers, from the caller's send to its receipt, refusals
    not among them; `mean_us` is their average. `samples` are counts by time of arrival, one for each `sample_us` of the
    run. `busy_us` is device time times the share of the device that it ran on; `replicas` has (when, how many ready) at
    each change. `cold_starts_us` are the waits of first requests for a replica.
    """

    function: FunctionName
    slo_ms: float
    slo_percentile: float
    counts: Counts
    latency_us: dict[str, int]
    samples: list[Counts]
    busy_us: int = 0
    batches: int = 0
    replicas: list[tuple[int, int]] = []
    cold_starts_us: list[int] = []
    infeasible: str = ""
    mean_us: int = 0

    @property
    def attainment(self) -> float:
        """The share of all requests answered within the objective; 1 without any."""
        return self.counts.in_time / self.counts.arrived if self.counts.arrived else 1.0

    @property
    def late_share(self) -> float:
        """The share of all requests that were late, refused or failed."""
        return 1.0 - self.attainment


class Rectangle(msgspec.Struct, frozen=True):
    """What one replica held of a device for a while: neighbouring or other chunks, and its share of their time."""

    function: FunctionName
    replica: ReplicaId
    device: DeviceId
    chunks: tuple[int, ...]
    quota_request: float
    quota_limit: float
    from_us: int
    until_us: int


class Decided(msgspec.Struct, frozen=True):
    """A decision of the scheduler: `kind` as its events on the bus are called, with the reason."""

    at_us: int
    kind: str
    function: FunctionName
    text: str


class DeviceOutcome(msgspec.Struct, kw_only=True):
    """One device of `chunks` chunks (0: not known): for how long anything was placed there, and what it did meanwhile.

    `busy_us` is SM-time at work, as time of all its SMs; `running_us` the time in which anything ran, on however few.
    """

    device: DeviceId
    node: NodeId
    kind: str
    occupied_us: int = 0
    busy_us: int = 0
    running_us: int = 0
    chunks: int = 0


class FleetSample(msgspec.Struct, frozen=True):
    """The fleet at one moment: devices in use, share of their SM-time promised, share of it at work since the last."""

    at_us: int
    devices_used: int
    promised: float
    busy: float


class Spent(msgspec.Struct, kw_only=True):
    """Where the simulation's own time went, in seconds of one core, by room: `gateway`, `node`, and so on."""

    wall_s: float = 0.0
    by_room: dict[str, float] = {}


class Outcome(msgspec.Struct, kw_only=True):
    """All of it."""

    duration_us: int
    sample_us: int
    functions: list[FunctionOutcome]
    devices: list[DeviceOutcome]
    samples: list[FleetSample]
    rectangles: list[Rectangle]
    decisions: list[Decided]
    spent: Spent
    requests: int = 0
    version: int = 1

    @property
    def device_seconds(self) -> float:
        """Device time during which anything was placed, over all devices."""
        return sum(device.occupied_us for device in self.devices) / 1e6

    @property
    def late_share(self) -> float:
        """Over all functions."""
        arrived = sum(function.counts.arrived for function in self.functions)
        in_time = sum(function.counts.in_time for function in self.functions)
        return 1.0 - in_time / arrived if arrived else 0.0
