"""The profiler on a real bus, measuring replicas that only pretend: tables, requests, interruptions, rivals."""

import math
import os
import signal
import subprocess
import sys
from collections import Counter
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
from fastgshare.profiler.core.commands import Answer, Claim, Release, Report, Wish
from fastgshare.profiler.core.facts import Claimed, Fact, LoanAnswered
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.plan import Setting, axes_for
from fastgshare.profiler.core.points import setting_of
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import BusConfig, NoAnswer, open_bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.config import load_config, to_env
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidConfig
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import (
    Event,
    LeaseHolder,
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ServiceReady,
)
from tests.natsd import Natsd
from tests.profiler.fleet import PATIENCE_S, FakeFleet, answer_at_once, open_fleet
from tests.profiler.samples import function_spec, times

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
    """A worker that answers `free` measurements and the rest once it is let, and says when it was asked for them."""

    def __init__(self, free: int = 0) -> None:
        self.asked = anyio.Event()
        self.let = anyio.Event()
        self._free = free

    async def __call__(self, request: MeasureRequest) -> MeasureReply | None:
        self._free -= 1
        if self._free < 0:
            self.asked.set()
            await self.let.wait()
        return times(request)


def settings_of(table: Profile) -> list[Setting]:
    return sorted(setting_of(point) for point in table.points)


