"""Functions that were deployed a moment ago: the bucket holds them, our mirror of it not yet.

Whoever deploys and then calls must not be told that there is no such function. So before that is said, the bucket is
asked; where it says otherwise, the mirror is waited for, because only the mirror learns of deletions too.
"""

import anyio

from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName, is_name
from fastgshare.shared.messages import FunctionSpec

ASKING_LIMIT = 64
MIRROR_S = 2.0
LOOK_S = 0.005
RETRY_AFTER_MS = 200


class Newcomers:
    """Asks the bucket, a bounded number of times at once."""

    def __init__(self, bus: Bus, gatekeeper: Gatekeeper) -> None:
        self._bucket = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._functions = gatekeeper.functions
        self._asking = 0

    async def wait_for(self, function: FunctionName) -> None:
        """Return once the function is known here, or known not to be anywhere. Raises RequestRefused: nobody knows."""
        if not is_name(function):
            return
        if self._asking >= ASKING_LIMIT:
            message = f"{self._asking} requests ask for functions that are not known here, the limit"
            raise RequestRefused(ErrorBody(ErrorCode.OVERLOADED, message, RETRY_AFTER_MS))
        self._asking += 1
        try:
            if await self._stands(function):
                await self._mirrored(function)
        finally:
            self._asking -= 1

    async def _stands(self, function: FunctionName) -> bool:
        try:
            return await self._bucket.get(function) is not None
        except PayloadInvalid:
            return False
        except StorageUnavailable as error:
            message = f"whether there is a function '{function}' cannot be told: {error.fields['reason']}"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, RETRY_AFTER_MS)) from error

    async def _mirrored(self, function: FunctionName) -> None:
        with anyio.move_on_after(MIRROR_S) as waiting:
            while function not in self._functions:
                await anyio.sleep(LOOK_S)
        if waiting.cancelled_caught:
            message = f"function '{function}' is not known to this gateway yet"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, RETRY_AFTER_MS))
