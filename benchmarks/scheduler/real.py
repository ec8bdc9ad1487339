"""The real side of the fidelity benchmark: one core as a device, two functions that share it, and a client beside it.

Everything is as a user has it: definitions, the platform's own table of the model, requests through the Python client
over NATS. Only the device's core is kept for the device: every other process of the platform is put on the others.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median

import anyio
import msgspec

from benchmarks.overhead.machine import pids_of
from benchmarks.platforms import ROOT, client_environment, open_own_platform
from benchmarks.quota.model import COMPACT, write_compact
from benchmarks.quota.real import layers_for
from benchmarks.scheduler.sender import Due, Report, Timetable
from benchmarks.scheduler.traces import GAP_US, Level
from fastgshare.cli.up.config import UpConfig
from fastgshare.client import Client, FunctionDefinition, ModelSource, connect
from fastgshare.shared.messages import DeviceStatus, FunctionSpec, NodeStatus, Profile, ProfileState, Slice
from fastgshare.shared.tables import Table
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import US_PER_S

BATCH_US = 4_000
MAX_BATCH = 4
OBJECTIVE_MS = 100.0
SENDER = "benchmarks.scheduler.sender"
SLICES = {"steady": (0.6, 1.0), "capped": (0.4, 0.4)}
"""Quota requested and its limit, by function: one may use what the other leaves."""


class Budgets(msgspec.Struct, frozen=True):
    """How long a point of the table is measured, and all of them."""

    point_ms: int
    open_ms: int
    table_s: float


class Scene(msgspec.Struct, frozen=True):
    """What stands: enough to simulate it."""

    specs: tuple[FunctionSpec, ...]
    table: Profile
    node: NodeStatus
    nats_url: str
    cores: tuple[int, ...]
    pids: dict[str, int]
    home: Path

    @property
    def device(self) -> DeviceStatus:
        """The one device."""
        return self.node.devices[0]

    @property
    def capacity_rps(self) -> float:
        """What the device can do at its best batch, inputs a second."""
        batches = sorted({point.batch for point in self.table.points})
        return max(batch * US_PER_S / self.device_us(batch) for batch in batches)

    @property
    def around_batch_us(self) -> int:
        """What passed between two batches beyond their device time, while the platform measured them back to back."""
        whole = [point for point in self.table.points if point.quota == 1.0]
        between_us = [point.batch * US_PER_S / point.throughput_rps - point.device_us for point in whole]
        return max(round(median(between_us)), 0) if between_us else 0

    def device_us(self, batch: int) -> int:
        """What the table says that a batch takes on the device's one core."""
        table = Table.of(self.table)
        assert table is not None, "a complete table has points"
        return table.at(100, 1.0, batch).device_us


@asynccontextmanager
async def open_scene(home: Path, budgets: Budgets) -> AsyncIterator[Scene]:
    """The platform with both functions ready and their model measured. Raises RuntimeError where there is no table."""
    layers = layers_for(write_compact, home, BATCH_US, (1, COMPACT))
    model = ModelSource(file=str(write_compact(home / "model.onnx", layers)))
    settings = {"FASTGSHARE_BUDGET_MS": str(budgets.point_ms), "FASTGSHARE_OPEN_MS": str(budgets.open_ms)}
    config = UpConfig(data_dir=home / "platform", nats_port=0, http_port=0, device="cpu", cores=1)
    async with open_own_platform(config, settings) as platform:
        nats_url = platform.endpoints.nats_url
        pids = await pids_of(platform)
        others = _keep_core_free(pids)
        async with connect(nats_url, name="bench", env=client_environment(config.data_dir)) as client:
            for name in SLICES:
                await client.deploy(_definition(name, model))
            table = await _table(client, next(iter(SLICES)), budgets.table_s)
            status = await client.status()
            specs = tuple(await client.functions())
        yield Scene(specs, table, status.nodes[0], nats_url, others, pids, home)


async def run_trace(scene: Scene, trace: Sequence[Level], idle: int) -> Report:
    """Send all levels one after the other from a process of its own, after `idle` requests of each function alone."""
    due, begin_us = [], 0
    for level in trace:
        due += [
            Due(begin_us + at_us, function, level.patience_us)
            for function, times in level.arrivals_us.items()
            for at_us in times
        ]
        begin_us += level.duration_us + GAP_US
    timetable = Timetable(
        nats_url=scene.nats_url,
        idle=idle,
        functions=tuple(spec.name for spec in scene.specs),
        due=tuple(sorted(due, key=lambda each: (each.at_us, each.function))),
        cores=scene.cores,
    )
    told, written = scene.home / "timetable.json", scene.home / "report.json"
    told.write_bytes(msgspec.json.encode(timetable))
    await anyio.run_process([sys.executable, "-m", SENDER, str(told), str(written)], stdout=None, stderr=None, cwd=ROOT)
    return decode_json(Report, written.read_bytes())


def _definition(name: str, model: ModelSource) -> FunctionDefinition:
    request, limit = SLICES[name]
    held = Slice(sm_partition=100, quota_request=request, quota_limit=limit, gpu_mem_mib=128)
    return FunctionDefinition(name=name, model=model, slo_ms=OBJECTIVE_MS, max_batch=MAX_BATCH, replicas=1, slice=held)


async def _table(client: Client, function: str, budget_s: float) -> Profile:
    reports = [report async for report in client.profile(function, budget_s=budget_s)]
    if reports[-1].state is not ProfileState.COMPLETE:
        raise RuntimeError(f"no table of {function}: {reports[-1].reason}")
    return (await client.profiles(function))[0]


def _keep_core_free(pids: Mapping[str, int]) -> tuple[int, ...]:
    """Put everything but the device's worker on other cores than the first, where there are any; which those are."""
    others = tuple(sorted(os.sched_getaffinity(0))[1:])
    for name, pid in pids.items():
        if others and not name.startswith("worker"):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(ProcessLookupError):  # that thread ended
                    os.sched_setaffinity(int(task.name), others)
    return others
