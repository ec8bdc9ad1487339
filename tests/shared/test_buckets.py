"""Buckets with typed values, and mirrors that tell the truth again soon after whatever happened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import anyio.lowlevel
import pytest

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, Mirror, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import FunctionSpec, LeaseHolder
from fastgshare.shared.storage import LEASE_TTL_S, ensure_storage
from tests.natsd import Natsd

NAME = subjects.PLACEMENTS
PATIENCE_S = 15.0


def value(text: str) -> LeaseHolder:
    return LeaseHolder(holder=text)


@asynccontextmanager
async def open_bucket(nats: Natsd) -> AsyncIterator[tuple[Bus, Bucket[LeaseHolder]]]:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        yield bus, Bucket(bus, NAME, LeaseHolder)


class Seen:
    """A mirror's changes, and a way to wait for its values."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None]] = []

    def on_change(self, key: str, changed: LeaseHolder | None) -> None:
        self.changes.append((key, None if changed is None else changed.holder))

    async def until(self, mirror: Mirror[LeaseHolder], expected: dict[str, str]) -> None:
        with anyio.fail_after(PATIENCE_S):
            while {key: held.holder for key, held in mirror.values.items()} != expected:
                await anyio.sleep(0.01)


async def raw_put(bus: Bus, key: str, payload: bytes) -> None:
    await (await bus.jetstream.key_value(NAME)).put(key, payload)


async def test_what_is_put_is_got_with_a_growing_revision(nats: Natsd) -> None:
    async with open_bucket(nats) as (_, bucket):
        assert await bucket.get("node-0.a") is None
        first = await bucket.put("node-0.a", value("one"))
        second = await bucket.put("node-0.a", value("two"))
        assert second > first
        assert await bucket.get("node-0.a") == (value("two"), second)


async def test_a_write_on_condition_succeeds_for_one_of_two(nats: Natsd) -> None:
    async with open_bucket(nats) as (_, bucket):
        created = await bucket.replace("key", value("created"), 0)
        with pytest.raises(RevisionConflict):
            await bucket.replace("key", value("created too"), 0)
        updated = await bucket.replace("key", value("updated"), created)
        with pytest.raises(RevisionConflict) as caught:
            await bucket.replace("key", value("updated too"), created)
        assert caught.value.fields == {"bucket": NAME, "key": "key"}
        assert await bucket.get("key") == (value("updated"), updated)


async def test_a_deleted_key_is_gone_and_can_be_created_again(nats: Natsd) -> None:
    async with open_bucket(nats) as (_, bucket):
        revision = await bucket.put("key", value("one"))
        await bucket.put("key", value("two"))
        with pytest.raises(RevisionConflict):
            await bucket.delete("key", revision)
        await bucket.delete("key")
        await bucket.delete("key")
        await bucket.delete("never-was")
        assert await bucket.get("key") is None
        assert await bucket.list() == {}
        await bucket.replace("key", value("again"), 0)
        assert await bucket.list() == {"key": value("again")}


