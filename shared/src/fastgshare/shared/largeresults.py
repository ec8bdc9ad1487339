"""Results of jobs that are too large for a message of the bus: packed, each an object of a store of their own.

They go by themselves, a little later than the records that name them. Who stores one whose record says something else
by then forgets it at once.
"""

import io

from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS, StorageUnavailable, is_full
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, FastGShareError
from fastgshare.shared.messages import INFER_VERSION, InferReply, KeptReply
from fastgshare.shared.objects import DAMAGED, MISSING, download

MOST_RESULT_BYTES = 64 << 20
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
            await store.put(name, payload)
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
            await store.delete(name)
        except MISSING:
            return
        except BUS_FAULTS as error:
            raise _unavailable(name, error) from error


def _unavailable(name: str, error: Exception) -> StorageUnavailable:
    return StorageUnavailable(bucket=subjects.LARGE_RESULTS, key=name, reason=str(error) or type(error).__name__)
