"""What JetStream keeps gets more copies, and never fewer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.js import api

from fastgshare.shared import storage
from fastgshare.shared.bus import Bus
from fastgshare.shared.storage import provide_storage


@pytest.mark.parametrize("wished", [1, 3, 5])
async def test_copies_are_added_and_never_taken_away(monkeypatch: pytest.MonkeyPatch, wished: int) -> None:
    copies = dict.fromkeys(storage.STREAM_NAMES, 1) | {storage.STREAM_NAMES[0]: 3}
    updated: dict[str, int] = {}

    async def standing(bus: Bus, replicas: int = 1) -> None: ...

    async def stream_info(name: str) -> Any:
        return SimpleNamespace(config=api.StreamConfig(name=name, num_replicas=copies[name]))

    async def update_stream(config: api.StreamConfig) -> Any:
        updated[str(config.name)] = config.num_replicas or 1

    monkeypatch.setattr(storage, "ensure_storage", standing)
    jetstream = SimpleNamespace(stream_info=stream_info, update_stream=update_stream)
    await provide_storage(cast(Bus, SimpleNamespace(jetstream=jetstream)), wished)
    assert updated == {name: wished for name, kept in copies.items() if kept < wished}
