"""A real model on this machine's cores, through the whole platform: deployed, profiled by itself, then on the grid.

The small table is the one that the platform makes unasked; the grid is `fastgshare profile --grid`.
"""

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from benchmarks.profiler.figures import Comparison, compare
from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import open_platform
from fastgshare.client import Client, FunctionDefinition, connect
from fastgshare.client.location import DATA_DIR_VARIABLE
from fastgshare.client.specfile import read_definition
from fastgshare.client.wheels import CACHE_VARIABLE
from fastgshare.shared.messages import Profile, ProfileState

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = "textdir"
SPEC = ROOT / "examples" / "functions" / FUNCTION / "function.yaml"
OBJECTIVE_MS = 60_000.0
"""No batch is left out for its length: the grid is to be predicted whole."""


class Budgets(msgspec.Struct, frozen=True):
    """How long each point is measured, in milliseconds of a closed and of an open loop, and the largest batch."""

    closed_ms: int
    open_ms: int
    max_batch: int


class Real(msgspec.Struct, frozen=True):
    """The comparison; `adaptive_s` and `grid_s` are from asking for a table to having it, the deployment left out."""

    comparison: Comparison
    device_kind: str
    adaptive_s: float
    grid_s: float


async def measure(budgets: Budgets, home: Path) -> Real:
    """Start the platform in `home`, measure, stop it. Raises RuntimeError where a table could not be had."""
    async with _platform(budgets, home) as client:
        await client.deploy(_definition(budgets.max_batch))
        small, adaptive_s = await _profile(client, is_grid=False)
        grid, grid_s = await _profile(client, is_grid=True)
    comparison = compare(FUNCTION, small.points, small.surface, grid.points)
    return Real(comparison, grid.device_kind, round(adaptive_s, 2), round(grid_s, 2))


def _definition(max_batch: int) -> FunctionDefinition:
    """The example, but for its objective and its largest batch."""
    example = read_definition(SPEC)
    assert example.handler is not None
    assert isinstance(example.sample, str)
    handler = replace(example.handler, file=str(SPEC.parent / example.handler.file))
    sample = str(SPEC.parent / example.sample)
    return replace(example, handler=handler, sample=sample, slo_ms=OBJECTIVE_MS, max_batch=max_batch)


async def _profile(client: Client, is_grid: bool) -> tuple[Profile, float]:
    began_s = time.monotonic()
    reports = [report async for report in client.profile(FUNCTION, grid=is_grid, again=is_grid)]
    if reports[-1].state is not ProfileState.COMPLETE:
        raise RuntimeError(f"no table of {FUNCTION}: {reports[-1].reason}")
    return (await client.profiles(FUNCTION))[0], time.monotonic() - began_s


@asynccontextmanager
async def _platform(budgets: Budgets, home: Path) -> AsyncIterator[Client]:
    settings = {
        "FASTGSHARE_BUDGET_MS": str(budgets.closed_ms),
        "FASTGSHARE_OPEN_MS": str(budgets.open_ms),
    }
    before = _changed(settings)
    try:
        async with open_platform(UpConfig(data_dir=home, nats_port=0, http_port=0, device="cpu")) as platform:
            env = {
                **os.environ,
                DATA_DIR_VARIABLE: str(home),
                CACHE_VARIABLE: os.environ.get(CACHE_VARIABLE) or str(ROOT / ".cache" / "wheels"),
            }
            async with connect(platform.endpoints.nats_url, name="bench", env=env) as client:
                yield client
    finally:
        _changed(before)


def _changed(settings: Mapping[str, str | None]) -> dict[str, str | None]:
    """Set these variables for the children to come (None: unset); what they were before."""
    before = {name: os.environ.get(name) for name in settings}
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before
