"""Calls the roll over the bus: which processes serve, by their own answers to `fast.ping.<service>`."""

import anyio
import nats.errors
from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import ServiceReady

CALL_EVERY_S = 0.1


class Roll:
    """Answers by process; `open` it before calling."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox = bus.connection.new_inbox()
        self._answers: dict[int, ServiceReady] = {}
        self._news = anyio.Event()

    async def open(self) -> None:
        """Listen for answers; ends with the connection."""
        await self._bus.subscribe(self._inbox, self._note)

    async def answer_of(self, service: str, pid: int) -> ServiceReady:
        """Ask until this process of this service has answered anew."""
        self._answers.pop(pid, None)
        while (answer := self._answers.get(pid)) is None or answer.service != service:
            if self._bus.is_connected:  # what is sent before would only pile up
                await self._call(service)
            news = self._news
            with anyio.move_on_after(CALL_EVERY_S):
                await news.wait()
        return answer

    async def _call(self, service: str) -> None:
        try:
            await self._bus.publish(subjects.ping(service), b"", self._inbox)
        except nats.errors.Error:
            return  # the connection went away between the look and the call

    async def _note(self, msg: Msg) -> None:
        if not msg.data:  # the server's word that nobody listens yet
            return
        try:
            answer = decode(ServiceReady, msg.data)
        except PayloadInvalid:
            return
        self._answers[answer.pid] = answer
        self._news.set()
        self._news = anyio.Event()
