"""Doorkeepers of several gateways on one bus: a key works everywhere at once, and its limits hold over all of them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from fastgshare.client.keys import Keys, KeyUnknown
from fastgshare.gateway.adapters.doorkeeper import KeyDoor
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.messages import KeyLimits, Scope
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

ECHO = FunctionName("echo")
PATIENCE_S = 20.0


@asynccontextmanager
async def doors(bus: Bus, *names: str) -> AsyncGenerator[list[KeyDoor]]:
    """Doorkeepers of gateways of these names."""
    async with anyio.create_task_group() as tasks:
        found = [KeyDoor(bus, GatewayId(name)) for name in names]
        for door in found:
            await door.start(tasks)
        yield found
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def a_bus(nats: Natsd) -> AsyncGenerator[Bus]:
    async with open_bus(BusConfig(nats.url, "test")) as bus:
        await ensure_storage(bus)
        yield bus


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not condition():
            await anyio.sleep(0.01)


def may(door: KeyDoor, text: str | None) -> bool:
    return door.admit(text, Scope.INVOKE, ECHO, unix_us()) is None


async def test_a_key_is_known_everywhere_until_it_is_revoked(nats: Natsd) -> None:
    async with a_bus(nats) as bus, doors(bus, "one", "two") as both:
        assert all(door.is_open and may(door, None) for door in both)
        keys = Keys(bus)
        key, text = await keys.create("team a")
        await until(lambda: not any(door.is_open for door in both))
        assert all(may(door, text) and not may(door, None) for door in both)
        assert await keys.list() == [key]
        assert text not in str(key)
        other, _ = await keys.create("team b")
        await keys.revoke(key.key)
        await until(lambda: not any(may(door, text) for door in both))
        await keys.revoke(other.key)
        await until(lambda: all(may(door, None) for door in both))
        now_us = unix_us()
        assert all(door.admit(None, Scope.MANAGE, None, now_us) is not None for door in both)
        async with doors(bus, "three") as (again,):
            assert again.is_open


async def test_a_quota_holds_over_gateways_and_their_restarts(nats: Natsd) -> None:
    async with a_bus(nats) as bus:
        keys = Keys(bus)
        key, text = await keys.create("team a", limits=KeyLimits(per_day=5))
        async with doors(bus, "one", "two") as (one, two):
            assert [may(one, text) for _ in range(3)] == [True] * 3
            await one.tell()
            await until(lambda: _left(two, text) == 2)
            assert may(two, text)
            await two.tell()
            await until(lambda: _left(one, text) == 1)
        assert await keys.used_today() == {key.key: 4}
        async with doors(bus, "one", "three") as (one, three):
            assert (_left(one, text), _left(three, text)) == (1, 1)
            assert [may(one, text), may(one, text)] == [True, False]


def _left(door: KeyDoor, text: str) -> int:
    left = door.left(text, unix_us())
    assert left is not None
    return left.remaining


async def test_limits_change_and_what_makes_no_sense_is_refused(nats: Natsd) -> None:
    async with a_bus(nats) as bus:
        keys = Keys(bus)
        key, _ = await keys.create("team a", scopes=[Scope.READ, Scope.INVOKE])
        assert key.scopes == (Scope.INVOKE, Scope.READ)
        changed = await keys.limit(key.key, lambda old: KeyLimits(rate_rps=old.rate_rps + 2))
        assert changed.limits == KeyLimits(rate_rps=2)
        assert await keys.list() == [changed]
        with pytest.raises(InvalidSpec, match="burst needs a rate"):
            await keys.limit(key.key, lambda _: KeyLimits(burst=2))
        with pytest.raises(InvalidSpec, match="'Echo' is not the name of a function"):
            await keys.create("team b", functions=["Echo"])
        with pytest.raises(InvalidSpec, match="no scope"):
            await keys.create("team b", scopes=[])
        for unknown in ("0a1b2c3d4e5f", "", "*", ">", "a b"):
            with pytest.raises(KeyUnknown):
                await keys.revoke(unknown)
        assert await keys.list() == [changed]
