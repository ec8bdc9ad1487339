"""What the platform decides while it serves: a scheduler killed between two writes, chunks that change, zero and back.

Callers are patient and nothing may go wrong for them.
"""

import fcntl
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client import Client
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, Mirror
from fastgshare.shared.codec import decode
from fastgshare.shared.messages import Autoscale, LeaseHolder, Placement, ReplicaState, ServiceReady, Slice
from tests.integration import functions
from tests.integration.doors import deployed, only_replica, replicas_of, rows, until
from tests.integration.load import by_nats, under_load
from tests.integration.world import World, running

PATIENT_S = 30.0
MANY = 12
TRIES = 10
TINY = Slice(sm_partition=50, quota_request=0.02, quota_limit=1.0, gpu_mem_mib=32)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two schedulers."""
    with running(tmp_path_factory.mktemp("pair"), schedulers=2) as world:
        yield world


async def test_a_scheduler_killed_between_two_writes_loses_nothing_and_doubles_nothing(
    pair: World, tmp_path: Path, name: str
) -> None:
    definition = functions.times(name, tmp_path, 2.0, replicas=1, slice=TINY)
    async with deployed(pair, definition) as client, under_load(by_nats(client, name), 3, PATIENT_S, {2.0}) as load:
        await load.more(20)
        leader = await stopped_in_the_middle(client, name)
        leader.send_signal(signal.SIGKILL)
        await until(partial(serve, client, name, MANY))
        await load.more(50)
        await client.scale(name, MANY + 1)  # by then, what a second leader had doubled would be seen
        await until(partial(serve, client, name, MANY + 1))
    assert load.failures() == []


async def stopped_in_the_middle(client: Client, name: str) -> psutil.Process:
    """The leader, after some of the placements of so many replicas."""
    for _ in range(TRIES):
        leader = psutil.Process(await leader_pid(client))
        async with anyio.create_task_group() as tasks:
            mirror = Mirror(client.bus, subjects.PLACEMENTS, Placement, Trap(leader, name, 3).on_placement)
            await tasks.start(mirror.run)
            await client.scale(name, MANY, wait=False)
            await until(partial(_is_stopped, leader))
            written = len(await placements_of(client, name))
            tasks.cancel_scope.cancel()
        assert written >= 3
        if written < MANY:
            return leader
        leader.send_signal(signal.SIGCONT)  # the trap snapped too late
        await client.scale(name, 1)
        await until(partial(serve, client, name, 1))
    pytest.fail("it was never stopped in the middle")


class Trap:
    """Stops a process in its tracks at the `count`-th placement of a function that the bucket tells of."""

    def __init__(self, leader: psutil.Process, name: str, count: int) -> None:
        self._leader, self._name, self._count = leader, name, count
        self._seen: set[str] = set()

    def on_placement(self, key: str, placement: Placement | None) -> None:
        if placement is None or placement.function.name != self._name or placement.loan:
            return
        self._seen.add(key)
        if len(self._seen) == self._count:
            self._leader.send_signal(signal.SIGSTOP)


async def _is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


async def serve(client: Client, name: str, count: int) -> bool:
    """Whether exactly so many replicas are placed, and each of them is ready."""
    ready = [status.replica for status in await replicas_of(client, name) if status.state is ReplicaState.READY]
    placed = [placement.replica for placement in await placements_of(client, name)]
    return len(placed) == count and sorted(ready) == sorted(placed)


async def placements_of(client: Client, name: str) -> list[Placement]:
    found = await Bucket(client.bus, subjects.PLACEMENTS, Placement).list()
    return [placement for placement in found.values() if placement.function.name == name and not placement.loan]


async def leader_pid(client: Client) -> int:
    """The process that leads."""
    pids: dict[str, int] = {}
    inbox = client.bus.connection.new_inbox()

    async def take(msg: Msg) -> None:
        if msg.data:
            answer = decode(ServiceReady, msg.data)
            pids[answer.instance] = answer.pid

    async def known() -> bool:
        await client.bus.publish(subjects.ping("scheduler"), b"", inbox)
        found = await Bucket(client.bus, subjects.LEASES, LeaseHolder).get(subjects.LEADER_KEY)
        return found is not None and found[0].holder.rpartition("-")[0] in pids

    subscription = await client.bus.subscribe(inbox, take)
    await until(known)
    await subscription.unsubscribe()
    found = await Bucket(client.bus, subjects.LEASES, LeaseHolder).get(subjects.LEADER_KEY)
    assert found is not None
    return pids[found[0].holder.rpartition("-")[0]]


async def test_a_replica_moves_to_other_chunks_under_load_and_loses_no_request(
    world: World, tmp_path: Path, name: str
) -> None:
    """As a scheduler has it: the placement is written anew, with other chunks."""
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        if (await client.status()).nodes[0].devices[0].chunks < 2:
            pytest.skip("a device of one chunk leaves nowhere to go")
        bucket = Bucket(client.bus, subjects.PLACEMENTS, Placement)
        async with under_load(by_nats(client, name), 4, PATIENT_S, {2.0}) as load:
            for turn in range(6):
                await load.more(20)
                (placement,) = await placements_of(client, name)
                there = (0,) if placement.chunks == (1,) else (1,)
                key = subjects.fleet_key(placement.node, placement.replica)
                await bucket.put(key, replace(placement, chunks=there, reason=f"move {turn}"))
                await until(partial(_is_on, client, name, there))
            await load.more(20)
        assert load.failures() == []
        status = await only_replica(client, name)
        assert status.restarts == 0


async def test_a_placement_that_a_node_refuses_is_told_and_taken_on_when_there_is_room(
    world: World, tmp_path: Path, name: str
) -> None:
    """Written by hand, since the scheduler writes none that does not fit: other chunks, whose time is another's."""
    half = Slice(sm_partition=50, quota_request=0.6, quota_limit=1.0, gpu_mem_mib=32)
    definition = functions.times(name, tmp_path, 2.0, slice=half)
    async with deployed(world, definition) as client:
        if (await client.status()).nodes[0].devices[0].chunks < 2:
            pytest.skip("a device of one chunk leaves nowhere to go")
        async with under_load(by_nats(client, name), 2, PATIENT_S, {2.0}) as load:
            async with deployed(world, functions.times(f"{name}-other", tmp_path, 3.0, slice=half)):
                (placement,), (other,) = await placements_of(client, name), await placements_of(client, f"{name}-other")
                key = subjects.fleet_key(placement.node, placement.replica)
                bucket = Bucket(client.bus, subjects.PLACEMENTS, Placement)
                await bucket.put(key, replace(placement, chunks=other.chunks))
                await until(partial(_is_noted, client, name, "it keeps its slice: 0.6 of the time of chunk"))
                await load.more(20)
                status = await only_replica(client, name)
                assert (status.chunks, status.state) == (placement.chunks, ReplicaState.READY)
            await until(partial(_is_on, client, name, other.chunks))
            await load.more(20)
        assert load.failures() == []
        status = await only_replica(client, name)
        assert (status.note, status.restarts) == ("", 0)


