"""Carries out commands, one at a time and in order, each only while the term it was decided in lasts.

Writing is tried until it is known to have happened or the term is over. What did not happen by then is dropped: the
next leader finds the bucket as it is and decides again.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import anyio

from fastgshare.scheduler.core.commands import (
    AnswerWish,
    Command,
    MoveReplica,
    PlaceReplica,
    RemoveReplica,
    Report,
    ResizeReplica,
)
from fastgshare.scheduler.core.events import PlacementRefused
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import Placement

RETRY_S = 0.1
LOGGED_AT_MOST = 400
CHANGES = {ResizeReplica: "replica_resized", MoveReplica: "replica_moved"}

logger = logging.getLogger(__name__)


class Writer:
    """The only writer of `placements`. What waits is bounded by the core: one command per replica and change."""

    def __init__(self, bus: Bus, leads: Callable[[int], bool], refused: Callable[[PlacementRefused], None]) -> None:
        self._bus = bus
        self._leads = leads
        self._refused = refused
        self._bucket = Bucket(bus, subjects.PLACEMENTS, Placement)
        self._commands: deque[Command] = deque()
        self._added = anyio.Event()

    def submit(self, commands: Iterable[Command]) -> None:
        """Have these carried out, after all that was submitted before."""
        self._commands.extend(commands)
        self._added.set()

    async def run(self) -> None:
        """Carry out what is submitted, until cancelled."""
        while True:
            await self._added.wait()
            self._added = anyio.Event()
            while self._commands:
                await self._carry_out(self._commands.popleft())

    async def _carry_out(self, command: Command) -> None:
        match command:
            case PlaceReplica(placement, reason):
                if await self._insist(placement.epoch, partial(self._place, placement)):
                    await self._tell_placed(placement, reason, "slice_lent" if placement.loan else "replica_placed")
            case ResizeReplica(placement, reason) | MoveReplica(placement, reason):
                if await self._insist(placement.epoch, partial(self._overwrite, placement)):
                    await self._tell_placed(placement, reason, CHANGES[type(command)])
            case RemoveReplica(node, replica, function, epoch, reason, loan, device):
                key = subjects.fleet_key(node, replica)
                if await self._insist(epoch, partial(self._remove, key)):
                    kind = "slice_returned" if loan else "replica_removed"
                    where = {"device": device} if loan else {}
                    await self._tell(kind, function, reason, replica=replica, node=node, **where)
            case AnswerWish(reply_to, reply, epoch):
                if self._leads(epoch) and self._bus.is_connected:  # else it is asked again
                    await self._bus.publish(reply_to, encode(reply))
            case Report(kind, function, text):
                await self._tell(kind, function, text)

    async def _insist(self, epoch: int, write: Callable[[], Awaitable[bool]]) -> bool:
        """Write until there is an answer; False too when the term ended before. Nothing waits in a send buffer."""
        while self._leads(epoch):
            if self._bus.is_connected:
                try:
                    return await write()
                except StorageUnavailable as error:
                    logger.info("not written yet: %s", error)
            await anyio.sleep(RETRY_S)
        return False

    async def _remove(self, key: str) -> bool:
        await self._bucket.delete(key)
        return True

    async def _place(self, placement: Placement) -> bool:
        key = subjects.fleet_key(placement.node, placement.replica)
        try:
            await self._bucket.replace(key, placement, 0)
        except RevisionConflict:
            if not await self._stands(placement, key):
                self._refused(PlacementRefused(placement.node, placement.replica, "another one stands there"))
                return False
        return True

    async def _overwrite(self, placement: Placement) -> bool:
        key = subjects.fleet_key(placement.node, placement.replica)
        standing, revision = await self._bucket.standing(key)
        if standing is None:
            self._refused(PlacementRefused(placement.node, placement.replica, "it does not stand there any more"))
            return False
        if standing.epoch > placement.epoch:
            return False  # a later leader's: what it wrote comes in with the bucket
        try:
            await self._bucket.replace(key, placement, revision)
        except RevisionConflict:
            return await self._overwrite(placement) if self._leads(placement.epoch) else False
        return True

    async def _stands(self, placement: Placement, key: str) -> bool:
        try:
            found = await self._bucket.get(key)
        except PayloadInvalid as error:
            logger.warning("placement %s cannot be read: %s", key, error)
            return False
        return found is not None and found[0] == placement

    async def _tell_placed(self, placement: Placement, reason: str, kind: str) -> None:
        await self._tell(
            kind,
            placement.function.name,
            reason,
            replica=placement.replica,
            node=placement.node,
            device=placement.device,
            chunks=" ".join(str(chunk) for chunk in placement.chunks),
            generation=placement.function.generation,
        )

    async def _tell(self, kind: str, function: str, text: str, **fields: str | int) -> None:
        logger.info("%s %s %s", kind, fields.get("replica", function), text[:LOGGED_AT_MOST])
        if self._bus.is_connected:
            await self._bus.tell(kind, function, text, **fields)
