"""What JetStream keeps gets more copies, and never fewer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.js import api

from fastgshare.shared import storage
from fastgshare.shared.bus import Bus
from fastgshare.shared.storage import provide_storage


@pytest.mark.parametrize(("wished", "changed"), [(1, {}), (3, {"alone": 3}), (5, {"alone": 5, "thrice": 5})])
async def test_copies_are_added_and_never_taken_away(
    monkeypatch: pytest.MonkeyPatch, wished: int, changed: dict[str, int]
) -> None:
    async def standing(bus: Bus, replicas: int = 1) -> dict[str, api.StreamConfig]:
        return {name: api.StreamConfig(name=name, num_replicas=n) for name, n in (("alone", 1), ("thrice", 3))}

    updated: dict[str, int] = {}

    async def update_stream(config: api.StreamConfig) -> Any:
        updated[str(config.name)] = config.num_replicas or 1

    monkeypatch.setattr(storage, "ensure_storage", standing)
    bus = cast(Bus, SimpleNamespace(jetstream=SimpleNamespace(update_stream=update_stream)))
    await provide_storage(bus, wished)
    assert updated == changed