async def test_a_listing_leaves_out_what_cannot_be_read_and_other_keys(
    nats: Natsd, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bucket(nats) as (bus, bucket):
        await bucket.put("node-0.a", value("a"))
        await bucket.put("node-1.b", value("b"))
        await raw_put(bus, "node-0.broken", b"\xc1")
        assert await bucket.list("node-0.*") == {"node-0.a": value("a")}
        assert "node-0.broken" in caplog.text
        with pytest.raises(PayloadInvalid):
            await bucket.get("node-0.broken")


async def test_a_listing_lacks_no_key_that_is_written_anew_meanwhile(nats: Natsd) -> None:
    keys = [f"node-0.{number}" for number in range(3)]
    async with open_bucket(nats) as (_, bucket), open_bucket(nats) as (_, other), anyio.create_task_group() as tasks:
        for key in keys:
            await other.put(key, value("first"))

        async def write() -> None:
            for number in count():
                await other.put(keys[number % len(keys)], value(str(number)))

        tasks.start_soon(write)
        for _ in range(200):
            assert sorted(await bucket.list()) == keys
        tasks.cancel_scope.cancel()


async def test_a_listing_leaves_no_consumer_behind(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket):
        await bucket.put("a", value("first"))
        for _ in range(3):
            assert await bucket.list() == {"a": value("first")}
        assert await bus.jetstream.consumers_info(f"KV_{NAME}") == []


async def test_a_key_that_cannot_be_one_is_refused_as_such(nats: Natsd) -> None:
    async with open_bucket(nats) as (_, bucket):
        with pytest.raises(StorageUnavailable) as caught:
            await bucket.put("two words", value("x"))
        assert caught.value.fields["key"] == "two words"


async def test_without_a_server_every_call_ends_with_the_bucket_and_the_key(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bucket(nats) as (bus, bucket):
        await bucket.put("key", value("x"))
        monkeypatch.setattr(bus.jetstream, "_timeout", 0.2)
        nats.kill()
        for call in (
            bucket.get("key"),
            bucket.put("key", value("y")),
            bucket.replace("key", value("y"), 1),
            bucket.delete("key"),
            bucket.list(),
            Bucket(bus, NAME, LeaseHolder).replace("key", value("y"), 1),
        ):
            with pytest.raises(StorageUnavailable) as caught, anyio.fail_after(10):
                await call
            assert caught.value.fields["bucket"] == NAME


async def test_storage_can_be_ensured_at_once_by_all_and_again(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as one, open_bus(BusConfig(nats.url)) as two:
        async with anyio.create_task_group() as at_once:
            for bus in (one, two, one, two):
                at_once.start_soon(ensure_storage, bus)
        await Bucket(one, subjects.FUNCTIONS, FunctionSpec).list()
        await ensure_storage(two)
        ttl_s = (await (await one.jetstream.key_value(subjects.LEASES)).status()).ttl
        assert ttl_s == LEASE_TTL_S


async def test_a_mirror_starts_complete_and_follows(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        for number in range(300):  # more than nats-py buffers
            await bucket.put(f"key{number}", value("old"))
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change)
        await tasks.start(mirror.run)
        assert len(mirror.values) == len(seen.changes) == 300
        seen.changes.clear()
        await bucket.put("key0", value("new"))
        await bucket.delete("key1")
        await bucket.put("key300", value("another"))
        expected = {f"key{number}": "old" for number in range(2, 300)} | {"key0": "new", "key300": "another"}
        await seen.until(mirror, expected)
        assert seen.changes == [("key0", "new"), ("key1", None), ("key300", "another")]
        tasks.cancel_scope.cancel()


async def test_a_mirror_of_some_keys_knows_only_those(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        await bucket.put("node-1.b", value("b"))
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change, keys="node-0.*")
        await tasks.start(mirror.run)
        await bucket.put("node-1.c", value("c"))
        await bucket.put("node-0.a", value("a"))
        await seen.until(mirror, {"node-0.a": "a"})
        assert seen.changes == [("node-0.a", "a")]
        tasks.cancel_scope.cancel()


async def test_a_value_that_cannot_be_read_is_as_good_as_gone(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        await bucket.put("key", value("readable"))
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change)
        await tasks.start(mirror.run)
        await raw_put(bus, "key", b"\xc1")
        await seen.until(mirror, {})
        await bucket.put("key", value("readable again"))
        await seen.until(mirror, {"key": "readable again"})
        tasks.cancel_scope.cancel()


async def test_a_new_round_tells_nothing_that_did_not_change(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        await bucket.put("key", value("same"))
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change, refresh_s=0.05)
        await tasks.start(mirror.run)
        await mirror.relist()
        await mirror.relist()
        assert seen.changes == [("key", "same")]
        tasks.cancel_scope.cancel()


async def test_what_changed_while_the_mirror_was_blind_is_told_after_the_server_is_back(nats: Natsd) -> None:
    """The mirror's own connection stays away until another has changed, deleted and added keys."""
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        for key in ("stays", "changes", "goes"):
            await bucket.put(key, value("old"))
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change, refresh_s=60)
        await tasks.start(mirror.run)
        seen.changes.clear()
        bus.connection.options["reconnect_time_wait"] = 1.0  # others are back before it
        nats.kill()
        nats.restart()
        async with open_bus(BusConfig(nats.url)) as other:
            elsewhere = Bucket(other, NAME, LeaseHolder)
            assert await elsewhere.get("stays") is not None, "what was stored outlives kill -9"
            await elsewhere.put("changes", value("new"))
            await elsewhere.delete("goes")
            await elsewhere.put("comes", value("new"))
        await seen.until(mirror, {"stays": "old", "changes": "new", "comes": "new"})
        assert sorted(seen.changes) == [("changes", "new"), ("comes", "new"), ("goes", None)]
        tasks.cancel_scope.cancel()


async def test_a_mirror_follows_on_after_many_deaths_of_the_server(nats: Natsd) -> None:
    async with open_bucket(nats) as (bus, bucket), anyio.create_task_group() as tasks:
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change, refresh_s=60)
        await tasks.start(mirror.run)
        for number in range(4):
            nats.kill()
            nats.restart()
            with anyio.fail_after(PATIENCE_S):
                while True:
                    try:
                        await bucket.put("key", value(str(number)))
                        break
                    except StorageUnavailable:
                        continue
            await seen.until(mirror, {"key": str(number)})
        tasks.cancel_scope.cancel()


async def test_a_mirror_of_a_bucket_that_does_not_exist_yet_waits_for_it(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus, anyio.create_task_group() as tasks:
        seen = Seen()
        mirror = Mirror(bus, NAME, LeaseHolder, seen.on_change)
        tasks.start_soon(mirror.run)
        await anyio.lowlevel.checkpoint()
        await ensure_storage(bus)
        await Bucket(bus, NAME, LeaseHolder).put("key", value("x"))
        await seen.until(mirror, {"key": "x"})
        tasks.cancel_scope.cancel()
