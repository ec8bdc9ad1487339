"""How well slices are enforced: the `cpu` device with real inference, and the `sim` side in virtual time.

See README.md beside this file for what each figure means.
"""

import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.command import finish, parser, say
from benchmarks.quota import virtual
from benchmarks.quota.figures import QuotaError, overlaps, quota_error, time_between
from benchmarks.quota.model import CHANNELS, SIDE, write_convolutions, write_heavy
from benchmarks.quota.real import MEMORY_MIB, WINDOW_US, Stand, layers_for, open_loop, spend
from benchmarks.ranks import nearest_rank
from benchmarks.targets import Targets, at_least, at_most, machine, misses, shown
from fastgshare.node_manager.devices.cpu import CpuDevice
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import Lane, StoredModel
from fastgshare.node_manager.worker.app import SWITCH_INTERVAL_S
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.objects import digest_of
from fastgshare.shared.units import US_PER_MS

SHAPE = (1, CHANNELS, SIDE, SIDE)
BATCH_US = 9_000
QUOTAS = (0.1, 0.2, 0.4, 0.5, 0.8)
PACKS = ((0.2, 0.8), (0.5, 0.5), (0.1, 0.4, 0.5), (0.1, 0.2, 0.2, 0.5))
LOAD = 0.7
SEED = 11
HEAVY_MIB = 64
TARGETS: Targets = {
    "max_quota_error_points": at_most(2.0),
    "overlap_violations": at_most(0),
    "isolation_drop": at_least(0.95),
    "p95_ratio_q02": at_most(8.0),
    "spare_time_used": at_least(0.97),
    "decision_us": at_most(20.0),
}


class Plan(msgspec.Struct, frozen=True):
    """Seconds for each measurement; `requests` of the open loops at quota 1.0, a fifth of them at 0.2."""

    alone_s: float
    packed_s: float
    isolation_s: float
    rounds: int
    spare_s: float
    requests: int
    starts: int


QUICK = Plan(alone_s=1.3, packed_s=1.8, isolation_s=0.6, rounds=3, spare_s=1.5, requests=300, starts=3)
FULL = Plan(alone_s=6.0, packed_s=8.0, isolation_s=3.0, rounds=5, spare_s=5.0, requests=3000, starts=7)


def main(argv: Sequence[str]) -> int:
    """Measure, print a table and, as the last line, one JSON object; the exit status."""
    options = parser("how well slices are enforced").parse_args(argv)
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        real = measure_real(plan, Path(home))
    say("virtual time")
    return publish(real, virtual.measure(quick=options.quick), options.check)


def measure_real(plan: Plan, home: Path) -> dict[str, object]:
    """Everything on cores."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as a worker does
    layers = layers_for(write_convolutions, home, BATCH_US, SHAPE)
    stand = Stand(write_convolutions(home / "model.onnx", layers), SHAPE)
    last = (stand.device.chunks - 1,)
    say(f"a network of {layers} convolutions, {stand.device.chunks} cores")
    errors = {f"alone {quota:g}": _quotas(stand, last, [quota], plan.alone_s, is_packed=False) for quota in QUOTAS}
    for pack in PACKS:
        errors[f"packed {' '.join(f'{quota:g}' for quota in pack)}"] = _quotas(
            stand, last, pack, plan.packed_s, is_packed=True
        )
    everything = [error for found in errors.values() for error in found]
    say("isolation, latency, spare time, starts")
    first_ms, shared_ms = _starts(plan.starts, home)
    return {
        "max_quota_error_points": max(abs(error.worst_points) for error in everything),
        "mean_quota_error_points": max(abs(error.mean_points) for error in everything),
        "isolation_drop": _isolation(stand, plan),
        "p95_ratio_q02": _p95_ratio(stand, last, plan),
        "spare_time_used": _spare(stand, last, plan),
        "overlap_violations": overlaps(stand.runs),
        "replica_start_ms": {"first": first_ms, "shared": shared_ms},
        "batch_ms": median(run.end_us - run.start_us for run in stand.runs) / US_PER_MS,
        "batches": len(stand.runs),
        "quota_errors": msgspec.to_builtins(errors),
    }


def _quotas(
    stand: Stand, chunks: tuple[int, ...], quotas: Sequence[float], seconds: float, is_packed: bool
) -> list[QuotaError]:
    """Back-to-back load on each replica; alone its limit holds it, packed the others do."""
    names = [f"r{number}" for number in range(len(quotas))]
    with ExitStack() as stack:
        guests = [
            stack.enter_context(stand.guest(name, chunks, quota, 1.0 if is_packed else quota))
            for name, quota in zip(names, quotas, strict=True)
        ]
        for guest in guests:
            guest.loop()
        spend(2 * WINDOW_US / 1e6)
        begin_us, end_us = spend(seconds)
    return [
        quota_error(stand.core, name, quota, begin_us, end_us, WINDOW_US)
        for name, quota in zip(names, quotas, strict=True)
    ]


def _isolation(stand: Stand, plan: Plan) -> float:
    """A's rate with B beside it over A alone: 24 % each, A 0.5 to 0.8, B 0.5, taking turns."""
    ratios = []
    last = stand.device.chunks - 1
    with stand.guest("a", (last,), 0.5, 0.8) as a, stand.guest("b", (0,), 0.5, 0.5) as b:
        a.loop()
        for _ in range(plan.rounds):
            alone = _rate(a.name, stand, plan.isolation_s)
            b.loop()
            beside = _rate(a.name, stand, plan.isolation_s)
            b.is_looping = False
            while b.outstanding:
                spend(0.005)
            ratios.append(beside / alone)
    return round(median(ratios), 4)


