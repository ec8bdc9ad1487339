"""What JetStream keeps gets more copies, and never fewer; buckets of old platforms get the age of today."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.js import api

from fastgshare.shared import storage, subjects
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.storage import BUCKETS, LEASE_TTL_S, provide_storage
from tests.natsd import Natsd


@pytest.mark.parametrize("wished", [1, 3, 5])
async def test_copies_are_added_and_never_taken_away(monkeypatch: pytest.MonkeyPatch, wished: int) -> None:
    copies = dict.fromkeys(storage.STREAM_NAMES, 1) | {storage.STREAM_NAMES[0]: 3}
    updated: dict[str, int] = {}

    async def standing(bus: Bus, replicas: int = 1) -> None: ...

    async def stream_info(name: str) -> Any:
        config = api.StreamConfig(name=name, num_replicas=copies[name], max_age=storage.AGES.get(name))
        return SimpleNamespace(config=config)

    async def update_stream(config: api.StreamConfig) -> Any:
        updated[str(config.name)] = config.num_replicas or 1

    monkeypatch.setattr(storage, "ensure_storage", standing)
    jetstream = SimpleNamespace(stream_info=stream_info, update_stream=update_stream)
    await provide_storage(cast(Bus, SimpleNamespace(jetstream=jetstream)), wished)
    assert updated == {name: wished for name, kept in copies.items() if kept < wished}


async def test_buckets_from_before_their_keys_had_an_age_get_it_and_keep_what_is_in_them(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        jetstream = bus.jetstream
        for bucket in (subjects.KEY_USE, subjects.LEASES, subjects.FUNCTIONS):
            await jetstream.create_key_value(bucket=bucket, history=1)
        await (await jetstream.key_value(subjects.KEY_USE)).put("key.gateway", b"3")
        await provide_storage(bus)
        ages = {bucket: (await jetstream.stream_info(f"KV_{bucket}")).config.max_age or None for bucket in BUCKETS}
        assert ages == BUCKETS
        assert (await jetstream.stream_info(f"KV_{subjects.LEASES}")).config.duplicate_window == LEASE_TTL_S
        assert (await (await jetstream.key_value(subjects.KEY_USE)).get("key.gateway")).value == b"3"
        written = await changes_of_provision(bus)
        assert written == []  # all stands as wished


async def changes_of_provision(bus: Bus) -> list[str]:
    """What a second run would change."""
    changed: list[str] = []

    async def update_stream(config: api.StreamConfig) -> Any:
        changed.append(str(config.name))

    bus.jetstream.update_stream = update_stream  # type: ignore[method-assign,assignment]
    await provide_storage(bus)
    return changed
