"""Runs that tests simulate: fleets, functions and tables in a line each."""

import random
from collections.abc import Iterator

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, Profile, Slice
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.run import DevicePlan, FunctionPlan, Hops
from fastgshare.simulator.core.tables import profile_of

KIND = "sim-test"
CHUNKS = 16
NO_HOPS = Hops(client_us=0, worker_us=0, control_us=0)


def devices(count: int, per_node: int = 1, memory_mib: int = 16_384) -> tuple[DevicePlan, ...]:
    """So many devices, on nodes of `per_node`."""
    return tuple(
        DevicePlan(DeviceId(f"gpu-{n}"), NodeId(f"node-{n // per_node}"), KIND, CHUNKS, memory_mib)
        for n in range(count)
    )


def digest(name: str) -> Digest:
    """The digest of a model of this name."""
    return Digest((name.encode().hex() + "0" * 64)[:64])


def table(name: str, batch_us: int, chunks: int = CHUNKS) -> tuple[tuple[Digest, str], Profile]:
    """A model whose batches take the same on any SMs and of any size, without scatter."""
    curve = SpeedCurve(floor_us=batch_us, work_us=0, fixed=1.0)
    profile = profile_of(curve, digest(name), KIND, chunks, spread=1.0)
    return (digest(name), KIND), profile


def function(
    name: str = "f",
    *,
    held: Slice | None = None,
    replicas: int | None = 1,
    autoscale: Autoscale | None = None,
    max_batch: int = 8,
    slo_ms: float = 100.0,
) -> FunctionSpec:
    """A function whose model has its name."""
    return FunctionSpec(
        name=FunctionName(name),
        model=ModelRef(digest=digest(name), size_bytes=1),
        replicas=None if autoscale else replicas,
        autoscale=autoscale,
        max_batch=max_batch,
        slo_ms=slo_ms,
        slice=held or Slice(sm_partition=100, quota_request=1.0, quota_limit=1.0),
    )


def poisson(rate_rps: float, until_us: int, seed: int = 1, from_us: int = 0) -> Iterator[int]:
    """Arrivals by a Poisson process."""
    chance = random.Random(seed)
    time_us = float(from_us)
    while True:
        time_us += chance.expovariate(rate_rps) * US_PER_S
        if time_us >= until_us:
            return
        yield int(time_us)


def plan(spec: FunctionSpec, arrivals: "Iterator[int] | list[int]", patience_us: int = 10 * US_PER_S) -> FunctionPlan:
    """A function under load, up in a tenth of a second."""
    return FunctionPlan(spec, arrivals, patience_us, load_us=100_000, reload_us=50_000)
