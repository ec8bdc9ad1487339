"""Models and user code by content: a file's SHA-256 is its name in the object store and in every cache.

A cached file is complete by construction: it is written beside, checked against its digest, then renamed.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import anyio.to_thread
from nats.js import errors as js_errors
from nats.js.object_store import ObjectStore

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import ObjectMissing
from fastgshare.shared.ids import Digest


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
            StorageUnavailable: the store did not answer.
        """
        target = cache / digest
        if target.exists():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=cache, prefix=".partial-")
        try:
            with os.fdopen(handle, "w+b") as file:
                # Into a file: collecting chunks in memory is quadratic in nats-py.
                await (await self._store()).get(digest, writeinto=file)
            found = await anyio.to_thread.run_sync(digest_of, Path(partial))
            if found != digest:
                raise ObjectMissing(digest=digest, reason=f"stored bytes have digest {found}")
            os.replace(partial, target)
        except (js_errors.ObjectNotFoundError, js_errors.ObjectDeletedError) as error:
            raise ObjectMissing(digest=digest, reason="not in the object store") from error
        except BUS_FAULTS as error:
            raise StorageUnavailable(bucket=subjects.MODELS, key=digest, reason=str(error)) from error
        finally:
            Path(partial).unlink(missing_ok=True)
        return target

    async def _store(self) -> ObjectStore:
        return await self._bus.jetstream.object_store(subjects.MODELS)


async def _holds(store: ObjectStore, digest: Digest) -> bool:
    try:
        await store.get_info(digest)
    except (js_errors.ObjectNotFoundError, js_errors.ObjectDeletedError):
        return False
    return True
