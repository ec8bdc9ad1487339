"""Models and user code by content: a file's SHA-256 is its name in the object store and in every cache.

Whatever comes out of an object store comes by `download`. A cached file is complete by construction: it is written
beside, checked against its digest, then renamed.
"""

import hashlib
import os
import tempfile
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, cast

import anyio
import anyio.to_thread
from nats.js import errors as js_errors
from nats.js.object_store import ObjectStore

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import ObjectMissing
from fastgshare.shared.ids import Digest

STALLED_S = 10.0
MISSING = (js_errors.ObjectNotFoundError, js_errors.ObjectDeletedError)
DAMAGED = (js_errors.DigestMismatchError, js_errors.BadObjectMetaError)


def digest_of(path: Path) -> Digest:
    """SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


class Objects:
    """The object store `models`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put_file(self, path: Path) -> Digest:
        """Store a file under its digest, unless it is there already. Raises StorageUnavailable."""
        digest = await anyio.to_thread.run_sync(digest_of, path)
        try:
            store = await self._store()
            if not await _holds(store, digest):
                with path.open("rb") as file:
                    await store.put(digest, file)
        except BUS_FAULTS as error:
            raise StorageUnavailable(bucket=subjects.MODELS, key=digest, reason=str(error)) from error
        return digest

    async def holds(self, digest: Digest) -> bool:
        """Whether an object with this digest is stored. Raises StorageUnavailable."""
        try:
            return await _holds(await self._store(), digest)
        except BUS_FAULTS as error:
            raise StorageUnavailable(bucket=subjects.MODELS, key=digest, reason=str(error)) from error

    async def fetch(self, digest: Digest, cache: Path) -> Path:
        """The object as a file in `cache`, downloaded at most once.

        Raises:
            ObjectMissing: the store does not hold it, or its bytes have another digest.
            StorageUnavailable: the store did not answer, or the bus was away meanwhile.
        """
        target = cache / digest
        if target.exists():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=cache, prefix=".partial-")
        try:
            with os.fdopen(handle, "w+b") as file:
                await download(self._bus, subjects.MODELS, digest, file)
            found = await anyio.to_thread.run_sync(digest_of, Path(partial))
            if found != digest:
                raise ObjectMissing(digest=digest, reason=f"stored bytes have digest {found}")
            os.replace(partial, target)
        except MISSING as error:
            raise ObjectMissing(digest=digest, reason="not in the object store") from error
        except DAMAGED as error:
            raise ObjectMissing(digest=digest, reason="its stored bytes are damaged") from error
        except BUS_FAULTS as error:
            raise StorageUnavailable(bucket=subjects.MODELS, key=digest, reason=str(error)) from error
        finally:
            Path(partial).unlink(missing_ok=True)
        return target

    async def _store(self) -> ObjectStore:
        return await self._bus.jetstream.object_store(subjects.MODELS)


async def download(bus: Bus, bucket: str, name: str, file: BinaryIO) -> None:
    """Write an object into `file`. nats-py waits for lost chunks without end, and 20 s after a reconnect.

    Raises what nats-py raises, and StorageUnavailable where it was cut off.
    """
    sink = _Sink(file)
    with bus.until_reconnected() as downloading:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.cancel_when_stalled, downloading)
            await _get(bus, bucket, name, sink)
            tasks.cancel_scope.cancel()
    if downloading.cancelled_caught:
        reason = f"the download was cut off after {sink.size_bytes} bytes"
        raise StorageUnavailable(bucket=bucket, key=name, reason=reason)
    if sink.failure is not None:
        raise sink.failure


async def _get(bus: Bus, bucket: str, name: str, sink: "_Sink") -> None:
    try:
        store = await bus.jetstream.object_store(bucket)
        # Into a file: collecting chunks in memory is quadratic in nats-py.
        await store.get(name, writeinto=cast("BufferedIOBase", sink))
    except BUS_FAULTS as error:
        sink.failure = error  # raised outside the task group, which would wrap it


class _Sink:
    """A file that knows how much was written, for whoever waits for more."""

    def __init__(self, file: BinaryIO) -> None:
        self.size_bytes = 0
        self.failure: Exception | None = None
        self._file = file

    def write(self, chunk: bytes) -> int:
        """Called from a worker thread."""
        self.size_bytes += len(chunk)
        return self._file.write(chunk)

    async def cancel_when_stalled(self, downloading: anyio.CancelScope) -> None:
        """Give up when nothing was written for `STALLED_S`."""
        before_bytes = -1
        while self.size_bytes > before_bytes:
            before_bytes = self.size_bytes
            await anyio.sleep(STALLED_S)
        downloading.cancel()


async def _holds(store: ObjectStore, digest: Digest) -> bool:
    try:
        await store.get_info(digest)
    except MISSING:
        return False
    return True
