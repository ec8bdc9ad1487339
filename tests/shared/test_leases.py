"""A lease has at most one holder, outlives no holder, and is noticed as lost by the one who lost it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import LeaseHolder
from fastgshare.shared.storage import LEASE_TTL_S, ensure_storage
from tests.natsd import Natsd

KEY = "profile.0123.cpu"


@asynccontextmanager
async def open_storage(nats: Natsd) -> AsyncIterator[Bus]:
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        yield bus


async def acquire_when_free(lease: Lease) -> None:
    with anyio.fail_after(5 * LEASE_TTL_S):
        while True:
            if await lease.acquire():
                return
            await anyio.sleep(0.05)


async def lost(lease: Lease) -> None:
    """Return once it is noticed."""
    with anyio.fail_after(10 * LEASE_TTL_S):
        await lease.hold()
    assert lease.revision == 0


async def test_of_two_who_want_it_one_gets_it_until_it_is_given_back(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        first, second = Lease(bus, KEY, "first"), Lease(bus, KEY, "second")
        assert await first.acquire()
        assert not await second.acquire()
        await second.release()
        assert not await second.acquire(), "who does not hold it cannot give it back"
        await first.release()
        assert await second.acquire()


async def test_it_is_free_again_some_time_after_its_holder_fell_silent(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        assert await Lease(bus, KEY, "silent").acquire()
        await acquire_when_free(Lease(bus, KEY, "next"))


async def test_it_is_kept_while_it_is_renewed_and_its_revision_grows(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        kept, other = Lease(bus, KEY, "kept"), Lease(bus, KEY, "other")
        assert await kept.acquire()
        begun = kept.revision
        with anyio.move_on_after(1.5 * LEASE_TTL_S) as held:
            await kept.hold()
        assert kept.held
        assert held.cancelled_caught, "it was lost"
        assert kept.revision > begun
        assert not await other.acquire()


async def test_a_holder_whose_key_somebody_else_took_notices(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        lease = Lease(bus, KEY, "robbed")
        assert await lease.acquire()
        await Bucket(bus, subjects.LEASES, LeaseHolder).put(KEY, LeaseHolder(holder="robber"))
        await lost(lease)


async def test_garbage_is_somebody_else_s_and_runs_out(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        store = await bus.jetstream.key_value(subjects.LEASES)
        await store.put(KEY, b"\xc1garbage")
        lease = Lease(bus, KEY, "next")
        assert not await lease.acquire()
        await acquire_when_free(lease)
        await store.put(KEY, b"")
        await lost(lease)


async def test_a_holder_that_cannot_renew_gives_up_before_the_bucket_forgets(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        lease = Lease(bus, KEY, "cut off")
        assert await lease.acquire()
        assert lease._until_s < anyio.current_time() + LEASE_TTL_S
        nats.kill()
        await lost(lease)
        nats.restart()
        await acquire_when_free(Lease(bus, KEY, "next"))


async def test_a_write_whose_confirmation_was_lost_counts_as_ours(nats: Natsd) -> None:
    async with open_storage(nats) as bus:
        lease = Lease(bus, KEY, "me")
        revision = await Bucket(bus, subjects.LEASES, LeaseHolder).put(KEY, LeaseHolder(holder="me"))
        assert await lease.acquire()
        assert lease.revision > revision, "renewed, because the earlier write may be about to expire"
        assert lease.held
