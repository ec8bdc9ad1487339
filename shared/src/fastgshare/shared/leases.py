"""Leases: a key of the `leases` bucket that is one process's while that process keeps renewing it.

The bucket forgets a key `LEASE_TTL_S` after it was written, so a holder that died frees its keys without
anybody's help. A holder counts from before it sent the renewal and gives up first: two never believe in the
same lease at one time, as far as their clocks run equally fast. The revision grows with each renewal and is
the fencing token.
"""

import anyio

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import LeaseHolder
from fastgshare.shared.storage import LEASE_TTL_S

RENEW_S = LEASE_TTL_S / 4
GIVE_UP_S = LEASE_TTL_S * 0.9
RETRY_S = 0.05


class Lease:
    """One key. `holder` must be unique to this life of this process; `revision` is 0 while not held."""

    def __init__(self, bus: Bus, key: str, holder: str) -> None:
        self.key = key
        self.revision = 0
        self._bucket = Bucket(bus, subjects.LEASES, LeaseHolder)
        self._holder = LeaseHolder(holder=holder)
        self._until_s = 0.0

    @property
    def held(self) -> bool:
        """Whether the lease is certainly ours at this moment, even if this process was stopped for a while."""
        return self.revision != 0 and anyio.current_time() < self._until_s

    async def acquire(self) -> bool:
        """Take the lease if nobody holds it. Raises StorageUnavailable."""
        with anyio.move_on_after(GIVE_UP_S):
            return await self._write(0)
        return False

    async def hold(self) -> None:
        """Renew until the lease is lost: somebody else has it, or it could not be renewed in time."""
        while anyio.current_time() < self._until_s:
            await anyio.sleep_until(min(self._until_s, self._until_s - GIVE_UP_S + RENEW_S))
            with anyio.move_on_at(self._until_s):
                if not await self._renew():
                    break
        self.revision = 0

    async def release(self) -> None:
        """Give the lease back, if it still is ours. Raises StorageUnavailable."""
        revision, self.revision = self.revision, 0
        if revision:
            try:
                await self._bucket.delete(self.key, revision)
            except RevisionConflict:
                return

    async def _renew(self) -> bool:
        while True:
            try:
                return await self._write(self.revision)
            except StorageUnavailable:
                await anyio.sleep(RETRY_S)

    async def _write(self, revision: int) -> bool:
        sent_s = anyio.current_time()
        try:
            self.revision = await self._bucket.replace(self.key, self._holder, revision)
        except RevisionConflict:
            # A write whose confirmation was lost looks like somebody else's.
            try:
                found = await self._bucket.get(self.key)
            except PayloadInvalid:
                return False  # whoever wrote that is somebody else, and it runs out like any lease
            if found is None or found[0] != self._holder:
                return False
            return await self._write(found[1])  # when that write was made is not known, so make another
        self._until_s = sent_s + GIVE_UP_S
        return True
