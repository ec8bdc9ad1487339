"""Whole schedulers on a real NATS server, with nodes that only talk."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.scheduler.adapters.writer import Writer
from fastgshare.scheduler.app import SERVICE, run_scheduler, serve
from fastgshare.scheduler.config import SchedulerConfig
from fastgshare.scheduler.core.commands import PlaceReplica, ResizeReplica
from fastgshare.scheduler.core.events import PlacementRefused
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.children import die_with_parent
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.config import to_env
from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Autoscale,
    Demand,
    Event,
    LeaseHolder,
    LoanReply,
    LoanState,
    LoanWish,
    Placement,
    ServiceReady,
)
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd
from tests.scheduler.fleet import BROKEN, Observatory, TalkingNode, function, open_node, until

RSS_LIMIT_MIB = 120
WISH_S = 5.0
QUICK = SchedulerConfig(tick_ms=100, node_silent_s=1.0, idle_s=0.5, sweep_s=0.5)


@asynccontextmanager
async def open_scheduler(nats: Natsd, config: SchedulerConfig = QUICK) -> AsyncIterator[tuple[Bus, Observatory]]:
    """A scheduler in this process that is ready, and a view on what it does."""
    async with (
        open_bus(BusConfig(nats.url, "scheduler")) as bus,
        open_bus(BusConfig(nats.url, "test")) as other,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(run_scheduler, bus, config)
        yield other, Observatory(other)
        tasks.cancel_scope.cancel()


@contextmanager
def spawn_scheduler(nats: Natsd, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A scheduler in a process of its own; killed at the end of the block, if it still lives."""
    config = SchedulerConfig(nats_url=nats.url, instance=name, tick_ms=100, node_silent_s=1.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastgshare.scheduler"],
        env={**os.environ, **to_env(config)},
        preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509  # nothing else outlives SIGKILL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def open_view(nats: Natsd) -> AsyncIterator[tuple[Bus, Observatory]]:
    """The buckets, with no scheduler in this process."""
    async with open_bus(BusConfig(nats.url, "test")) as bus:
        await ensure_storage(bus)
        yield bus, Observatory(bus)


async def leader(bus: Bus) -> str:
    """The instance that holds the lease; empty where none does."""
    found = await Bucket(bus, subjects.LEASES, LeaseHolder).get(subjects.LEADER_KEY)
    return found[0].holder.rpartition("-")[0] if found else ""


async def until_another_leads(bus: Bus, former: str) -> str:
    """Wait for a leader other than `former`; its instance."""

    async def led() -> bool:
        return await leader(bus) not in ("", former)

    await until(led)
    return await leader(bus)


async def until_ready(bus: Bus, *instances: str) -> dict[str, ServiceReady]:
    """Ask until these schedulers have all answered; what they say of themselves, by instance."""
    found: dict[str, ServiceReady] = {}
    inbox = bus.connection.new_inbox()

    async def take(msg: Msg) -> None:
        if msg.data:  # else nobody listens yet
            answer = decode(ServiceReady, msg.data)
            found[answer.instance] = answer

    async def ready() -> bool:
        await bus.publish(subjects.ping(SERVICE), b"", inbox)
        return found.keys() >= set(instances)

    subscription = await bus.subscribe(inbox, take)
    await until(ready)
    await subscription.unsubscribe()
    return found


async def collect(bus: Bus, subject: str, into: list[Event]) -> None:
    """Gather events from now on."""

    async def take(msg: Msg) -> None:
        into.append(decode(Event, msg.data))

    await bus.subscribe(subject, take)
    await bus.connection.flush()


async def test_a_function_is_placed_scaled_and_removed(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a") as node:
        await seen.deploy(function(replicas=2))
        await seen.until_ready(2)
        assert {placement.replica for placement in node.placements} == {p.replica for p in await seen.placed()}
        assert all(placement.epoch > 0 and placement.reason for placement in node.placements)
        await seen.deploy(function(replicas=1))
        await seen.until_ready(1)
        await seen.functions.delete("f")
        await seen.until_generations()


async def test_replicas_of_a_lost_node_come_up_on_another(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), anyio.create_task_group() as tasks:
        async with open_node(bus, "a"):
            await seen.deploy(function(replicas=3))
            await seen.until_ready(3, nodes="a")
            tasks.start_soon(TalkingNode(bus, "b").run)
        await seen.until_ready(3, nodes="b")
        assert len(await seen.placed()) == 3
        tasks.cancel_scope.cancel()


async def test_an_update_replaces_and_a_broken_one_leaves_the_last_good(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a"):
        await seen.deploy(function(replicas=2))
        await seen.until_ready(2)
        await seen.deploy(function(generation=2, replicas=2))
        await seen.until_ready(2, generation=2)
        await seen.until_generations(2, 2)
        failures: list[Event] = []
        await collect(bus, subjects.event("generation_failed", "f"), failures)
        await seen.deploy(function(generation=3, replicas=2, source=BROKEN))
        await until(lambda: bool(failures))
        assert "it is broken" in failures[0].text
        await seen.until_generations(2, 2, 3, 3)
        await seen.deploy(function(generation=4, replicas=2))
        await seen.until_generations(4, 4)


async def test_a_function_without_requests_goes_to_zero_and_comes_back_on_demand(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a") as node:
        await seen.deploy(function(autoscale=Autoscale(min=0, max=2)))
        await until(lambda: len(node.placements) == 1)
        await seen.until_generations()
        name = FunctionName("f")
        demand = Demand(function=name, gateway=GatewayId("gateway-0"), held=1)
        await bus.publish(subjects.demand(name), encode(demand))
        await until(lambda: len(node.placements) == 2)


async def test_it_carries_on_after_the_server_was_away(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a") as node:
        await seen.deploy(function(replicas=2))
        await seen.until_ready(2)
        before = await seen.placed()
        nats.kill()
        await until(lambda: not bus.is_connected)
        nats.restart()
        await until(lambda: bus.is_connected)
        await seen.deploy(function("g"))
        await seen.until_ready(1, "g")
        assert await seen.placed() == before, "what runs is left alone"
        assert len(node.placements) == 3


async def test_when_the_leader_is_killed_the_other_leads_within_seconds(nats: Natsd) -> None:
    with spawn_scheduler(nats, "one") as one, spawn_scheduler(nats, "two") as two:
        async with open_view(nats) as (bus, seen), open_node(bus, "a") as node:
            await seen.deploy(function(replicas=2))
            await seen.until_ready(2)
            first = await leader(bus)
            {"one": one, "two": two}[first].kill()
            await seen.deploy(function(replicas=3))
            await seen.until_ready(3)
            assert {first, await leader(bus)} == {"one", "two"}
            epochs = [placement.epoch for placement in node.placements]
            assert epochs[0] == epochs[1] < epochs[2]
            assert len({placement.replica for placement in node.placements}) == 3


async def test_a_leader_that_slept_through_its_lease_does_nothing_when_it_wakes(nats: Natsd) -> None:
    with spawn_scheduler(nats, "one") as one, spawn_scheduler(nats, "two") as two:
        async with open_view(nats) as (bus, seen), open_node(bus, "a"):
            done: list[Event] = []
            await collect(bus, subjects.EVENT_ALL, done)
            await seen.deploy(function("f"))
            await seen.until_ready(1)
            sleeper = await leader(bus)
            process = {"one": one, "two": two}[sleeper]
            process.send_signal(signal.SIGSTOP)
            await until_another_leads(bus, sleeper)
            await seen.deploy(function("g", replicas=2))
            await seen.until_ready(2, "g")
            slept_until = len(done)
            process.send_signal(signal.SIGCONT)
            await until_ready(bus, "one", "two")
            await seen.deploy(function("h", replicas=2))
            await seen.until_ready(2, "h")
            acted = ("replica_placed", "replica_removed", "leader_elected")
            late = [event for event in done[slept_until:] if event.source == sleeper and event.kind in acted]
            assert late == []
            assert [len(await seen.placed(name)) for name in "fgh"] == [1, 2, 2]


async def test_a_leader_told_to_stop_hands_over_at_once(nats: Natsd) -> None:
    with spawn_scheduler(nats, "one") as one, spawn_scheduler(nats, "two") as two:
        async with open_view(nats) as (bus, _seen):
            await until_ready(bus, "one", "two")
            first = await until_another_leads(bus, "")
            process = {"one": one, "two": two}[first]
            process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(process.wait) == 0
            await until_another_leads(bus, first)


async def test_it_says_when_it_is_ready_and_stays_small(nats: Natsd) -> None:
    with spawn_scheduler(nats, "one") as process:
        async with open_view(nats) as (bus, seen), open_node(bus, "a"):
            await until_ready(bus, "one")
            await seen.deploy(function())
            await seen.until_ready(1)
            ready = (await until_ready(bus, "one"))["one"]
            assert (ready.service, ready.instance, ready.pid) == (SERVICE, "one", process.pid)
            assert ready.rss_mib < RSS_LIMIT_MIB


async def test_what_does_not_decode_is_ignored(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a"):
        for subject in ("fast.load.x", "fast.demand.x", "fast.node.x.status"):
            await bus.publish(subject, b"\xff not a message")
        await seen.deploy(function())
        await seen.until_ready(1)


async def test_a_ping_without_a_reply_is_let_be(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, _seen):
        await bus.publish(subjects.ping(SERVICE), b"")
        await until_ready(bus, QUICK.instance)


async def test_garbage_as_a_leader_s_lease_runs_out(nats: Natsd) -> None:
    async with open_view(nats) as (view, _seen):
        store = await view.jetstream.key_value(subjects.LEASES)
        await store.put(subjects.LEADER_KEY, b"\xc1garbage")
        async with open_scheduler(nats) as (bus, seen), open_node(bus, "a"):
            await seen.deploy(function())
            await seen.until_ready(1)


async def test_garbage_where_a_placement_goes_is_somebody_else_s(nats: Natsd) -> None:
    async with open_view(nats) as (bus, _seen), anyio.create_task_group() as tasks:
        placement = Placement(
            replica=ReplicaId("f-1-a"),
            function=function(),
            node=NodeId("a"),
            device=DeviceId("a-cpu0"),
            chunks=(0,),
            epoch=1,
        )
        store = await bus.jetstream.key_value(subjects.PLACEMENTS)
        await store.put(subjects.fleet_key(placement.node, placement.replica), b"\xc1garbage")
        refused: list[PlacementRefused] = []
        writer = Writer(bus, lambda epoch: epoch == placement.epoch, refused.append)
        writer.submit([PlaceReplica(placement, "because")])
        tasks.start_soon(writer.run)
        await until(lambda: [refusal.replica for refusal in refused] == [placement.replica])
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("standing", "written"), [(1, True), (2, True), (3, False)])
async def test_a_change_of_a_placement_never_overwrites_a_later_leaders(
    nats: Natsd, standing: int, written: bool
) -> None:
    async with open_view(nats) as (bus, _seen), anyio.create_task_group() as tasks:
        before = Placement(
            replica=ReplicaId("f-1-a"),
            function=function(),
            node=NodeId("a"),
            device=DeviceId("a-cpu0"),
            chunks=(0,),
            epoch=standing,
        )
        after, gone = replace(before, epoch=2, reason="resized"), replace(before, epoch=2, replica=ReplicaId("f-1-b"))
        bucket = Bucket(bus, subjects.PLACEMENTS, Placement)
        key = subjects.fleet_key(before.node, before.replica)
        await bucket.put(key, before)
        refused: list[PlacementRefused] = []
        writer = Writer(bus, lambda epoch: epoch == 2, refused.append)
        writer.submit([ResizeReplica(after, "because"), ResizeReplica(gone, "because")])
        tasks.start_soon(writer.run)
        await until(lambda: [refusal.replica for refusal in refused] == [gone.replica])
        found = await bucket.get(key)
        assert found is not None
        assert found[0] == (after if written else before)
        tasks.cancel_scope.cancel()


async def test_an_instance_that_is_no_name_is_refused_at_once(nats: Natsd) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_INSTANCE, value=a b"):
        await serve(SchedulerConfig(nats_url=nats.url, instance="a b"))


async def test_a_policy_that_is_none_is_refused_at_once(nats: Natsd) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_POLICY, value=best, expected=one of fixed, objective"):
        await serve(SchedulerConfig(nats_url=nats.url, policy="best"))


async def test_a_slice_is_lent_over_the_bus_and_given_back(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a") as node:
        await seen.deploy(function())
        await seen.until_ready(1)

        async def wish(payload: bytes) -> LoanReply:
            return decode(LoanReply, (await bus.request(subjects.LOAN, payload, WISH_S)).data)

        wanted = LoanWish(loan="profiler-1", function="f", device_kind="cpu", sm_partition=50)
        lent = await wish(encode(wanted))
        assert lent.state is LoanState.LENT
        await until(lambda: any(p.replica == lent.replica and p.loan == "profiler-1" for p in node.placements))
        assert (await wish(encode(wanted))).replica == lent.replica
        assert (await wish(b"no wish")).state is LoanState.REFUSED
        unknown = await wish(encode(replace(wanted, loan="profiler-2", function="g")))
        assert (unknown.state, unknown.reason) == (LoanState.REFUSED, "function is 'g', which is not deployed")
        assert await seen.ready() == 1
        await bus.publish(subjects.LOAN, encode(replace(wanted, over=True)))  # nobody would hear the answer
        assert (await wish(encode(wanted))).state is LoanState.LENT
        await wish(encode(replace(wanted, over=True)))
        await until(lambda: node.standing == 1)


async def test_of_two_schedulers_only_the_leader_answers_a_wish(nats: Natsd) -> None:
    async with open_scheduler(nats) as (bus, seen), open_node(bus, "a"), anyio.create_task_group() as tasks:
        await seen.deploy(function())
        await seen.until_ready(1)
        async with open_bus(BusConfig(nats.url, "follower")) as follower:
            await tasks.start(run_scheduler, follower, QUICK)
            answers: list[LoanReply] = []
            inbox = bus.connection.new_inbox()

            async def take(msg: Msg) -> None:
                answers.append(decode(LoanReply, msg.data))

            await bus.subscribe(inbox, take)
            wish = LoanWish(loan="l", function="f", device_kind="cpu")
            for number in range(3):
                await bus.publish(subjects.LOAN, b"no wish" if number == 1 else encode(wish), inbox)
                await until(lambda: len(answers) > number)  # noqa: B023  # awaited at once
            await follower.flush()
            await bus.flush()
            assert len(answers) == 3
            tasks.cancel_scope.cancel()
