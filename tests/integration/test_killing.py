"""`kill -9` under load: what was under way is answered all the same, nobody waits past a deadline, all comes back.

Patient callers wait longer than anything takes to come back: for them nothing at all may go wrong. Hasty callers and
those over HTTP may be refused, but never late and never with a wrong answer.
"""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import pytest
from nats.aio.msg import Msg

from fastgshare.client import Client, FunctionDefinition
from fastgshare.shared import subjects
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.codec import decode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import InferRequest, ReplicaState
from tests.integration import functions
from tests.integration.doors import deployed, door, rows, until
from tests.integration.load import Load, by_http, by_nats, under_load
from tests.integration.world import (
    GATEWAY,
    NATS,
    NODE_MANAGER,
    PROFILER,
    SCHEDULER,
    WORKER,
    World,
    running,
    slots_of,
)

PATIENT_S = 20.0
UNHURRIED_S = 90.0
HASTY_S = 1.5
LARGE = (600 << 10) // 4
REPLICAS = 2
SERVICES = (GATEWAY, SCHEDULER, PROFILER, NODE_MANAGER)
ALL = (NATS, *SERVICES, WORKER)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of each."""
    with running(tmp_path_factory.mktemp("single")) as world:
        yield world


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two gateways, two schedulers."""
    with running(tmp_path_factory.mktemp("pair"), gateways=2, schedulers=2) as world:
        yield world


@dataclass
class Storm:
    """Callers of every kind on one function, and what a strike is measured against."""

    client: Client
    name: str
    patient: Load
    hasty: Load
    http: list[Load]

    async def more(self, answers: int = 10) -> None:
        """Every kind is served."""
        for load in (self.patient, self.hasty, *self.http):
            await load.more(answers)


@asynccontextmanager
async def storm(world: World, directory: Path, name: str) -> AsyncIterator[Storm]:
    """Under load all the while; afterwards nothing was lost, and everything is as it was."""
    definition = functions.slow(name, directory, 20, replicas=REPLICAS, max_batch=4)
    async with deployed(world, definition) as client, AsyncExitStack() as stack:
        count = {program: len(world.pids(program)) for program in ALL}
        patient = await stack.enter_async_context(under_load(by_nats(client, name), 6, PATIENT_S))
        hasty = await stack.enter_async_context(under_load(by_nats(client, name), 3, HASTY_S))
        doors = [await stack.enter_async_context(door(url)) for url in world.http_urls]
        http = [await stack.enter_async_context(under_load(by_http(way_in, name), 1, HASTY_S)) for way_in in doors]
        weather = Storm(client, name, patient, hasty, http)
        await weather.more()
        yield weather
        await weather.more()
        await stack.aclose()
        assert patient.failures() == []
        assert [load.dishonest() for load in (hasty, *http)] == [[] for _ in (hasty, *http)]
        await until(partial(whole, world, client, name, count))


async def whole(world: World, client: Client, name: str, count: dict[str, int]) -> bool:
    """Whether every process runs, every service answers, the definition stands and its replicas are ready."""
    status = await client.status()
    found = [function for function in status.functions if function.spec.name == name]
    states = [replica.state for function in found for replica in function.replicas]
    return (
        {program: len(world.pids(program)) for program in ALL} == count
        and not status.missing
        and states == [ReplicaState.READY] * REPLICAS
    )


@pytest.mark.parametrize("program", ALL)
async def test_whoever_is_killed(single: World, tmp_path: Path, name: str, program: str) -> None:
    async with storm(single, tmp_path, name):
        single.kill(program)


async def test_large_tensors_arrive_whole_whoever_is_killed(single: World, tmp_path: Path, name: str) -> None:
    async with deployed(single, functions.times(name, tmp_path, 2.0, replicas=2)) as client:
        async with under_load(by_nats(client, name, LARGE), 4, PATIENT_S, {2.0}) as load:
            for program in (WORKER, NATS, GATEWAY, WORKER, NODE_MANAGER):
                await load.more(20)
                single.kill(program)
            await load.more(40)
        assert load.failures() == []
        assert len(slots_of({os.getpid()})) <= 4
    assert slots_of({os.getpid()}) == []


