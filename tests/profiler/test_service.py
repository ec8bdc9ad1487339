"""The profiler on a real bus, measuring replicas that only pretend: tables, requests, interruptions, rivals."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.profiler.adapters.claim_session import ClaimSession
from fastgshare.profiler.adapters.outbox import Outbox
from fastgshare.profiler.app import run_profiler, serve
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.profiler.core.commands import Answer, Claim, Release, Report
from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import BusConfig, NoAnswer, open_bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.config import to_env
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidConfig
from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import (
    Event,
    FunctionLoad,
    GatewayLoad,
    LeaseHolder,
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ReplicaState,
    ServiceReady,
)
from tests.natsd import Natsd
from tests.profiler.fleet import PATIENCE_S, FakeFleet, open_fleet
from tests.profiler.samples import function_spec, replica_status, times

MAX_RSS_MIB = 120


@asynccontextmanager
async def profiling(nats: Natsd, instance: str = "profiler", ready_wait_s: float = 60.0) -> AsyncIterator[None]:
    """A profiler of its own, in this process; leaving ends it without ado."""
    config = ProfilerConfig(nats_url=nats.url, instance=instance, ready_wait_s=ready_wait_s, tick_ms=50)
    async with open_bus(BusConfig(url=nats.url, name=instance)) as bus, anyio.create_task_group() as work:
        await work.start(run_profiler, bus, config)
        yield
        work.cancel_scope.cancel()


def is_complete(table: Profile) -> bool:
    return table.state is ProfileState.COMPLETE


def has_ended(progress: ProfileProgress) -> bool:
    return progress.state is not ProfileState.MEASURING


class Gated:
    """A worker that answers once it is let, and says when it was asked."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.let = anyio.Event()

    async def __call__(self, request: MeasureRequest) -> MeasureReply | None:
        self.asked.set()
        await self.let.wait()
        return times(request.batch)


