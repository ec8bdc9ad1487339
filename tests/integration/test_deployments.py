"""A function changes while it serves: no request pays for it, and what cannot run leaves what serves alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import pytest
import tritonclient.http as triton

from fastgshare.client import Client, DeployFailed, FunctionDefinition
from fastgshare.shared.messages import Autoscale
from tests.integration import functions, models
from tests.integration.doors import (
    deployed,
    json_body,
    post,
    refusal,
    replicas_of,
    rows,
    triton_input,
    until,
    waiting_at_a_gateway,
    with_triton,
)
from tests.integration.load import Load, by_nats, under_load
from tests.integration.world import World

CLIENTS = 6
HUGE = (9 << 20) // 4


@asynccontextmanager
async def busy(client: Client, function: str, factors: set[float]) -> AsyncIterator[Load]:
    """Requests all the while, every one of them answered by one of the right versions."""
    async with under_load(by_nats(client, function), CLIENTS, timeout_s=30.0, factors=factors) as load:
        await load.more(20)
        yield load
        await load.more(20)
    assert load.failures() == []


async def test_an_update_replaces_the_old_generation_and_no_request_fails(
    world: World, tmp_path: Path, name: str
) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        async with busy(client, name, {2.0, 3.0, 4.0}) as load:
            await client.deploy(functions.times(name, tmp_path, 3.0))
            await load.until_answered_by(3.0)
            newest = await client.deploy(functions.times(name, tmp_path, 4.0))
            await load.until_answered_by(4.0)
        assert load.last_factor == 4.0

        async def only_the_new_is_left() -> bool:
            left = [status.generation for status in await replicas_of(client, name)]
            return left == [newest.generation]

        await until(only_the_new_is_left)


async def test_settings_change_under_load_and_no_request_fails(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        async with busy(client, name, {2.0}):
            await client.update(name, max_batch=2)
            await client.update(name, labels={"kept": "in place"})
            await client.scale(name, 2)
            await client.scale(name, 1)
        error = await refusal(client.invoke(name, {"x": rows(1, 2, 3)}))
        assert "expected 1 to 2" in error.message


async def test_what_was_deployed_this_moment_is_known_at_every_door(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world) as client:
        for number in range(8):
            definition = functions.times(f"{name}-{number}", tmp_path, 2.0, replicas=0)
            await client.deploy(definition)
            if number % 2:
                response = await post(world, definition.name, json_body({"x": rows(1)}))
                assert response.status_code == 503
                assert "scaled to 0" in response.json()["error"]
            else:
                error = await refusal(client.invoke(definition.name, {"x": rows(1)}))
                assert error.http_status == 503
                assert "scaled to 0" in error.message
            await client.delete(definition.name)


async def test_a_deleted_function_is_gone_and_can_come_back(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        first = await client.deploy(functions.times(name, tmp_path, 2.0))
        await client.delete(name)

        async def gone() -> bool:
            response = await post(world, name, json_body({"x": rows(1)}))
            return response.status_code == 404

        await until(gone)
        assert (await refusal(client.invoke(name, {"x": rows(1)}))).http_status == 404
        again = await client.deploy(functions.times(name, tmp_path, 5.0))
        assert again.generation > first.generation
        assert (await client.invoke(name, {"x": rows(1)})).outputs["y"][0, 0] == 5.0


async def test_a_function_deleted_under_load_answers_what_it_has_and_refuses_the_rest(
    world: World, tmp_path: Path, name: str
) -> None:
    async with deployed(world, functions.slow(name, tmp_path, 20, replicas=2)) as client:
        async with under_load(by_nats(client, name), CLIENTS, timeout_s=30.0) as load:
            await load.more(20)
            await client.delete(name)
            await load.until_refused(20)
        assert load.dishonest() == []
        assert {call.answer.refused for call in load.failures()} == {f"not_found: no function '{name}'"}


async def test_of_two_who_deploy_at_once_one_has_the_last_word(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        factors = [3.0, 4.0, 5.0, 6.0]

        async def deploy(factor: float) -> None:
            with suppress(DeployFailed):  # overtaken by a newer generation
                await client.deploy(functions.times(name, tmp_path, factor))

        async with busy(client, name, {2.0, *factors}) as load:
            async with anyio.create_task_group() as tasks:
                for factor in factors:
                    tasks.start_soon(deploy, factor)
            (stands,) = [spec for spec in await client.functions() if spec.name == name]
            await client.deploy(stands)  # waits until it serves
            await load.until_answered_by(float(stands.model.source.removeprefix("times-").removesuffix(".onnx")))


async def test_requests_that_wait_for_a_function_are_told_when_it_is_deleted(
    world: World, tmp_path: Path, name: str
) -> None:
    async with deployed(world) as client:
        await client.deploy(functions.times(name, tmp_path, 2.0, slice=functions.NOWHERE), wait=False)
        errors = []

        async def ask() -> None:
            errors.append(await refusal(client.invoke(name, {"x": rows(1)}, timeout_s=40.0)))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await until(partial(waiting_at_a_gateway, client, name, 3))
            await client.delete(name)
        assert [error.http_status for error in errors] == [404] * 3


async def test_requests_that_wait_for_room_are_answered_when_there_is_some(
    world: World, tmp_path: Path, name: str
) -> None:
    huge = np.ones((1, HUGE), np.float32)
    async with deployed(world) as client:
        await client.deploy(functions.times(name, tmp_path, 2.0, slice=functions.NOWHERE), wait=False)

        def use(triton_client: triton.InferenceServerClient) -> None:
            answer = triton_client.infer(name, [triton_input("x", huge, "FP32")])  # too large for a message
            np.testing.assert_array_equal(answer.as_numpy("y"), huge * 2)

        async with under_load(by_nats(client, name), 3, timeout_s=40.0, factors={2.0}) as load:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(with_triton, world, use)
                await until(partial(waiting_at_a_gateway, client, name, 4))
                await client.update(name, slice=functions.NARROW)
            await load.more(20)
        assert load.failures() == []
        await client.delete(name)


def broken_model(name: str, directory: Path) -> FunctionDefinition:
    return functions.function(name, models.broken(directory / "broken.onnx"))


def broken_import(name: str, directory: Path) -> FunctionDefinition:
    return functions.handled(name, directory, "needs_what_is_missing.py", "Handler")


def missing_class(name: str, directory: Path) -> FunctionDefinition:
    return functions.handled(name, directory, "moody.py", "Happy")


BROKEN = [
    (broken_model, "Protobuf parsing failed"),
    (broken_import, "No module named 'a_package_that_nobody_has'"),
    (missing_class, "Happy"),
]


@pytest.mark.parametrize(("make", "reason"), BROKEN)
async def test_what_cannot_run_fails_with_its_reason_while_the_last_good_version_serves(
    world: World, tmp_path: Path, name: str, make: Callable[[str, Path], FunctionDefinition], reason: str
) -> None:
    async with deployed(world) as client:
        good = await client.deploy(functions.times(name, tmp_path, 2.0))
        async with busy(client, name, {2.0, 3.0}) as load:
            with pytest.raises(DeployFailed, match="keeps serving") as failed:
                await client.deploy(make(name, tmp_path))
            assert reason in str(failed.value)
            await load.more(20)
            status = next(f for f in (await client.status()).functions if f.spec.name == name)
            assert status.serving == good.generation
            assert any(reason in text for text in status.reasons)
            await client.deploy(functions.times(name, tmp_path, 3.0))  # mended
            await load.until_answered_by(3.0)
        await client.delete(name)


async def test_what_never_ran_is_refused_with_its_reason(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world) as client:
        try:
            with pytest.raises(DeployFailed, match="Protobuf parsing failed"):
                await client.deploy(broken_model(name, tmp_path))

            async def refused_with_reason() -> bool:
                error = await refusal(client.invoke(name, {"x": np.ones((1, 1), np.float32)}, timeout_s=1.0))
                return error.http_status == 503 and "Protobuf parsing failed" in error.message

            await until(refused_with_reason)
        finally:
            await client.delete(name)


async def test_a_function_scaled_to_zero_comes_up_for_its_callers_where_that_is_allowed(
    world: World, tmp_path: Path, name: str
) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0, replicas=0)) as client:
        async with under_load(by_nats(client, name), CLIENTS, timeout_s=40.0, factors={2.0}) as load:
            await load.until_refused(20)
            await client.update(name, autoscale=Autoscale(min=0, max=1))
            await load.more(20)
        assert load.dishonest() == []
        assert {call.answer.refused for call in load.failures()} == {
            f"unavailable: function '{name}' is scaled to 0 replicas"
        }