async def test_the_nats_server_twice_in_a_row(single: World, tmp_path: Path, name: str) -> None:
    async with storm(single, tmp_path, name):
        first = single.kill(NATS)
        await until(partial(another, single, NATS, first))
        single.kill(NATS)


async def test_a_deployment_while_the_server_is_killed_is_there_or_is_told_not_to_be(
    single: World, tmp_path: Path, name: str
) -> None:
    async with storm(single, tmp_path, name) as weather:
        for number in range(3):
            other = functions.times(f"{name}-{number}", tmp_path, 2.0)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(strike, single, NATS, 0.02 * number))
                await deploy_until_it_stands(weather.client, other)
            result = await weather.client.invoke(other.name, {"x": rows(3)}, timeout_s=PATIENT_S)
            assert result.outputs["y"][0, 0] == 6.0
            await weather.client.delete(other.name)


async def test_every_service_at_once(single: World, tmp_path: Path, name: str) -> None:
    async with storm(single, tmp_path, name):
        for program in SERVICES:
            single.kill(program)


async def test_the_worker_while_it_comes_back(single: World, tmp_path: Path, name: str) -> None:
    async with storm(single, tmp_path, name):
        for _ in range(2):
            killed = single.kill(WORKER)
            await until(partial(another, single, WORKER, killed))


@pytest.mark.parametrize("index", [0, 1])
async def test_one_of_two_gateways(pair: World, tmp_path: Path, name: str, index: int) -> None:
    async with storm(pair, tmp_path, name):
        pair.kill(GATEWAY, index)


async def test_a_gateway_that_is_told_to_stop_finishes_what_it_was_sent(pair: World, tmp_path: Path, name: str) -> None:
    sent: Counter[str] = Counter()

    async def on_request(msg: Msg) -> None:
        sent[decode(InferRequest, msg.data).request_id] += 1

    async with storm(pair, tmp_path, name) as weather:
        witness = functions.times(f"{name[:50]}-seen", tmp_path, 2.0)
        await weather.client.deploy(witness)
        await weather.client.bus.subscribe(subjects.invoke(FunctionName(witness.name)), on_request)
        async with under_load(by_nats(weather.client, witness.name), 4, UNHURRIED_S, {2.0}) as load:
            await load.more(20)
            stopped = pair.kill(GATEWAY, 0, signal.SIGTERM)
            await until(partial(another, pair, GATEWAY, stopped))
            await load.more(20)
        assert load.failures() == []
        assert sent.total() >= len(load.calls)
        assert [request for request, times in sent.items() if times > 1] == []  # nothing was lost and sent again
        await weather.client.delete(witness.name)


async def test_the_leading_scheduler_of_two_and_then_a_deploy(pair: World, tmp_path: Path, name: str) -> None:
    async with storm(pair, tmp_path, name) as weather:
        for index in (0, 1):
            with anyio.fail_after(PATIENT_S):
                while len(pair.pids(SCHEDULER)) < 2:  # the one killed before is still coming back
                    await anyio.sleep(0.05)
            pair.kill(SCHEDULER, index)  # one of the two leads
            other = functions.times(f"{name[:50]}-{index}", tmp_path, 2.0)
            await weather.client.deploy(other)
            async with under_load(by_nats(weather.client, other.name), 2, PATIENT_S, {2.0}) as load:
                await load.more(10)
            assert load.failures() == []
            await weather.client.delete(other.name)


async def strike(world: World, program: str, after_s: float) -> None:
    """Kill in a moment."""
    await anyio.sleep(after_s)
    world.kill(program)


async def deploy_until_it_stands(client: Client, definition: FunctionDefinition) -> None:
    """As often as storage does not answer."""
    while True:
        try:
            await client.deploy(definition)
            return
        except StorageUnavailable:
            await anyio.sleep(0.1)


async def another(world: World, program: str, former: int) -> bool:
    """Whether it is gone and a successor runs."""
    now = world.pids(program)
    return bool(now) and former not in now