async def _is_noted(client: Client, name: str, words: str) -> bool:
    return [words in status.note for status in await replicas_of(client, name)] == [True]


async def _is_on(client: Client, name: str, chunks: tuple[int, ...]) -> bool:
    held = [(status.chunks, status.state) for status in await replicas_of(client, name)]
    return held == [(chunks, ReplicaState.READY)]  # a list made while a key is written may lack it


async def test_a_worker_waits_for_whoever_still_holds_its_device(tmp_path: Path) -> None:
    """Two workers never hold one device: the next one loads when the former has ended."""
    directory = tmp_path / "data" / "devices"
    directory.mkdir(parents=True)
    with (directory / "local-cpu0.lock").open("w") as former:
        former.write("4242\n")
        former.flush()
        fcntl.flock(former, fcntl.LOCK_EX)
        with running(tmp_path / "data") as world:
            async with deployed(world) as client:
                await client.deploy(functions.times("f", tmp_path, 2.0), wait=False)
                await until(partial(_says, world, "waits for process 4242, which still holds it"))
                assert await replicas_of(client, "f") == []  # its device is not known yet
                former.close()
                await until(partial(serve, client, "f", 1))
                assert await _says(world, "process 4242 has let go of it")


async def _says(world: World, words: str) -> bool:
    return words in world.log("node_manager")


async def test_a_function_goes_to_zero_and_back_for_its_callers_and_what_they_waited_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTGSHARE_IDLE_S", "0.5")
    definition = functions.times("f", tmp_path, 2.0, replicas=None, autoscale=Autoscale(min=0, max=2))
    with running(tmp_path / "data") as world:
        async with deployed(world, definition) as client:
            for _ in range(2):
                await until(partial(_is_at_zero, client))
                answer = await client.invoke("f", {"x": rows(3)}, timeout_s=PATIENT_S)
                assert answer.outputs["y"][0, 0] == 6.0
            await until(lambda: _cold_starts(client, 2))
            for event in [event async for event in client.logs("f") if event.kind == "cold_start"]:
                parts = [float(event.fields[f"{part}_ms"]) for part in ("placed", "load", "ready", "answer")]
                assert sum(parts) == pytest.approx(float(event.fields["total_ms"]), abs=1.0)
                assert "from no replica to the first answer" in event.text
            (state,) = (await client.status()).functions
            assert state.cold_start == event.text  # of the last


async def _is_at_zero(client: Client) -> bool:
    return await replicas_of(client, "f") == []


async def _cold_starts(client: Client, count: int) -> bool:
    return len([event async for event in client.logs("f") if event.kind == "cold_start"]) == count
