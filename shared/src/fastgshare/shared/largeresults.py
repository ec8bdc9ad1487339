"""Results of jobs that are too large for a message of the bus: packed, each an object of a store of their own.

They go by themselves, a little later than the records that name them. Who stores one whose record says something else
by then forgets it at once, and of one that is called off while it is stored nothing stays.
"""

import io
from contextlib import suppress
from typing import cast

import anyio
import anyio.lowlevel
from nats.js.object_store import ObjectStore

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable, is_full
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, FastGShareError
from fastgshare.shared.messages import INFER_VERSION, InferReply, KeptReply
from fastgshare.shared.objects import DAMAGED, MISSING, download

MOST_RESULT_BYTES = 64 << 20
TIDY_S = 1.0
_GONE = InferReply(
    INFER_VERSION, error=ErrorBody(ErrorCode.NOT_FOUND, "the result of this job is not kept any more, or is damaged")
)


class ResultsFull(FastGShareError):
    """As many large results are kept as there is room for."""


class LargeResults:
    """The object store `large_results`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self, name: str, payload: bytes) -> KeptReply:
        """Store a packed reply, in the place of one of that name. Raises StorageUnavailable, ResultsFull."""
        try:
            store = await self._bus.jetstream.object_store(subjects.LARGE_RESULTS)
            await _Upload(payload).into(store, name)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(TIDY_S, shield=True), suppress(StorageUnavailable):
                await self.forget(name)  # it may have been complete by then
            raise
        except BUS_FAULTS as error:
            if is_full(error):
                raise ResultsFull from error
            raise _unavailable(name, error) from error
        return KeptReply(name=name, size_bytes=len(payload))

    async def fetch(self, kept: KeptReply) -> InferReply:
        """The reply; an error says that it is gone. Raises StorageUnavailable, PayloadInvalid."""
        file = io.BytesIO()
        try:
            await download(self._bus, subjects.LARGE_RESULTS, kept.name, file)
        except (*MISSING, *DAMAGED):
            return _GONE
        except BUS_FAULTS as error:
            raise _unavailable(kept.name, error) from error
        return decode(InferReply, file.getbuffer())

    async def forget(self, name: str) -> None:
        """Nobody names it. Raises StorageUnavailable."""
        try:
            store = await self._bus.jetstream.object_store(subjects.LARGE_RESULTS)
            try:
                await store.delete(name)
            except BUS_FAULTS as error:
                if not is_full(error):
                    raise
                await store.delete(name)  # there was no room to say that it is gone; what it took is room now
        except MISSING:
            return
        except BUS_FAULTS as error:
            raise _unavailable(name, error) from error


class _Upload:
    """What is stored. nats-py takes back what it sent where reading fails, and not where it is cancelled.

    So a cancelled one goes on to its next chunk, which cannot be read any more; all of that within `TIDY_S`.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = io.BytesIO(payload)
        self._is_called_off = False
        self._failure: Exception | None = None

    def readinto(self, chunk: bytearray) -> int:
        """Called from a worker thread."""
        if self._is_called_off:
            raise _CalledOff
        return self._payload.readinto(chunk)

    async def into(self, store: ObjectStore, name: str) -> None:
        """Store it. Raises what nats-py raises."""
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope(shield=True) as sending:
                tasks.start_soon(self._call_off_when_cancelled, sending)
                await self._put(store, name)
            tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self._failure is not None:
            raise self._failure

    async def _put(self, store: ObjectStore, name: str) -> None:
        try:
            await store.put(name, cast("io.BufferedIOBase", self))
        except (*BUS_FAULTS, _CalledOff) as error:
            self._failure = error  # raised outside the task group, which would wrap it

    async def _call_off_when_cancelled(self, sending: anyio.CancelScope) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._is_called_off = True
            sending.deadline = anyio.current_time() + TIDY_S


class _CalledOff(FastGShareError):
    """Nobody waits for it any more."""


def _unavailable(name: str, error: Exception) -> StorageUnavailable:
    return StorageUnavailable(bucket=subjects.LARGE_RESULTS, key=name, reason=str(error) or type(error).__name__)
