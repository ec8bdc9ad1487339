"""What is simulated, as plain data: devices, functions and arrivals, tables, failures. Times are virtual, from 0."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import FunctionSpec, Profile
from fastgshare.shared.units import US_PER_MS, US_PER_S


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device of the fleet: `chunks` of SMs in all, memory in MiB."""

    device: DeviceId
    node: NodeId
    kind: str
    chunks: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """A function under load.

    `arrivals` are single inputs, ascending, in microseconds; they may be generated. A caller waits `patience_us` for an
    answer. `load_us` passes from placing a replica to its being ready where its weights (`weights_mib`) are not on the
    device yet, `reload_us` where they are; `own_mib` is what each replica takes beside the weights.
    """

    spec: FunctionSpec
    arrivals: Iterable[int]
    patience_us: int
    load_us: int = US_PER_S
    reload_us: int = US_PER_S // 4
    weights_mib: float = 0.0
    own_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A node (all its devices), or one device of it, is lost at `at_us` and back at `until_us` (None: never)."""

    at_us: int
    node: NodeId
    device: DeviceId | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Hops:
    """What the way of a request costs beside queues and the device, one way each.

    `batch_us` passes with every batch beside its time on the device: its chunks are held, and nobody is charged. On
    cores the replica's thread packs answers and unpacks requests then; on a GPU the host does that while others run.
    `tail_us` is the mean of what an answer's way takes beyond `client_us`, exponentially distributed: processes that
    wait for a core.
    """

    client_us: int = 150
    worker_us: int = 150
    control_us: int = 1 * US_PER_MS
    batch_us: int = 0
    tail_us: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation. `seed` decides about everything that chance does beside the arrivals.

    A batch takes what its model's table says for the SMs that it runs on, scattered between the table's mean and its
    95th percentile; `stretch_permille` more where all the rest of the device is at work beside it.
    """

    devices: tuple[DevicePlan, ...]
    functions: tuple[FunctionPlan, ...]
    tables: Mapping[tuple[Digest, str], Profile]
    duration_us: int
    settings: Settings = field(default_factory=Settings)
    window_us: int = 100 * US_PER_MS
    hops: Hops = field(default_factory=Hops)
    failures: tuple[Failure, ...] = ()
    seed: int = 0
    gateways: int = 1
    stretch_permille: int = 0
    sample_us: int = US_PER_S
    names: Mapping[Digest, str] = field(default_factory=dict)


Progress = Callable[[int, int], None]
"""Told now and then: virtual time passed, requests simulated so far."""


def name_of(function: FunctionPlan) -> FunctionName:
    """Its function's name."""
    return function.spec.name
