"""A real model on this machine's cores, through the whole platform: `fastgshare profile --grid`, more than once.

A shared machine drifts by more from one minute to the next than the interpolation is off. So the truth is the mean of
all grids, and the small table is what the profiler's plan picks of it: what is judged is the interpolation. How far two
grids are apart is told beside, as nothing can be predicted better than it can be measured.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.platforms import client_environment, open_own_platform
from benchmarks.profiler.figures import Comparison, apart, compare, mean_of
from benchmarks.profiler.replay import few_of
from benchmarks.quota.model import CHANNELS, SIDE, write_convolutions
from benchmarks.quota.real import layers_for
from fastgshare.cli.up.config import UpConfig
from fastgshare.client import Client, FunctionDefinition, ModelSource, connect
from fastgshare.shared.messages import Profile, ProfileState

NETWORK = "convolutions"
BATCH_US = 2_500
MS_PER_S = 1_000
OBJECTIVE_MS = 60_000.0
"""No batch is left out for its length: the grid is to be predicted whole."""


class Budgets(msgspec.Struct, frozen=True):
    """How long each point is measured, in milliseconds of a closed and of an open loop, and how well; the largest
    batch; how many grids are measured."""

    closed_ms: int
    open_ms: int
    precision: float
    max_batch: int
    passes: int


class Real(msgspec.Struct, frozen=True):
    """The comparison; how far two grids are apart; `grid_s`: from asking for the first to having it, `adaptive_s` what
    the few points took of it."""

    comparison: Comparison
    repeat_median_error: float | None
    repeat_p95_error: float | None
    device_kind: str
    adaptive_s: float
    grid_s: float


async def measure(budgets: Budgets, home: Path, definition: FunctionDefinition) -> Real:
    """Start the platform in `home`, measure, stop it. Raises RuntimeError where a table could not be had."""
    async with _platform(budgets, home) as client:
        await client.deploy(definition)
        grids = [await _grid(client, definition.name) for _ in range(budgets.passes)]
    (first, grid_s), axes = grids[0], grids[0][0].axes
    assert axes is not None
    truth = mean_of([grid.points for grid, _ in grids])
    few, survey = few_of(truth, axes)
    is_repeated = len(grids) > 1
    median_error, p95_error = apart(first.points, grids[-1][0].points) if is_repeated else (None, None)
    return Real(
        comparison=compare(definition.name, few, survey.surface, truth),
        repeat_median_error=median_error,
        repeat_p95_error=p95_error,
        device_kind=first.device_kind,
        adaptive_s=round(sum(point.wall_ms for point in few) / MS_PER_S, 2),
        grid_s=round(grid_s, 2),
    )


def network(home: Path, max_batch: int) -> FunctionDefinition:
    """Convolutions that take some milliseconds on one core of this machine, on inputs made from the signature."""
    layers = layers_for(write_convolutions, home, BATCH_US, (1, CHANNELS, SIDE, SIDE))
    model = ModelSource(file=str(write_convolutions(home / "model.onnx", layers)))
    return FunctionDefinition(name=NETWORK, model=model, slo_ms=OBJECTIVE_MS, max_batch=max_batch)


async def _grid(client: Client, function: str) -> tuple[Profile, float]:
    began_s = time.monotonic()
    reports = [report async for report in client.profile(function, grid=True, again=True)]
    if reports[-1].state is not ProfileState.COMPLETE:
        raise RuntimeError(f"no table of {function}: {reports[-1].reason}")
    return (await client.profiles(function))[0], time.monotonic() - began_s


@asynccontextmanager
async def _platform(budgets: Budgets, home: Path) -> AsyncIterator[Client]:
    settings = {
        "FASTGSHARE_BUDGET_MS": str(budgets.closed_ms),
        "FASTGSHARE_OPEN_MS": str(budgets.open_ms),
        "FASTGSHARE_PRECISION": str(budgets.precision),
    }
    config = UpConfig(data_dir=home, nats_port=0, http_port=0, device="cpu")
    async with (
        open_own_platform(config, settings) as platform,
        connect(platform.endpoints.nats_url, name="bench", env=client_environment(home)) as client,
    ):
        yield client
