"""Usage goes into the stream once: sent again after a lost answer, kept while there is no server, and no more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import PubAck

from fastgshare.client.billing import usage_since
from fastgshare.node_manager.adapters import usage_writer
from fastgshare.node_manager.adapters.usage_writer import UsageWriter
from fastgshare.node_manager.core.books import DeviceBooks
from fastgshare.node_manager.core.spending import Spent
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.ids import DeviceId, FunctionName, NodeId
from fastgshare.shared.messages import UsageRecord
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

FN = FunctionName("fn")
DEVICE = DeviceId("n-cpu0")
PATIENCE_S = 30.0
INTERVAL_S = 0.05


@dataclass
class Device:
    device_id: DeviceId = DEVICE
    sms: int = 2
    kind: str = "cpu"
    books: DeviceBooks = field(default_factory=lambda: DeviceBooks(unix_us()))

    def spend(self, chunk_us: int) -> None:
        self.books.spent({FN: Spent(chunk_us=chunk_us)}, sms=2, chunks=2)


@asynccontextmanager
async def open_platform(nats: Natsd) -> AsyncIterator[Bus]:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        yield bus


def writer(bus: Bus, device: Device) -> UsageWriter:
    return UsageWriter(bus, NodeId("n"), "life", [device], INTERVAL_S)


async def records(bus: Bus) -> list[UsageRecord]:
    return [record async for record in usage_since(bus, 0)]


async def written(bus: Bus, count: int) -> list[UsageRecord]:
    with anyio.fail_after(PATIENCE_S):
        while len(found := await records(bus)) < count:
            await anyio.sleep(0.02)
    return found


async def test_records_follow_each_other_and_idle_devices_write_none(nats: Natsd) -> None:
    device = Device()
    async with open_platform(nats) as bus, anyio.create_task_group() as work:
        work.start_soon(writer(bus, device).run)
        device.spend(100)
        (first,) = await written(bus, 1)
        device.spend(200)
        _, second = await written(bus, 2)
        work.cancel_scope.cancel()
    assert [one.functions[FN].sm_us for one in (first, second)] == [100, 200]
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.from_us < first.to_us <= second.from_us < second.to_us
    assert (first.device, first.kind, first.sms, first.node) == ("n-cpu0", "cpu", 2, "n")


async def test_a_record_whose_receipt_was_lost_is_not_there_twice(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    async with open_platform(nats) as bus:
        publish, lost = bus.jetstream.publish, 2

        async def losing(*arguments: object, **options: object) -> PubAck:
            nonlocal lost
            receipt = await publish(*arguments, **options)  # type: ignore[arg-type]
            if lost:
                lost -= 1
                raise NatsTimeout
            return receipt

        monkeypatch.setattr(bus.jetstream, "publish", losing)
        usage = writer(bus, device)
        device.spend(100)
        for _ in range(3):
            await usage.finish()
        assert usage.waiting == 0
        assert [one.functions[FN].sm_us for one in await records(bus)] == [100]


async def test_nothing_is_lost_while_the_server_is_away(nats: Natsd) -> None:
    device = Device()
    async with open_platform(nats) as bus:
        usage = writer(bus, device)
        async with anyio.create_task_group() as work:
            work.start_soon(usage.run)
            nats.kill()
            with anyio.fail_after(PATIENCE_S):
                while not usage.waiting:
                    device.spend(1)
                    await anyio.sleep(INTERVAL_S)
            nats.restart()
            with anyio.fail_after(PATIENCE_S):
                while usage.waiting:
                    await anyio.sleep(INTERVAL_S)
            work.cancel_scope.cancel()
        await usage.finish()
        spent = sum(one.functions[FN].sm_us for one in await records(bus))
    assert spent == device.books.totals[FN].sm_us > 0


async def test_what_waits_is_bounded_and_books_hold_the_rest(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_writer, "MAX_WAITING", 2)
    monkeypatch.setattr(usage_writer, "LAST_S", 0.1)
    device = Device()
    async with open_platform(nats) as bus:
        usage = writer(bus, device)
        nats.kill()
        with anyio.fail_after(PATIENCE_S):
            while bus.is_connected:
                await anyio.sleep(0.01)
        for _ in range(5):
            device.spend(100)
            await usage.finish()
        assert usage.waiting == 2
        assert device.books.take(unix_us())[1][FN].sm_us == 300
