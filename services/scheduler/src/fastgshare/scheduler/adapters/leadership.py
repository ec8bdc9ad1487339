"""One scheduler leads: the one that holds the lease. Its term is numbered by the revision that won the lease.

The term begins for the core only when the buckets were read anew, so that it decides on what its predecessor left.
Nothing is carried out unless the lease is certainly held at that moment; a leader that cannot renew it stops before
anybody else can have it.
"""

import logging

import anyio

from fastgshare.scheduler.adapters.inbox import Inbox
from fastgshare.scheduler.adapters.observer import Observer
from fastgshare.scheduler.core.events import LeadershipLost, LeadershipWon
from fastgshare.shared import subjects
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.leases import Lease

ASK_S = 0.3
RESIGN_S = 1.0

logger = logging.getLogger(__name__)


class Leadership:
    """This scheduler's part in who leads. `holder` must be unique to this life of this process."""

    def __init__(self, bus: Bus, holder: str, observer: Observer, inbox: Inbox) -> None:
        self._bus = bus
        self._holder = holder
        self._lease = Lease(bus, subjects.LEADER_KEY, holder)
        self._observer = observer
        self._inbox = inbox
        self._epoch = 0

    def leads(self, epoch: int) -> bool:
        """Whether the term `epoch` is ours and lasts at this moment."""
        return epoch == self._epoch and self._lease.held

    @property
    def is_leading(self) -> bool:
        """Whether any term of ours lasts at this moment."""
        return self.leads(self._epoch)

    async def run(self) -> None:
        """Stand for leader, lead, and stand again, until cancelled; then give the lease back."""
        try:
            while True:
                await self._win()
                await self._reign()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(RESIGN_S):
                await self._resign()

    async def _win(self) -> None:
        while not await self._acquired():
            await anyio.sleep(ASK_S)

    async def _acquired(self) -> bool:
        if not self._bus.is_connected:
            return False
        try:
            return await self._lease.acquire()
        except StorageUnavailable as error:
            logger.info("lease not asked for: %s", error)
            return False

    async def _reign(self) -> None:
        self._epoch = self._lease.revision
        async with anyio.create_task_group() as term:
            term.start_soon(self._begin, self._epoch)
            await self._lease.hold()
            term.cancel_scope.cancel()
        logger.warning("term %d of %s is over: the lease was not renewed", self._epoch, self._holder)
        self._epoch = 0
        self._inbox.append(LeadershipLost("the lease was not renewed"))

    async def _begin(self, epoch: int) -> None:
        await self._observer.relist()
        self._inbox.append(LeadershipWon(epoch))
        logger.info("%s leads, term %d", self._holder, epoch)
        await self._bus.tell("leader_elected", text=f"{self._holder} leads", epoch=epoch)

    async def _resign(self) -> None:
        try:
            await self._lease.release()
        except StorageUnavailable as error:
            logger.info("lease not given back, it will run out: %s", error)
