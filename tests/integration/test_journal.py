"""The journal of a whole platform's life, with a killed worker and a killed scheduler in it, decides the same again."""

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from fastgshare.client import Client
from fastgshare.scheduler.adapters.journal import segments_under
from fastgshare.scheduler.adapters.journal_file import Segment
from fastgshare.shared.messages import Autoscale, ReplicaState
from tests.integration import functions
from tests.integration.doors import deployed, replicas_of, until
from tests.integration.load import by_nats, under_load
from tests.integration.world import SCHEDULER, WORKER, World, running

READER = (sys.executable, "-m", "fastgshare.scheduler.replay")
COMMAND = (sys.executable, "-m", "fastgshare.cli", "journal")

pytestmark = pytest.mark.timeout(150)


async def ready(client: Client, name: str, count: int) -> bool:
    """Whether it has so many replicas that serve, and no others."""
    states = [status.state for status in await replicas_of(client, name)]
    return states == [ReplicaState.READY] * count


async def back(client: Client, name: str) -> bool:
    """Whether its replicas live in a second worker."""
    found = await replicas_of(client, name)
    return bool(found) and all(status.restarts > 0 and status.state is ReplicaState.READY for status in found)


async def an_eventful_life(world: World, directory: Path) -> None:
    fixed = functions.slow("fixed", directory, 10, replicas=2)
    bounds = Autoscale(min=1, max=2)
    scaled = functions.slow("scaled", directory, 40, max_batch=1, autoscale=bounds, replicas=None)
    async with deployed(world, fixed, scaled) as client:
        async with under_load(by_nats(client, "scaled"), 8, 30.0) as load:
            await until(partial(ready, client, "scaled", 2))  # more wait than one is good for
            world.kill(WORKER)
            await until(partial(back, client, "fixed"))
            await load.more(20)
        assert load.failures() == []
        await client.scale("fixed", 3)
        await until(partial(ready, client, "fixed", 3))
        former = world.kill(SCHEDULER)
        await until(partial(_succeeded, world, former))
        await client.scale("fixed", 1)
        await until(partial(ready, client, "fixed", 1))


async def _succeeded(world: World, former: int) -> bool:
    return bool(world.pids(SCHEDULER)) and former not in world.pids(SCHEDULER)


def test_a_live_run_replays_to_the_same_commands(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir) as world:
        asyncio.run(an_eventful_life(world, tmp_path))
    paths = segments_under(data_dir / "journal")
    segments = [Segment(path) for path in paths]
    kinds = [type(entry.event).__name__ for segment in segments for entry in segment.entries()]
    assert {"FunctionDefined", "NodeSeen", "LoadReported", "ReplicaReported", "LeadershipWon", "Ticked"} <= set(kinds)
    assert len(paths) == 2  # the scheduler's two lives

    replayed = subprocess.run((*READER, str(data_dir / "journal")), capture_output=True, text=True)
    assert replayed.returncode == 0, replayed.stdout
    assert replayed.stdout.count("the same again") == 2

    shown = subprocess.run((*COMMAND, str(data_dir / "journal"), "-n", "1000"), capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "PlaceReplica fixed-g1" in shown.stdout
    assert "RemoveReplica fixed-g1" in shown.stdout
    assert "Report scaled scaled: from 1 to 2 replicas" in shown.stdout
