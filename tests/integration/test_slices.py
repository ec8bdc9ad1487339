"""Slices through the whole platform: quotas kept, changed in place and told, weights shared, devices emulated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from fastgshare.client import Client, DeployFailed, DeployTimedOut, FunctionDefinition, RequestRefused
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.messages import (
    DeviceStatus,
    Profile,
    ProfileState,
    ReplicaState,
    ReplicaUse,
    Slice,
)
from tests.integration import functions
from tests.integration.doors import deployed, replicas_of, rows, until
from tests.integration.load import Load, by_nats, under_load
from tests.integration.world import WORKER, World, running

SIM_MODEL = {
    "curve": "v100/resnet50",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    "weights_mib": 97,
}
CLIENTS = 4
PRODUCTS = 20


def held(request: float, limit: float = 1.0, percent: int = 50) -> Slice:
    return Slice(sm_partition=percent, quota_request=request, quota_limit=limit, gpu_mem_mib=32)


async def device_of(client: Client) -> DeviceStatus:
    (node,) = (await client.status()).nodes
    (device,) = node.devices
    return device


async def use_of(client: Client, name: str) -> ReplicaUse:
    (status,) = await replicas_of(client, name)
    return (await device_of(client)).use.get(status.replica, ReplicaUse())


@asynccontextmanager
async def busy(client: Client, name: str) -> AsyncIterator[Load]:
    """More requests than a small quota can answer, all the while; each of them must be answered rightly in the end."""
    async with under_load(by_nats(client, name), CLIENTS, timeout_s=30.0, factors={1.0}) as load:
        await load.more(5)
        yield load
        await load.more(5)
    assert load.failures() == []


async def test_a_limit_is_kept_however_much_is_asked_and_whatever_the_machine_does(
    world: World, tmp_path: Path, name: str
) -> None:
    """An upper bound holds on any machine: what a slow one adds to a batch is charged and paid back."""
    spec = functions.slow(name, tmp_path, PRODUCTS, slice=held(0.1, 0.2))
    async with deployed(world, spec) as client, busy(client, name):
        await until(lambda: _had_work(client, name))
        shares = [(await use_of(client, name)).time_share for _ in range(3)]
        assert sum(shares) / len(shares) <= 0.2 + 0.1


async def _had_work(client: Client, name: str) -> bool:
    use = await use_of(client, name)
    return use.batches > 0 and use.backlogged_share > 0.5


async def test_a_quota_changes_under_load_without_a_restart(world: World, tmp_path: Path, name: str) -> None:
    spec = functions.slow(name, tmp_path, PRODUCTS, slice=held(0.05, 0.1))
    async with deployed(world, spec) as client, busy(client, name):
        (before,) = await replicas_of(client, name)
        await client.update(name, quota_request=0.2, quota_limit=1.0)
        (after,) = await replicas_of(client, name)
        assert (after.replica, after.generation, after.restarts) == (before.replica, before.generation, 0)
        assert after.incarnation == before.incarnation
        assert after.slice is not None
        assert (after.slice.quota_request, after.slice.quota_limit) == (0.2, 1.0)


async def test_a_quota_that_nobody_has_left_is_told_and_what_serves_keeps_its_own(
    world: World, tmp_path: Path, name: str
) -> None:
    spec = functions.times(name, tmp_path, 2.0, slice=held(0.05, percent=100))
    other = functions.times(f"{name}-other", tmp_path, 3.0, slice=held(0.3, percent=100))
    async with deployed(world, spec) as client, deployed(world, other):
        with pytest.raises(DeployTimedOut, match=r"ready with the slice of before.*no room"):
            await client.update(name, quota_request=0.9, timeout_s=4.0)
        (status,) = await replicas_of(client, name)
        assert status.state is ReplicaState.READY
        assert status.slice is not None
        assert status.slice.quota_request == 0.05
        assert (await client.invoke(name, {"x": rows(1.5)})).outputs["y"][0, 0] == 3.0


async def test_replicas_of_one_model_share_its_weights_and_other_models_do_not(
    world: World, tmp_path: Path, name: str
) -> None:
    # What is on loan to be measured has a part in the weights too, so the tables are small. The factors are of no
    # other test, whose replicas may linger.
    pair = functions.times(name, tmp_path, 7.25, max_batch=1, replicas=2)
    other = functions.times(f"{name}-other", tmp_path, 9.5, max_batch=1)
    async with deployed(world, pair) as client, deployed(world, other):
        digest = {status.model_digest for status in await replicas_of(client, name)}
        assert sorted(status.weights_reused for status in await replicas_of(client, name)) == [False, True]

        async def both_told() -> bool:
            models = {model.digest: model.replicas for model in (await device_of(client)).models}
            return all(models.get(known) == 2 for known in digest)

        await until(both_told)
        for factor, called in ((7.25, name), (9.5, f"{name}-other")):
            answer = await client.invoke(called, {"x": rows(1.5)})
            np.testing.assert_array_equal(answer.outputs["y"], rows(1.5 * factor))


async def test_a_share_below_one_chunk_is_rounded_up_and_said(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0, slice=held(0.05, percent=1))) as client:
        (status,) = await replicas_of(client, name)
        assert len(status.chunks) == 1
        assert "rounded up to 1" in status.note


def emulated(name: str, directory: Path, **described: object) -> FunctionDefinition:
    """A function whose model an emulated GPU runs."""
    model = directory / f"{name}.sim.json"
    model.write_bytes(msgspec.json.encode(SIM_MODEL | described))
    wide = Slice(sm_partition=24, quota_request=0.5, quota_limit=1.0, gpu_mem_mib=256)
    return functions.function(name, model, slice=wide)


async def test_a_device_that_is_lost_comes_back_with_its_replicas_and_the_reason_is_told(tmp_path: Path) -> None:
    good, bad = emulated("good", tmp_path), emulated("bad", tmp_path, device_lost_every=3, weights_mib=50)
    with running(tmp_path / "data", device="sim") as world:
        async with deployed(world, good) as client:
            with suppress(DeployFailed):  # it may take the device down before anybody has looked
                await client.deploy(bad, wait=False)
            with suppress(RequestRefused):  # the third takes the device down, and each next life's third again
                for _ in range(3):
                    await client.invoke("bad", {"x": np.ones((1, 4), np.float32)}, timeout_s=5.0)
            await until(partial(_restarted, client, "good", 1))
            told = [event.text async for event in client.logs("_") if event.kind == "worker_died"]
            assert any("lost under batch" in text for text in told)
            await client.delete("bad")
            answer = await client.invoke("good", {"x": np.ones((1, 4), np.float32)}, timeout_s=30.0)
            assert answer.outputs["y"].shape == (1, 4)


async def test_a_model_that_takes_the_device_down_when_it_is_measured_is_measured_three_times(tmp_path: Path) -> None:
    bad = emulated("bad", tmp_path, device_lost_every=3)
    with running(tmp_path / "data", device="sim") as world:
        async with deployed(world, bad) as client:
            await until(partial(_given_up, client))
            await until(partial(_is_back, client, "bad", 3))
            assert [event.kind async for event in client.logs("_")].count("worker_died") == 3


async def _is_back(client: Client, name: str, restarts: int) -> bool:
    return [(one.state, one.restarts) for one in await replicas_of(client, name)] == [(ReplicaState.READY, restarts)]


async def _given_up(client: Client) -> bool:
    tables = await Bucket(client.bus, subjects.PROFILES, Profile).list()
    return any(table.state is ProfileState.FAILED and "lost under batch" in table.reason for table in tables.values())


async def test_an_emulated_gpu_serves_and_comes_back(tmp_path: Path) -> None:
    spec = replace(emulated("emulated", tmp_path), replicas=3)
    with running(tmp_path / "data", device="sim") as world:
        async with deployed(world, spec) as client:
            device = await device_of(client)
            assert (device.kind, device.chunks) == ("sim-v100-16g", 16)
            assert [len(status.chunks) for status in await replicas_of(client, "emulated")] == [4, 4, 4]
            answer = await client.invoke("emulated", {"x": np.ones((2, 4), np.float32)})
            np.testing.assert_array_equal(answer.outputs["y"], np.zeros((2, 4), np.float32))
            world.kill(WORKER)
            again = await client.invoke("emulated", {"x": np.ones((1, 4), np.float32)}, timeout_s=30.0)
            assert again.outputs["y"].shape == (1, 4)
            await until(partial(_restarted, client, "emulated", 3))


async def _restarted(client: Client, name: str, count: int) -> bool:
    found = await replicas_of(client, name)
    return sum(status.state is ReplicaState.READY and status.restarts > 0 for status in found) == count


async def test_a_device_that_cannot_be_opened_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node beats on and tells, and the platform stands."""
    monkeypatch.setenv("FASTGSHARE_SIM_GPU", "abacus")
    with running(tmp_path / "data", device="sim") as world:
        async with deployed(world) as client:
            await until(partial(_told, client))


async def _told(client: Client) -> bool:
    nodes = (await client.status()).nodes
    return any("abacus" in device.reason and not device.healthy for node in nodes for device in node.devices)
