"""Nobody is told that a function does not exist which was deployed a moment ago."""

import anyio
import pytest

from fastgshare.gateway.adapters import newcomers
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import RequestRefused
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, ModelRef
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

FN = FunctionName("fn")
SPEC = FunctionSpec(name=FN, model=ModelRef(digest=Digest("0" * 64), size_bytes=1))


async def store(bus: Bus) -> None:
    await ensure_storage(bus)
    await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(FN, SPEC)


async def test_what_the_bucket_does_not_hold_is_not_waited_for(nats: Natsd) -> None:
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        for name in ("fn", "no name at all", ""):
            await Newcomers(bus, Gatekeeper(Limits())).wait_for(FunctionName(name))


async def test_what_the_bucket_holds_is_waited_for_until_the_mirror_tells(nats: Natsd) -> None:
    gatekeeper = Gatekeeper(Limits())
    async with open_bus(BusConfig(url=nats.url)) as bus, anyio.create_task_group() as tasks:
        await store(bus)
        known = anyio.Event()

        async def wait() -> None:
            await Newcomers(bus, gatekeeper).wait_for(FN)
            assert FN in gatekeeper.functions
            known.set()

        tasks.start_soon(wait)
        await anyio.sleep(0.1)
        assert not known.is_set()
        gatekeeper.function_defined(SPEC)
        await known.wait()


async def test_a_mirror_that_never_tells_is_not_waited_for_for_ever(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "MIRROR_S", 0.1)
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await store(bus)
        with pytest.raises(RequestRefused, match="unavailable: function 'fn' is not known to this gateway yet"):
            await Newcomers(bus, Gatekeeper(Limits())).wait_for(FN)


async def test_those_who_ask_are_bounded(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "ASKING_LIMIT", 2)
    refused: list[RequestRefused] = []
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        asked = Newcomers(bus, Gatekeeper(Limits()))

        async def ask() -> None:
            try:
                await asked.wait_for(FN)
            except RequestRefused as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
        assert [error.body.http_status for error in refused] == [429]
        await asked.wait_for(FN)
