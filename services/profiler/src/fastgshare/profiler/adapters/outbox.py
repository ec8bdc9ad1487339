"""What the profiler says on the bus, sent by one task so that deciding never waits for sending."""

import logging

import anyio
import nats.errors

from fastgshare.profiler.core.commands import Answer, Report, Tell
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import FunctionName

WAITING = 1_024

logger = logging.getLogger(__name__)


class Outbox:
    """Answers, reports and events on their way; full only while the bus is away, and then they are dropped."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox, self._messages = anyio.create_memory_object_stream[Answer | Report | Tell](WAITING)

    def send(self, message: Answer | Report | Tell) -> None:
        """Send soon."""
        try:
            self._inbox.send_nowait(message)
        except anyio.WouldBlock:
            logger.warning("not sent, too many wait: %s", message)

    async def run(self) -> None:
        """Send until cancelled."""
        with self._inbox, self._messages:
            async for message in self._messages:
                try:
                    await self._publish(message)
                except nats.errors.Error as error:
                    logger.warning("not sent, %s: %s", error, message)

    async def _publish(self, message: Answer | Report | Tell) -> None:
        if isinstance(message, Tell):
            await self._bus.tell(message.kind, message.function, message.text, **message.fields)
        elif isinstance(message, Answer):
            await self._bus.publish(message.reply_to, encode(message.progress))
        else:
            subject = subjects.profile_progress(FunctionName(message.progress.function))
            await self._bus.publish(subject, encode(message.progress))
