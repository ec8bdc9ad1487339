"""A platform that starts again on its data directory serves what was deployed, however its last life ended."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastgshare.client import Client, connect
from fastgshare.shared.messages import ProfileState
from tests.integration import functions
from tests.integration.doors import json_body, post, rows
from tests.integration.world import World, running

pytestmark = pytest.mark.timeout(120)


async def deploy(world: World, directory: Path) -> None:
    async with connect(world.nats_url) as client:
        await client.deploy(functions.times("double", directory, 2.0, max_batch=1, replicas=2, labels={"kept": "yes"}))
        await client.deploy(functions.moody("moody", directory, 3.0))
        async for report in client.profile("double"):
            assert report.state is not ProfileState.FAILED
        await serves(client)


async def serves(client: Client) -> None:
    result = await client.invoke("double", {"x": rows(4)}, timeout_s=40.0)
    assert result.outputs["y"][0, 0] == 8.0
    result = await client.invoke("moody", {"mood": b"fine", "x": np.ones(4, np.float32)}, timeout_s=40.0)
    assert result.outputs["y"].tolist() == [3.0] * 4


async def stands_as_it_did(world: World) -> None:
    async with connect(world.nats_url) as client:
        await serves(client)
        assert (await post(world, "double", json_body({"x": rows(1)}))).status_code == 200
        double, moody = await client.functions()
        assert (double.name, double.generation, double.replicas) == ("double", 1, 2)
        assert double.labels == {"kept": "yes"}
        assert (moody.name, moody.generation) == ("moody", 1)
        (profile,) = await client.profiles("double")
        assert profile.state is ProfileState.COMPLETE


def stop(world: World) -> None:
    """As Ctrl-C does; `running` waits for it."""


def kill(world: World) -> None:
    """Everything at once, as when the machine loses power."""
    world.lose_power()


@pytest.mark.parametrize("end", [stop, kill])
def test_what_was_deployed_is_served_in_the_next_life(tmp_path: Path, end: Callable[[World], None]) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir) as world:
        asyncio.run(deploy(world, tmp_path))
        end(world)
    with running(data_dir) as world:
        asyncio.run(stands_as_it_did(world))
