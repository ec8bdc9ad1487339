"""Profilers ask here for slices: the core decides, and what cannot be read is refused. Only the leader answers."""

import logging
from collections.abc import Callable

from nats.aio.msg import Msg

from fastgshare.scheduler.adapters.inbox import Inbox
from fastgshare.scheduler.core.events import SliceWished
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import LoanReply, LoanState, LoanWish

EVENTS_WAITING = 4096

logger = logging.getLogger(__name__)


class Wishes:
    """Takes wishes to `inbox`, of one loan the latest; while `EVENTS_WAITING` wait there, they are put off."""

    def __init__(self, bus: Bus, inbox: Inbox, is_leading: Callable[[], bool]) -> None:
        self._bus = bus
        self._inbox = inbox
        self._is_leading = is_leading

    async def start(self) -> None:
        """Return once wishes are heard."""
        await self._bus.subscribe(subjects.LOAN, self._on_wish)

    async def _on_wish(self, msg: Msg) -> None:
        if not msg.reply:
            logger.warning("%s ignored: it names no reply subject", msg.subject)
            return
        try:
            wish = decode(LoanWish, msg.data)
        except PayloadInvalid as error:
            await self._reply(msg, LoanReply(loan="", state=LoanState.REFUSED, reason=str(error)))
            return
        if self._inbox.waiting >= EVENTS_WAITING:
            reason = f"{self._inbox.waiting} things wait to be decided on, ask again"
            await self._reply(msg, LoanReply(loan=wish.loan, state=LoanState.WAITING, reason=reason))
            return
        self._inbox.put((SliceWished, wish.loan), SliceWished(wish, msg.reply))

    async def _reply(self, msg: Msg, reply: LoanReply) -> None:
        if self._is_leading():
            await self._bus.publish(msg.reply, encode(reply))