async def test_a_model_is_measured_by_itself_on_a_borrowed_slice_and_the_table_is_told_of(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        events: list[Event] = []

        async def on_event(msg: Msg) -> None:
            events.append(decode(Event, msg.data))

        await fleet.bus.subscribe("fast.event.*.echo", on_event)
        leases = await Bucket(fleet.bus, subjects.LEASES, LeaseHolder).watch()
        await fleet.deploy()
        table = await fleet.table_when(is_complete)
        assert table.axes == axes_for(2, 2)
        assert table.surface
        assert settings_of(table) == sorted(fleet.settings())
        await fleet.until(lambda: [event.kind for event in events] == ["profile_started", "profile_complete"])
        await fleet.until(lambda: fleet.wishes[-1].over)
        assert fleet.lent is None
        assert not any(wish.asked for wish in fleet.wishes)
        assert not fleet.progress, "nobody asked"
        with anyio.fail_after(PATIENCE_S):
            while (lease := await leases.next()) is None or lease.operation != "DEL":  # one that runs out leaves none
                pass
        await leases.stop()


async def test_a_request_is_answered_reported_on_and_readable_once_it_is_complete(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = fleet.answering = Gated()
        await fleet.deploy()
        answer = await fleet.ask(grid=True)
        assert (answer.function, answer.state) == ("echo", ProfileState.MEASURING)
        await gate.asked.wait()
        await fleet.until(lambda: fleet.wishes[-1].asked)
        gate.let.set()
        last = await fleet.progress_when(has_ended)
        assert (last.state, last.done, last.planned) == (ProfileState.COMPLETE, 20, 20)
        table = await fleet.table()
        assert table is not None
        assert is_complete(table)
        assert [p.done for p in fleet.progress] == sorted(p.done for p in fleet.progress)
        assert (await fleet.ask()).state is ProfileState.COMPLETE
        assert (await fleet.ask(again=True)).state is ProfileState.MEASURING
        await fleet.table_when(lambda now: is_complete(now) and now.table_version > table.table_version)


async def test_the_slice_stays_lent_while_a_point_takes_its_time(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = fleet.answering = Gated()
        await fleet.deploy()
        await gate.asked.wait()
        wished = len(fleet.wishes)
        await fleet.until(lambda: len(fleet.wishes) >= wished + 3)
        gate.let.set()
        await fleet.table_when(is_complete)
        assert len({wish.loan for wish in fleet.wishes}) == 1


async def test_requests_that_cannot_be_met_end_with_the_reason(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats, ready_wait_s=1):
        for name in ("nobody", "NO_NAME!"):
            answer = await fleet.ask(name)
            assert (answer.state, answer.reason) == (ProfileState.FAILED, f"there is no function '{name}'")
        garbled = await fleet.bus.request(subjects.profile(function_spec().name), b"\xc1", timeout_s=5)
        assert decode(ProfileProgress, garbled.data).state is ProfileState.FAILED
        fleet.refusal = LoanReply(loan="", state=LoanState.WAITING, reason="'echo' needs 9 GiB")
        await fleet.deploy()
        assert (await fleet.ask()).state is ProfileState.MEASURING
        last = await fleet.progress_when(has_ended)
        assert last.state is ProfileState.FAILED
        assert last.reason == "'echo' waited 1 s for a slice: 'echo' needs 9 GiB"


async def test_a_slice_taken_back_in_the_middle_is_borrowed_again(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = fleet.answering = Gated(free=2)
        await fleet.deploy()
        await fleet.ask()
        await gate.asked.wait()
        half = await fleet.table()
        assert half is not None
        assert (half.state, len(half.points)) == (ProfileState.MEASURING, 2)
        await fleet.take_back()
        fleet.answering = answer_at_once
        gate.let.set()
        table = await fleet.table_when(is_complete)
        measured = Counter(fleet.settings())
        assert sorted(measured) == settings_of(table)
        assert sum(measured.values()) == len(measured) + 1, "the one it was interrupted at"
        assert (await fleet.progress_when(has_ended)).state is ProfileState.COMPLETE


async def test_a_worker_that_fails_ends_the_table_with_its_reason(nats: Natsd) -> None:
    async def failing(request: MeasureRequest) -> MeasureReply | None:
        return MeasureReply(error=ErrorBody(ErrorCode.MODEL_FAILED, "Reshape: dimension mismatch"))

    async with open_fleet(nats) as fleet, profiling(nats):
        fleet.answering = failing
        await fleet.deploy()
        await fleet.ask()
        last = await fleet.progress_when(has_ended)
        assert last.state is ProfileState.FAILED
        assert "Reshape: dimension mismatch" in last.reason
        table = await fleet.table()
        assert table is not None
        assert (table.state, table.reason) == (ProfileState.FAILED, last.reason)


async def test_of_two_profilers_each_point_is_measured_by_one_and_both_can_be_asked(nats: Natsd) -> None:
    async def take_a_while(request: MeasureRequest) -> MeasureReply | None:
        await anyio.sleep(0.05)
        return times(request)

    async with open_fleet(nats) as fleet, profiling(nats, "one"), profiling(nats, "two"):
        fleet.answering = take_a_while
        await fleet.deploy()
        for _ in range(6):  # the queue group spreads them over both
            assert (await fleet.ask()).state is ProfileState.MEASURING
        table = await fleet.table_when(is_complete)
        await fleet.until(lambda: any(has_ended(progress) for progress in fleet.progress))
        assert sorted(fleet.settings()) == settings_of(table)
        assert all(progress.state is not ProfileState.FAILED for progress in fleet.progress)


async def test_a_profiler_that_dies_is_succeeded_and_no_point_is_measured_twice(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet:
        gate = fleet.answering = Gated(free=1)
        await fleet.deploy()
        process = start_process(nats)
        try:
            await answering(fleet)
            await fleet.ask()
            await gate.asked.wait()
        finally:
            process.kill()
            process.wait()
        leases = Bucket(fleet.bus, subjects.LEASES, LeaseHolder)
        assert await leases.list(), "the dead one's claim stands until it expires"
        await fleet.take_back()
        fleet.answering = answer_at_once
        gate.let.set()
        async with profiling(nats, "successor"):
            table = await fleet.table_when(is_complete)
        measured = Counter(fleet.settings())
        assert sorted(measured) == settings_of(table)
        assert sum(measured.values()) == len(measured) + 1, "the one that was never answered"


async def test_measuring_goes_on_after_the_server_was_killed(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        gate = fleet.answering = Gated()
        await fleet.deploy()
        await fleet.ask()
        await gate.asked.wait()
        nats.kill()
        gate.let.set()
        nats.restart()
        await fleet.table_when(is_complete)
        assert (await fleet.progress_when(has_ended)).state is ProfileState.COMPLETE


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
        await fleet.table_when(is_complete)
        assert not fleet.progress, "nobody asked"


@pytest.mark.parametrize("budget_s", [math.inf, math.nan, 1e300, -1.0])
async def test_a_budget_that_is_none_is_refused_and_harms_nobody(nats: Natsd, budget_s: float) -> None:
    async with open_fleet(nats) as fleet, profiling(nats):
        await fleet.deploy()
        payload = encode(ProfileRequest(function="echo", budget_s=budget_s))
        reply = await fleet.bus.request(subjects.profile(FunctionName("echo")), payload, timeout_s=5)
        progress = decode(ProfileProgress, reply.data)
        assert progress.state is ProfileState.FAILED
        assert "budget_s" in progress.reason
        await fleet.table_when(is_complete)


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
        assert await Lease(fleet.bus, subjects.profile_lease(key), "rival").acquire()
        session = ClaimSession(fleet.bus, Claim(key), "late", lambda fact: None)
        await session.run()
        session.submit(Release(key))
        session.submit(Wish(key, LoanWish(loan="late", function="echo", device_kind="cpu")))
        assert not fleet.wishes


async def test_what_was_borrowed_is_given_back_however_a_claim_ends(nats: Natsd) -> None:
    async with open_fleet(nats) as fleet, anyio.create_task_group() as work:
        await fleet.deploy()
        key = TableKey("0123.cpu")
        learnt: list[Fact] = []
        session = ClaimSession(fleet.bus, Claim(key), "holder", learnt.append)
        work.start_soon(session.run)
        await fleet.until(lambda: bool(learnt))
        (claimed,) = learnt
        assert isinstance(claimed, Claimed)
        assert claimed.loan == f"holder.{key}"
        session.submit(Wish(key, LoanWish(loan=claimed.loan, function="echo", device_kind="cpu")))
        await fleet.until(lambda: len(learnt) > 1)
        assert isinstance(learnt[1], LoanAnswered)
        assert fleet.lent is not None
        leases = Bucket(fleet.bus, subjects.LEASES, LeaseHolder)
        await leases.put(subjects.profile_lease(key), LeaseHolder(holder="thief"))
        await fleet.until(lambda: fleet.wishes[-1].over)
        await fleet.until(lambda: fleet.lent is None)


async def test_an_instance_that_is_no_name_is_refused_at_once(nats: Natsd) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_INSTANCE, value=a b"):
        await serve(ProfilerConfig(nats_url=nats.url, instance="a b"))


@pytest.mark.parametrize(("name", "value"), [("SLOWEST_MS", "70000"), ("OPEN_MS", "-1"), ("PRECISION", "3")])
def test_a_setting_that_no_worker_would_take_is_refused_at_once(name: str, value: str) -> None:
    """Every request would be invalid, and every model fail for it."""
    with pytest.raises(InvalidConfig):
        load_config(ProfilerConfig, {f"FASTGSHARE_{name}": value})
