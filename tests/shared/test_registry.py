"""Writing the `functions` bucket on a real server."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from fastgshare.shared import subjects
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec, ModelRef
from fastgshare.shared.objects import Objects
from fastgshare.shared.registry import FunctionUnknown, Registry
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

NAME = FunctionName("echo")
CONTENT = b"a model"
SPEC = FunctionSpec(
    name=NAME, model=ModelRef(digest=Digest(hashlib.sha256(CONTENT).hexdigest()), size_bytes=len(CONTENT))
)


@asynccontextmanager
async def open_registry(url: str, directory: Path) -> AsyncGenerator[Registry]:
    """A registry on a fresh platform whose object store holds the model."""
    async with open_bus(BusConfig(url=url)) as bus:
        await ensure_storage(bus)
        model = directory / "model.onnx"
        model.write_bytes(CONTENT)
        await Objects(bus).put_file(model)
        yield Registry(bus)


async def test_a_name_never_gets_a_generation_twice_not_even_after_deletion(nats: Natsd, tmp_path: Path) -> None:
    async with open_registry(nats.url, tmp_path) as registry:
        generations = []
        for _ in range(3):
            for max_batch in (8, 1, 2, 3):
                stands = await registry.put(replace(SPEC, max_batch=max_batch))
                generations.append(stands.generation)
            await registry.delete(NAME)
        assert generations == sorted(set(generations))
        assert generations[0] == 1


@pytest.mark.parametrize("garbage", [b"", b"\xc1garbage", b"\x80"])
async def test_what_does_not_decode_counts_as_no_function_and_is_replaced_or_removed(
    nats: Natsd, tmp_path: Path, garbage: bytes
) -> None:
    async with open_registry(nats.url, tmp_path) as registry, open_bus(BusConfig(url=nats.url)) as bus:
        before = [await registry.put(replace(SPEC, max_batch=max_batch)) for max_batch in (8, 1, 2)]
        store = await bus.jetstream.key_value(subjects.FUNCTIONS)
        await store.put(NAME, garbage)
        assert await registry.get(NAME) is None
        assert await registry.list() == {}
        with pytest.raises(FunctionUnknown):
            await registry.change(NAME, lambda old: old)
        again = await registry.put(SPEC)
        assert again.generation > before[-1].generation
        assert await registry.get(NAME) == again
        await store.put(NAME, garbage)
        await registry.delete(NAME)
        with pytest.raises(FunctionUnknown):
            await registry.delete(NAME)


async def test_putting_the_same_again_changes_nothing(nats: Natsd, tmp_path: Path) -> None:
    async with open_registry(nats.url, tmp_path) as registry:
        first = await registry.put(SPEC)
        assert await registry.put(SPEC) == first
        assert await registry.list() == {NAME: first}


async def test_writers_at_once_lose_no_change(nats: Natsd, tmp_path: Path) -> None:
    async with open_registry(nats.url, tmp_path) as registry:
        await registry.put(SPEC)

        async def label(key: str) -> None:
            await registry.change(NAME, lambda old: replace(old, labels={**old.labels, key: "1"}))

        async with anyio.create_task_group() as writers:
            for key in "abc":
                writers.start_soon(label, key)
        stands = await registry.get(NAME)
        assert stands is not None
        assert sorted(stands.labels) == ["a", "b", "c"]
        assert stands.generation == 1


async def test_what_may_not_stand_is_refused_and_what_is_not_there_is_named(nats: Natsd, tmp_path: Path) -> None:
    async with open_registry(nats.url, tmp_path) as registry:
        with pytest.raises(InvalidSpec, match="slo_ms is 0"):
            await registry.put(replace(SPEC, slo_ms=0))
        elsewhere = ModelRef(digest=Digest("ab" * 32), size_bytes=7)
        with pytest.raises(InvalidSpec, match=r"digest (ab){32} is not in the object store"):
            await registry.put(replace(SPEC, model=elsewhere))
        with pytest.raises(FunctionUnknown):
            await registry.change(NAME, lambda old: old)
        with pytest.raises(FunctionUnknown):
            await registry.delete(NAME)
        assert await registry.get(NAME) is None
