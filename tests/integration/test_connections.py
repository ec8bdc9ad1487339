"""Callers' own connections break, and gateways go while requests wait there: neither costs anyone an answer."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest

from fastgshare.client import Client, connect
from fastgshare.shared import subjects
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import FunctionName, RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor
from fastgshare.shared.units import s_to_us
from tests.integration import functions
from tests.integration.doors import deployed, json_body, rows, until, waiting_at_a_gateway
from tests.integration.load import by_nats, under_load
from tests.integration.world import GATEWAY, World, running

PATIENT_S = 20.0
UNHURRIED_S = 200.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A platform whose gateway may be stopped."""
    with running(tmp_path_factory.mktemp("fragile")) as world:
        yield world


def break_connection(client: Client) -> None:
    """As a cable that is pulled: what is on its way to this client is lost."""
    client.bus.connection._transport._io_writer.transport.abort()  # type: ignore[union-attr]


async def test_an_answer_lost_with_its_callers_connection_is_given_again(
    world: World, tmp_path: Path, name: str
) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)), connect(world.nats_url) as client:
        for number in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(_is_answered, client, name, number))
                await anyio.sleep(0.0005 * (number % 10))
                break_connection(client)
                await until(partial(_is_connected, client))


async def test_callers_that_use_an_id_again_are_answered_again(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        x = Tensor("x", "FP32", (1, 16), memoryview(rows(1).tobytes()))
        request = encode(InferRequest(INFER_VERSION, (x,), request_id=RequestId("mine")))
        for _ in range(5):
            answer = await client.bus.request(subjects.invoke(FunctionName(name)), request, PATIENT_S)
            assert decode(InferReply, answer.data).error is None


async def test_callers_that_wait_at_a_gateway_that_stops_ask_the_next(
    fragile: World, tmp_path: Path, name: str
) -> None:
    async with deployed(fragile) as client:
        await client.deploy(functions.times(name, tmp_path, 2.0, slice=functions.NOWHERE), wait=False)
        async with under_load(by_nats(client, name), 3, UNHURRIED_S, {2.0}) as load:
            for _ in range(2):
                await until(partial(waiting_at_a_gateway, client, name, 3))
                fragile.kill(GATEWAY, sig=signal.SIGTERM)  # and they would send again on their own only much later
            await until(partial(waiting_at_a_gateway, client, name, 3))
            await client.update(name, slice=functions.NARROW)
            await load.more(20)
        assert load.failures() == []
        await client.delete(name)


async def test_a_json_caller_that_waits_at_a_gateway_that_stops_is_told(
    fragile: World, tmp_path: Path, name: str
) -> None:
    async with deployed(fragile) as client:
        await client.deploy(functions.times(name, tmp_path, 2.0, slice=functions.NOWHERE), wait=False)
        answers: list[bytes] = []

        async def ask() -> None:
            payload = msgspec.json.encode(json_body({"x": rows(1)}))
            subject = subjects.invoke(FunctionName(name))
            headers = {subjects.DEADLINE_US: str(unix_us() + s_to_us(UNHURRIED_S))}
            answers.append((await client.bus.request(subject, payload, UNHURRIED_S, headers)).data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(partial(waiting_at_a_gateway, client, name, 1))
            fragile.kill(GATEWAY, sig=signal.SIGTERM)
        assert msgspec.json.decode(answers[0])["error"] == "the gateway is stopping"
        await client.delete(name)


async def _is_answered(client: Client, name: str, number: int) -> None:
    result = await client.invoke(name, {"x": rows(number)}, timeout_s=PATIENT_S)
    assert result.outputs["y"][0, 0] == 2 * number


async def _is_connected(client: Client) -> bool:
    return client.bus.is_connected
