"""Mirrors that must be complete at a moment, and deletions that must not pile up."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
from nats.js.kv import KeyValue

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, Mirror, Watch
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.messages import LeaseHolder
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

NAME = subjects.PLACEMENTS


async def test_after_a_relisting_a_mirror_holds_all_that_was_written_before(nats: Natsd) -> None:
    async with open_bus(BusConfig(url=nats.url)) as bus, anyio.create_task_group() as tasks:
        await ensure_storage(bus)
        bucket = Bucket(bus, NAME, LeaseHolder)
        mirror = Mirror(bus, NAME, LeaseHolder)
        await tasks.start(mirror.run)
        for number in range(20):
            await bucket.put(f"key{number}", LeaseHolder(holder="me"))
            await mirror.relist()
            assert len(mirror.values) == number + 1
        async with anyio.create_task_group() as at_once:
            at_once.start_soon(mirror.relist)
            at_once.start_soon(mirror.relist)
        tasks.cancel_scope.cancel()


async def test_a_relisting_waits_for_the_server(nats: Natsd) -> None:
    async with open_bus(BusConfig(url=nats.url)) as bus, anyio.create_task_group() as tasks:
        await ensure_storage(bus)
        mirror = Mirror(bus, NAME, LeaseHolder)
        await tasks.start(mirror.run)
        await Bucket(bus, NAME, LeaseHolder).put("key", LeaseHolder(holder="me"))
        nats.kill()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(mirror.relist)
            nats.restart()
        assert mirror.values == {"key": LeaseHolder(holder="me")}
        tasks.cancel_scope.cancel()


async def test_old_deletions_are_swept_and_what_stands_is_not(nats: Natsd) -> None:
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        bucket = Bucket(bus, NAME, LeaseHolder)
        for key in ("gone", "back", "stays"):
            await bucket.put(key, LeaseHolder(holder=key))
        await bucket.delete("gone")
        await bucket.delete("back")
        await bucket.put("back", LeaseHolder(holder="again"))
        now = datetime.now(UTC)
        assert await bucket.sweep(timedelta(hours=1), now) == 0
        assert await bucket.sweep(timedelta(), now + timedelta(hours=1)) == 1
        assert await bucket.deletion("gone") == 0
        assert sorted(await bucket.list()) == ["back", "stays"]


class HastyWatcher(KeyValue.KeyWatcher):
    """Says that there is nothing before it tells what there is, as nats-py does once in several hundred times."""

    def __init__(self, *entries: KeyValue.Entry | None) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]
        for entry in (None, *entries):
            self._updates.put_nowait(entry)


def entry(key: str, delta: int) -> KeyValue.Entry:
    return KeyValue.Entry("b", key, b"x", revision=1, delta=delta, created=None, operation=None)


async def heard(watch: Watch, count: int) -> list[str]:
    found = [await watch.next() for _ in range(count)]
    return [one.key if one else "complete" for one in found]


async def forgotten(_consumer: str) -> None: ...


def standing(*answers: set[str]) -> Callable[[], Awaitable[set[str]]]:
    """What stands, each time it is asked for."""
    told = iter(answers)

    async def ask() -> set[str]:
        return next(told)

    return ask


async def test_a_listing_is_not_complete_because_the_client_says_so_too_early() -> None:
    watcher = HastyWatcher(entry("a", 1), entry("b", 0), None, entry("c", 0))
    watch = Watch(watcher, standing({"a", "b"}, {"a", "b"}), forgotten)
    assert await heard(watch, 4) == ["a", "b", "complete", "c"]


async def test_a_listing_of_nothing_is_complete() -> None:
    assert await heard(Watch(HastyWatcher(entry("a", 0)), standing(set()), forgotten), 2) == ["complete", "a"]


async def test_a_listing_waits_for_what_stands_and_was_not_told_unless_it_is_forgotten_meanwhile() -> None:
    watcher = HastyWatcher(entry("a", 0), entry("b", 0))
    watch = Watch(watcher, standing({"a", "b", "c"}, {"a", "b", "c"}, {"a", "b", "c"}, {"a", "b"}), forgotten)
    assert await heard(watch, 3) == ["a", "b", "complete"]
