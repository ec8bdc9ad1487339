"""Following a platform on a real bus: what stood before, what is published, what is missed while a server is away."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from nats import errors as nats_errors

from fastgshare.gateway.adapters.past import tell_past
from fastgshare.shared import subjects, watching
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import Event, FunctionSpec, ReplicaStatus
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.overview.view import PlatformView
from fastgshare.shared.service import answer_pings
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.watching import follow_platform
from tests.natsd import Natsd
from tests.shared.overview.platform import NODE, OCR, counts, node, replica, report, spec

PATIENCE_S = 20


async def test_what_stood_before_is_there_at_once(nats: Natsd) -> None:
    async with _bus(nats) as bus:
        await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(OCR, spec())
        await Bucket(bus, subjects.REPLICAS, ReplicaStatus).put(
            subjects.fleet_key(NODE, replica("r1").replica), replica("r1")
        )
        for number in range(3):
            await _told(bus, f"reason {number}")
        async with _followed(bus) as overview:
            view = overview.view(unix_us())
            assert [function.function for function in view.functions] == [OCR]
            assert view.functions[0].ready == 1
            assert [decision.text for decision in view.decisions] == ["reason 2", "reason 1", "reason 0"]


async def test_what_is_published_is_followed(nats: Natsd) -> None:
    async with _bus(nats) as bus, anyio.create_task_group() as tasks:
        await tasks.start(answer_pings, bus, "profiler", "p1", {})
        await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(OCR, spec())
        async with _followed(bus) as overview:
            await bus.publish(subjects.node_status(NODE), encode(node()))
            gateway = GatewayId("g1")
            await bus.publish(subjects.report(gateway), encode(report(counts(met=1))))
            await bus.publish(subjects.report(gateway), encode(report(counts(met=2, missed=1))))
            await bus.publish(subjects.report(gateway), b"\xc1 not a report")
            await _told(bus, "now")
            seen = await _until(
                overview, lambda view: bool(view.devices and view.decisions) and len(view.services) == 3
            )
            assert [service.service for service in seen.services] == ["gateway", "node_manager", "profiler"]
            assert seen.functions[0].attainment["1m"] == 0.5
            await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).delete(OCR)
            await _until(overview, lambda view: not view.functions)
        tasks.cancel_scope.cancel()


async def test_counting_begins_with_what_gateways_have_seen(nats: Natsd) -> None:
    async with _bus(nats) as bus, anyio.create_task_group() as tasks:
        await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(OCR, spec())
        gateway, seen = GatewayId("g1"), Overview()
        seen.function(OCR, spec())
        seen.report(report(), unix_us())
        seen.report(report(counts(met=3, missed=1)), unix_us())
        await tasks.start(tell_past, bus, gateway, seen)
        async with _followed(bus) as overview:
            assert overview.view(unix_us()).functions[0].attainment["1m"] is None
            await bus.publish(subjects.report(gateway), encode(report(counts(met=3, missed=1))))
            await _until(overview, lambda view: view.functions[0].attainment["1h"] == 0.75)
            await bus.publish(subjects.report(gateway), encode(report(counts(met=3, missed=2))))
            await _until(overview, lambda view: view.functions[0].attainment["1h"] == 0.6)
        tasks.cancel_scope.cancel()


async def test_what_was_told_while_the_server_was_away_is_read_when_it_is_back(nats: Natsd) -> None:
    async with _bus(nats) as bus, _followed(bus) as overview:
        await _told(bus, "before")
        await _until(overview, lambda view: len(view.decisions) == 1)
        nats.kill()
        nats.restart()
        async with open_bus(BusConfig(url=nats.url)) as other:
            await _told(other, "meanwhile")
        seen = await _until(overview, lambda view: len(view.decisions) == 2)
        assert [decision.text for decision in seen.decisions] == ["meanwhile", "before"]


async def test_what_is_kept_is_read_once_jetstream_answers(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AGAIN_S", 0.1)
    async with _bus(nats) as bus:
        await _told(bus, "before")
        stream_info, tries = bus.jetstream.stream_info, 0

        async def slow(name: str, subjects_filter: str | None = None) -> object:
            nonlocal tries
            tries += name == subjects.EVENT_STREAM
            if name == subjects.EVENT_STREAM and tries < 3:
                raise nats_errors.TimeoutError
            return await stream_info(name, subjects_filter)

        monkeypatch.setattr(bus.jetstream, "stream_info", slow)
        async with _followed(bus) as overview:
            await _until(overview, lambda view: len(view.decisions) == 1)


@asynccontextmanager
async def _bus(nats: Natsd) -> AsyncIterator[Bus]:
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        yield bus


@asynccontextmanager
async def _followed(bus: Bus) -> AsyncIterator[Overview]:
    overview = Overview()
    async with anyio.create_task_group() as tasks:
        await tasks.start(follow_platform, bus, overview)
        yield overview
        tasks.cancel_scope.cancel()


async def _told(bus: Bus, text: str) -> None:
    event = Event(kind="scaled", source="scheduler", at_us=unix_us(), function=OCR, text=text)
    await bus.jetstream.publish(subjects.event("scaled", OCR), encode(event))


async def _until(overview: Overview, holds: Callable[[PlatformView], bool]) -> PlatformView:
    with anyio.fail_after(PATIENCE_S):
        while not holds(view := overview.view(unix_us())):
            await anyio.sleep(0.02)
        return view