def _rate(name: str, stand: Stand, seconds: float) -> float:
    """Batches a second that ended meanwhile."""
    begin_us, end_us = spend(seconds)
    ended = sum(run.replica == name and begin_us <= run.end_us < end_us for run in stand.runs)
    return ended / (end_us - begin_us)


def _p95_ratio(stand: Stand, chunks: tuple[int, ...], plan: Plan) -> float:
    """The same arrivals, stretched to 70 % of what each quota can do."""
    generator = random.Random(SEED)
    batch_s = median(run.end_us - run.start_us for run in stand.runs) / 1e6
    gaps = [generator.expovariate(LOAD) * batch_s for _ in range(plan.requests)]
    p95 = {}
    for quota, count in ((1.0, plan.requests), (0.2, plan.requests // 3)):
        with stand.guest("p", chunks, quota, quota) as guest:
            p95[quota] = nearest_rank(open_loop(guest, [gap / quota for gap in gaps[:count]]), 95, of_nothing=inf)
    return round(p95[0.2] / p95[1.0], 3)


def _spare(stand: Stand, chunks: tuple[int, ...], plan: Plan) -> float:
    """The share of time that one of two uses while the other has no work; both promised half, limit 1.0."""
    with stand.guest("busy", chunks, 0.5, 1.0) as busy, stand.guest("idle", chunks, 0.5, 1.0):
        busy.loop()
        spend(0.2)
        begin_us, end_us = spend(plan.spare_s)
    own = [run for run in stand.runs if run.replica == "busy"]
    return round(time_between(own, begin_us, end_us) / (end_us - begin_us), 4)


def _starts(times: int, home: Path) -> tuple[float, float]:
    """Milliseconds to open a replica of a model of 64 MiB, as the first and beside one that is there."""
    path = write_heavy(home / "heavy.onnx", HEAVY_MIB)
    model = StoredModel(digest_of(path), path, "onnx")
    device = CpuDevice({"onnx": OnnxRuntime()})
    affinity = os.sched_getaffinity(0)
    first_ms, shared_ms = [], []
    for _ in range(times):
        begin_us = monotonic_us()
        first = device.open_session(model, Lane(ReplicaId("first"), (device.chunks - 1,), MEMORY_MIB))
        first_ms.append((monotonic_us() - begin_us) / US_PER_MS)
        begin_us = monotonic_us()
        second = device.open_session(model, Lane(ReplicaId("second"), (device.chunks - 1,), MEMORY_MIB))
        shared_ms.append((monotonic_us() - begin_us) / US_PER_MS)
        second.close()
        first.close()
    os.sched_setaffinity(0, affinity)
    return round(median(first_ms), 2), round(median(shared_ms), 3)


def publish(real: Mapping[str, object], emulated: virtual.Figures, check: bool) -> int:
    """Say it all; the exit status."""
    sim = virtual.headline(emulated)
    figures = {**real, "decision_us": sim["decision_us"]}
    print(f"{'':<26}{'cpu, real':<12}{'sim, virtual':<14}target")
    for key, target in TARGETS.items():
        print(f"{key:<26}{shown(figures[key]):<12}{shown(sim[key]):<14}{target}")
    missed = [*misses(TARGETS, figures), *(f"sim: {line}" for line in misses(TARGETS, sim))]
    document = {**figures, "sim": sim, "virtual": emulated, "missed": missed, "machine": machine()}
    return finish(document, missed, check=check)
