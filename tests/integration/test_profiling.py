"""Tables found by themselves on a whole platform: beside nobody, for functions without a replica, through a crash."""

from pathlib import Path

import pytest

from fastgshare.client import Client
from fastgshare.shared.messages import Profile, ProfileState
from tests.integration import functions
from tests.integration.doors import deployed, until
from tests.integration.world import PROFILER, World

pytestmark = pytest.mark.timeout(120)


async def table_of(client: Client, function: str) -> Profile | None:
    tables = await client.profiles(function)
    return tables[0] if tables else None


async def test_a_model_nobody_asked_for_is_measured_by_itself(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 5.0, max_batch=2)) as client:

        async def is_complete() -> bool:
            table = await table_of(client, name)
            return table is not None and table.state is ProfileState.COMPLETE

        await until(is_complete)
        table = await table_of(client, name)
        assert table is not None
        assert table.axes is not None
        lattice = len(table.axes.sm_partitions) * len(table.axes.quotas) * len(table.axes.batches)
        assert len(table.surface) == lattice
        assert len(table.points) < lattice
        assert max(point.sm_partition for point in table.points) == 100


async def test_a_function_without_replicas_is_measured_on_request(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 6.0, max_batch=1, replicas=0)) as client:
        reports = [report async for report in client.profile(name)]
        assert reports[-1].state is ProfileState.COMPLETE, reports[-1]
        own = [replica for replica in await client.replicas() if replica.function == name]
        assert all(replica.loan for replica in own), "measuring is no reason to start one"


async def test_a_profiler_killed_in_the_middle_loses_no_point(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 7.0, max_batch=2)) as client:
        killed: Profile | None = None
        async for report in client.profile(name):
            if report.done >= 3 and killed is None:
                killed = await table_of(client, name)
                world.kill(PROFILER)
        assert report.state is ProfileState.COMPLETE, report
        table = await table_of(client, name)
        assert killed is not None
        assert table is not None
        settled = [point for point in killed.points if point.settled]
        assert all(point in table.points for point in settled)