async def test_a_model_is_measured_by_itself_and_the_table_is_told_of(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        events: list[Event] = []

        async def on_event(msg: Msg) -> None:
            events.append(decode(Event, msg.data))

        await fleet.bus.subscribe("fast.event.*.echo", on_event)
        await fleet.deploy()
        await fleet.start_replica()
        table = await fleet.table_when(is_complete)
        assert [(point.batch, point.p50_us) for point in table.points] == [(1, 1000), (2, 1100), (4, 1300), (8, 1700)]
        assert fleet.batches() == [1, 2, 4, 8]
        with anyio.fail_after(PATIENCE_S):
            while [event.kind for event in events] != ["profile_started", "profile_complete"]:
                await anyio.sleep(0.01)
        assert not fleet.progress, "nobody asked"


async def test_a_request_is_answered_reported_on_and_readable_once_it_is_complete(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = Gated()
        await fleet.deploy()
        await fleet.start_replica(answering=gate)
        answer = await fleet.ask()
        assert (answer.function, answer.state, answer.planned) == ("echo", ProfileState.MEASURING, 4)
        with anyio.fail_after(1.5):
            await gate.asked.wait()  # before the function could count as quiet
        gate.let.set()
        last = await fleet.progress_when(has_ended)
        assert (last.state, last.done, last.planned) == (ProfileState.COMPLETE, 4, 4)
        table = await fleet.table()
        assert table is not None
        assert is_complete(table)
        assert [p.done for p in fleet.progress] == sorted(p.done for p in fleet.progress)
        assert (await fleet.ask()).state is ProfileState.COMPLETE
        assert (await fleet.ask(again=True)).state is ProfileState.MEASURING
        renewed = await fleet.table_when(lambda now: is_complete(now) and now.table_version > table.table_version)
        assert len(renewed.points) == 4
        assert fleet.batches() == [1, 2, 4, 8] * 2


async def test_requests_that_cannot_be_met_end_with_the_reason(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats, ready_wait_s=1):
        for name in ("nobody", "NO_NAME!"):
            answer = await fleet.ask(name)
            assert (answer.state, answer.reason) == (ProfileState.FAILED, f"there is no function '{name}'")
        garbled = await fleet.bus.request(subjects.profile(function_spec().name), b"\xc1", timeout_s=5)
        assert decode(ProfileProgress, garbled.data).state is ProfileState.FAILED
        await fleet.deploy()
        await fleet.report(replica_status(state=ReplicaState.FAILED, reason="the model is broken"))
        assert (await fleet.ask()).state is ProfileState.MEASURING
        last = await fleet.progress_when(has_ended)
        assert last.state is ProfileState.FAILED
        assert last.reason == "no replica of 'echo' was ready within 1 s: the model is broken"


async def test_a_replica_that_vanishes_in_the_middle_is_continued_when_one_is_back(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = Gated()

        async def two_points(request: MeasureRequest) -> MeasureReply | None:
            return times(request.batch) if request.batch < 4 else await gate(request)

        await fleet.deploy()
        await fleet.start_replica(answering=two_points)
        await fleet.ask()
        await gate.asked.wait()
        await fleet.kill_replica()
        half = await fleet.table()
        assert half is not None
        assert (half.state, [point.batch for point in half.points]) == (ProfileState.MEASURING, [1, 2])
        await fleet.start_replica(replica_status("echo-g1-000002", incarnation="second"))
        await fleet.table_when(is_complete)
        assert fleet.batches() == [1, 2, 4, 4, 8]
        assert (await fleet.progress_when(has_ended)).state is ProfileState.COMPLETE
        gate.let.set()


async def test_a_worker_that_fails_ends_the_table_with_its_reason(nats: Natsd) -> None:
    async def failing(request: MeasureRequest) -> MeasureReply | None:
        return MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "Reshape: dimension mismatch"))

    async with open_fleet(nats) as fleet, profiling(nats):
        await fleet.deploy()
        await fleet.start_replica(answering=failing)
        await fleet.ask()
        last = await fleet.progress_when(has_ended)
        assert last.state is ProfileState.FAILED
        assert "Reshape: dimension mismatch" in last.reason
        table = await fleet.table()
        assert table is not None
        assert (table.state, table.reason) == (ProfileState.FAILED, last.reason)


async def test_a_function_with_traffic_is_not_measured_unless_asked_for(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats), anyio.create_task_group() as work:

        async def keep_busy() -> None:
            arrived = 0
            while True:
                arrived += 1
                load = {function_spec().name: FunctionLoad(arrived=arrived)}
                gateway = GatewayId("gateway-0")
                message = GatewayLoad(gateway=gateway, incarnation="one", at_us=0, functions=load)
                await fleet.bus.publish(subjects.load(gateway), encode(message))
                await anyio.sleep(0.1)

        work.start_soon(keep_busy)
        await fleet.deploy()
        await fleet.deploy(function_spec("idle", max_batch=1))
        await fleet.start_replica()
        # A second table's automatic measurement shows that the time for the first would have come.
        idle = replica_status("idle-g1-000001", "idle", device="node-0-sim0", device_kind="sim", max_batch=1)
        await fleet.start_replica(idle)
        profiles = Bucket(fleet.bus, subjects.PROFILES, Profile)
        with anyio.fail_after(PATIENCE_S):
            while await profiles.get(subjects.profile_key(idle.model_digest, "sim")) is None:
                await anyio.sleep(0.05)
        assert await fleet.table() is None
        await fleet.ask()
        await fleet.table_when(is_complete)
        work.cancel_scope.cancel()


async def test_of_two_profilers_each_point_is_measured_by_one_and_both_can_be_asked(nats: Natsd) -> None:
    async def take_a_while(request: MeasureRequest) -> MeasureReply | None:
        await anyio.sleep(0.2)
        return times(request.batch)

    async with open_fleet(nats) as fleet, profiling(nats, "one"), profiling(nats, "two"):
        await fleet.deploy()
        await fleet.start_replica(answering=take_a_while)
        for _ in range(6):  # the queue group spreads them over both
            assert (await fleet.ask()).state is ProfileState.MEASURING
        await fleet.table_when(is_complete)
        with anyio.fail_after(PATIENCE_S):
            while sum(has_ended(progress) for progress in fleet.progress) < 1:
                await anyio.sleep(0.01)
        assert fleet.batches() == [1, 2, 4, 8]
        assert all(progress.state is not ProfileState.FAILED for progress in fleet.progress)


async def test_a_profiler_that_dies_is_succeeded_and_no_point_is_measured_twice(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet:
        await fleet.deploy()
        gate = Gated()

        async def one_point(request: MeasureRequest) -> MeasureReply | None:
            return times(request.batch) if request.batch == 1 else await gate(request)

        await fleet.start_replica(answering=one_point)
        process = start_process(nats)
        try:
            await answering(fleet)
            await fleet.ask()
            await gate.asked.wait()
        finally:
            process.kill()
            process.wait()
        await fleet.kill_replica()
        await fleet.start_replica()
        leases = Bucket(fleet.bus, subjects.LEASES, LeaseHolder)
        assert await leases.list(), "the dead one's claim stands until it expires"
        async with profiling(nats, "successor"):
            await fleet.table_when(is_complete)
        assert fleet.batches() == [1, 2, 2, 4, 8]
        gate.let.set()


async def test_measuring_goes_on_after_the_server_was_killed(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = Gated()
        await fleet.deploy()
        await fleet.start_replica(answering=gate)
        await fleet.ask()
        await gate.asked.wait()
        nats.kill()
        gate.let.set()
        nats.restart()
        table = await fleet.table_when(is_complete)
        assert [point.batch for point in table.points] == [1, 2, 4, 8]
        assert (await fleet.progress_when(has_ended)).state is ProfileState.COMPLETE


async def test_the_process_answers_pings_stays_small_and_stops_when_told(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet:
        process = start_process(nats)
        try:
            ready = await answering(fleet)
            assert (ready.service, ready.instance, ready.pid) == ("profiler", "profiler-7", process.pid)
            assert ready.rss_mib < MAX_RSS_MIB
            process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(process.wait, 10) == 0
        finally:
            process.kill()
            process.wait()


def start_process(nats: Natsd) -> subprocess.Popen[bytes]:
    config = ProfilerConfig(nats_url=nats.url, instance="profiler-7", tick_ms=50)
    return subprocess.Popen([sys.executable, "-m", "fastgshare.profiler"], env={**os.environ, **to_env(config)})


async def answering(fleet: FakeFleet) -> ServiceReady:
    """The profiler's answer to a ping, once it gives one."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                answer = await fleet.bus.request(subjects.ping("profiler"), b"", timeout_s=1)
                return decode(ServiceReady, answer.data)
            except NoAnswer:
                await anyio.sleep(0.05)


async def test_requests_without_a_reply_are_let_be(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        subject = subjects.profile(FunctionName("echo"))
        for payload in (
            b"",
            b"\xc1garbage",
            encode(ProfileRequest(function="no name")),
            encode(MeasureRequest(batch=1)),
        ):
            await fleet.bus.publish(subject, payload)
        await fleet.deploy()
        await fleet.start_replica()
        await fleet.table_when(is_complete)
        assert not fleet.progress, "nobody asked"


async def test_an_answer_that_cannot_be_sent_stops_no_other(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, anyio.create_task_group() as work:
        outbox = Outbox(fleet.bus)
        work.start_soon(outbox.run)
        progress = ProfileProgress(function="echo", done=0, planned=0, state=ProfileState.FAILED, reason="no")
        outbox.send(Answer("", progress))
        outbox.send(Answer("here", replace(progress, reason="x" * fleet.bus.max_payload_bytes)))
        outbox.send(Report(progress))
        await fleet.progress_when(lambda heard: heard == progress)
        work.cancel_scope.cancel()


async def test_commands_to_a_claim_that_has_ended_are_dropped(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet:
        key = TableKey("0123.cpu")
        claim = Claim(key, DeviceId("node-cpu0"))
        assert await Lease(fleet.bus, subjects.profile_lease(key), "rival").acquire()
        session = ClaimSession(fleet.bus, claim, "late", lambda fact: None)
        await session.run()
        session.submit(Release(key))


async def test_an_instance_that_is_no_name_is_refused_at_once(nats: Natsd) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_INSTANCE, value=a b"):
        await serve(ProfilerConfig(nats_url=nats.url, instance="a b"))
