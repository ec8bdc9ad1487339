"""Models by content: what is fetched is what was put, or it is refused; nothing half-made lies in a cache."""

import hashlib
import os
from pathlib import Path

import anyio
import pytest

from fastgshare.shared import objects, subjects
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import ObjectMissing
from fastgshare.shared.ids import Digest
from fastgshare.shared.objects import Objects, digest_of
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

STREAM = f"OBJ_{subjects.MODELS}"
PATIENCE_S = 30.0
SEVERAL_CHUNKS = 3 * 128 * 1024 + 17


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(SEVERAL_CHUNKS))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


async def chunks_in(bus: Bus) -> list[int]:
    """The stream's sequence numbers of chunks, oldest first."""
    state = (await bus.jetstream.stream_info(STREAM)).state
    messages = [await bus.jetstream.get_msg(STREAM, seq) for seq in range(state.first_seq, state.last_seq + 1)]
    return [message.seq or 0 for message in messages if ".C." in (message.subject or "")]


@pytest.mark.parametrize("size_bytes", [0, 1, SEVERAL_CHUNKS])
async def test_what_is_put_is_fetched_under_its_digest(
    nats: Natsd, tmp_path: Path, cache: Path, size_bytes: int
) -> None:
    path = tmp_path / "model"
    path.write_bytes(os.urandom(size_bytes))
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        store = Objects(bus)
        digest = await store.put_file(path)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == digest_of(path)
        assert await store.holds(digest)
        fetched = await store.fetch(digest, cache)
        assert (fetched.name, fetched.read_bytes()) == (digest, path.read_bytes())
        assert [entry.name for entry in cache.iterdir()] == [digest]


async def test_the_same_content_is_stored_once_and_a_cached_file_needs_no_server(
    nats: Natsd, model: Path, cache: Path
) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        store = Objects(bus)
        digest = await store.put_file(model)
        stored = await chunks_in(bus)
        assert await store.put_file(model) == digest
        assert await chunks_in(bus) == stored
        await store.fetch(digest, cache)
        nats.kill()
        assert (await store.fetch(digest, cache)).read_bytes() == model.read_bytes()


async def test_what_was_never_put_is_missing(nats: Natsd, cache: Path) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        digest = Digest("0" * 64)
        assert not await Objects(bus).holds(digest)
        with pytest.raises(ObjectMissing, match="not in the object store"):
            await Objects(bus).fetch(digest, cache)
        assert list(cache.iterdir()) == []


async def test_bytes_that_are_not_those_of_the_digest_are_refused(nats: Natsd, model: Path, cache: Path) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        pretended = Digest("1" * 64)
        await (await bus.jetstream.object_store(subjects.MODELS)).put(pretended, model.read_bytes())
        with pytest.raises(ObjectMissing) as caught:
            await Objects(bus).fetch(pretended, cache)
        assert digest_of(model) in str(caught.value), "the digest found is named"
        assert list(cache.iterdir()) == []


@pytest.mark.parametrize("which", [0, 1, -1])
async def test_an_object_that_lost_a_chunk_is_refused(nats: Natsd, model: Path, cache: Path, which: int) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        digest = await Objects(bus).put_file(model)
        await bus.jetstream.delete_msg(STREAM, (await chunks_in(bus))[which])
        with pytest.raises(ObjectMissing, match="damaged"):
            await Objects(bus).fetch(digest, cache)
        assert list(cache.iterdir()) == []


async def test_an_object_that_lost_every_chunk_is_given_up_in_time(
    nats: Natsd, model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "STALLED_S", 0.2)
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        digest = await Objects(bus).put_file(model)
        for seq in await chunks_in(bus):
            await bus.jetstream.delete_msg(STREAM, seq)
        with pytest.raises(StorageUnavailable, match="cut off after 0 bytes"), anyio.fail_after(PATIENCE_S):
            await Objects(bus).fetch(digest, cache)
        assert list(cache.iterdir()) == []


async def test_a_download_cut_off_by_the_server_is_told_soon_and_can_be_repeated(
    nats: Natsd, model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await ensure_storage(bus)
        digest = await Objects(bus).put_file(model)
        write = objects._Sink.write

        def write_and_lose_the_server(sink: objects._Sink, chunk: bytes) -> int:
            nats.restart()
            monkeypatch.setattr(objects._Sink, "write", write)
            return write(sink, chunk)

        monkeypatch.setattr(objects._Sink, "write", write_and_lose_the_server)
        with anyio.fail_after(PATIENCE_S):
            try:
                await Objects(bus).fetch(digest, cache)
            except StorageUnavailable:
                await Objects(bus).fetch(digest, cache)
        assert (cache / digest).read_bytes() == model.read_bytes()
        assert [entry.name for entry in cache.iterdir()] == [digest]
