"""Jobs and API keys on a whole platform: jobs outlive gateways and restarts, keys hold at every gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from fastgshare.cli.app import app
from fastgshare.client import Client, connect
from fastgshare.shared.messages import JobState, KeyLimits, Scope
from tests.integration import functions, models
from tests.integration.doors import PATIENCE_S, door, json_body, rows, until
from tests.integration.world import GATEWAY, World, running

pytestmark = pytest.mark.timeout(180)
WAIT_S = 90.0
LARGE = 3 << 20  # numbers, of which a message of the bus takes 2 << 20
INFER = "/v2/models/double/infer"
BODY = json_body({"x": rows(4)})


async def submit(http: httpx.AsyncClient, name: str, value: float) -> str:
    taken = await http.post(f"/v2/models/{name}/infer_async", json=json_body({"x": rows(value)}))
    assert taken.status_code == 202, taken.text
    return str(taken.json()["id"])


async def all_done(world: World, jobs: dict[str, float]) -> None:
    async with connect(world.nats_url) as client:
        for job, value in jobs.items():
            result = await client.result(job, wait_s=WAIT_S)
            assert result.outputs["y"][0, 0] == value * 2


def test_jobs_outlive_a_gateway_and_the_platform(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    jobs: dict[str, float] = {}

    async def many(world: World) -> None:
        async with connect(world.nats_url) as client, door(world.http_url) as http:
            await client.deploy(functions.times("double", tmp_path, 2.0, replicas=1))
            for value in range(1, 21):
                jobs[await submit(http, "double", value)] = value
        world.kill(GATEWAY)
        await all_done(world, jobs)

    async def later(world: World) -> None:
        async with connect(world.nats_url) as client:
            await client.scale("double", 0, wait=False)
            await until(lambda: _has_no_replica(world))
            for value in range(30, 40):
                jobs[await client.submit("double", {"x": rows(value)})] = value

    async def again(world: World) -> None:
        async with connect(world.nats_url) as client:
            await client.scale("double", 1)
            await all_done(world, jobs)
            (job, *_) = jobs
            assert (await client.jobs.look(job)).state is JobState.DONE

    with running(data_dir, gateways=2) as world:
        asyncio.run(many(world))
        asyncio.run(later(world))
        world.lose_power()
    with running(data_dir) as world:
        asyncio.run(again(world))


def test_a_small_jobs_answer_may_be_larger_than_a_message(tmp_path: Path) -> None:
    grow = functions.function("grow", models.grow(tmp_path / "grow.onnx"), replicas=1)

    async def ask(world: World) -> str:
        async with connect(world.nats_url) as client, door(world.http_url) as http:
            await client.deploy(grow)
            job = await client.submit("grow", {"length": np.array([[LARGE]])})
            result = await client.result(job, wait_s=WAIT_S)
            assert result.outputs["y"].shape == (1, LARGE)
            answer = await http.get(f"/v1/jobs/{job}/result")
            assert answer.status_code == 200, answer.text
            assert answer.content[int(answer.headers["inference-header-content-length"]) :] == bytes(4 * LARGE)
            return job

    with running(tmp_path / "data") as world:
        job = asyncio.run(ask(world))
        assert str(LARGE) in fastgshare(world, "result", job)


async def _has_no_replica(world: World) -> bool:
    async with connect(world.nats_url) as client:
        return not await client.replicas()


def fastgshare(world: World, *args: str) -> str:
    done = CliRunner().invoke(app, args, env={"FASTGSHARE_NATS_URL": world.nats_url})
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()


async def _guarded(world: World, key: str) -> None:
    """No call without a key; with it, as far as it reaches; never more in a day than it allows, wherever that is."""
    mine = {"Authorization": f"Bearer {key}"}
    async with door(world.http_urls[0]) as one, door(world.http_urls[1]) as two:
        for http in (one, two):
            await _answers(partial(http.post, INFER, json=BODY), 401)
        assert await _call(one, mine) == (200, "4")
        await until(lambda: _leaves(two, mine, "4"))
        await _answers(lambda: two.get("/v2/models/double", headers=mine), 200)
        assert (await two.get("/v1/functions", headers=mine)).status_code == 403
        assert (await two.get("/v2/health/ready")).status_code == 200
        taken = await two.post("/v2/models/double/infer_async", json=BODY, headers=mine)
        assert (taken.status_code, taken.headers["ratelimit-remaining"]) == (202, "3")
        place = taken.headers["location"]
        await _answers(lambda: one.get(f"{place}/result", headers=mine), 200)
        assert (await one.get(f"{place}/result")).status_code == 401
        await until(lambda: _leaves(one, mine, "3"))
        assert [await _call(one, mine) for _ in range(4)] == [(200, "2"), (200, "1"), (200, "0"), (429, "0")]
        await until(lambda: _leaves(two, mine, "0"))
        assert await _call(two, mine) == (429, "0")


def test_keys_hold_at_every_gateway_and_the_command_makes_them(tmp_path: Path) -> None:
    async def opened(world: World) -> None:
        async with door(world.http_urls[1]) as two:
            await _answers(lambda: two.get("/v1/functions"), 200)

    async def deploy(world: World) -> None:
        async with connect(world.nats_url) as client:
            await client.deploy(functions.times("double", tmp_path, 2.0))

    async def limited(world: World) -> None:
        async with connect(world.nats_url) as client:
            (key,) = await client.keys.list()
            assert (key.scopes, key.limits) == ((Scope.INVOKE,), KeyLimits(per_day=5))
            await until(lambda: _used(client, 5))
            await client.keys.revoke(key.key)

    with running(tmp_path / "data", gateways=2) as world:
        asyncio.run(deploy(world))
        key = fastgshare(world, "key", "create", "tests", "--function", "double", "--per-day", "5")
        asyncio.run(_guarded(world, key))
        job = fastgshare(world, "invoke", "double", "--async", "-i", f"x={[[1.0] * 16]}")
        assert fastgshare(world, "result", job, "--wait").startswith("y  FP32 [1, 16]  2 2")
        asyncio.run(limited(world))
        asyncio.run(opened(world))


async def _call(http: httpx.AsyncClient, key: dict[str, str]) -> tuple[int, str]:
    answer = await http.post(INFER, json=BODY, headers=key)
    return answer.status_code, answer.headers["ratelimit-remaining"]


async def _leaves(http: httpx.AsyncClient, key: dict[str, str], left: str) -> bool:
    """Whether a gateway says that so many are left: a call that the key is not for counts as none."""
    answer = await http.post("/v2/models/another/infer", json=BODY, headers=key)
    assert answer.status_code == 403
    return bool(answer.headers["ratelimit-remaining"] == left)


async def _used(client: Client, number: int) -> bool:
    return list((await client.keys.used_today()).values()) == [number]


async def _answers(ask: Callable[[], Awaitable[httpx.Response]], status: int) -> None:
    with anyio.fail_after(PATIENCE_S):
        while (await ask()).status_code != status:
            await anyio.sleep(0.05)
