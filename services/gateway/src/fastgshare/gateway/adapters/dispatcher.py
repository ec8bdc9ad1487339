"""Carries out what the core decides: dispatches, refusals and demand, each one publish."""

import logging

import anyio
import nats.errors

from fastgshare.gateway.core.tickets import Action, Dispatch, HandBack, RaiseDemand, Recall, Refuse
from fastgshare.shared import subjects
from fastgshare.shared.bus import NO_RESPONDERS, Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import INFER_VERSION, Cancel, Demand, InferReply, Work

OUTBOX_LIMIT = 300_000  # eight times what the core holds requests (`Limits.requests`)

logger = logging.getLogger(__name__)


class Dispatcher:
    """Publishes actions. `perform` at once, `enqueue` from places that cannot wait."""

    def __init__(self, bus: Bus, gateway: GatewayId) -> None:
        self._bus = bus
        self._gateway = gateway
        self._send, self._receive = anyio.create_memory_object_stream[Action](OUTBOX_LIMIT)

    async def perform(self, action: Action) -> None:
        """Carry out one action; a fault of the bus costs this action only and is logged."""
        try:
            match action:
                case Dispatch():
                    await self._dispatch(action)
                case Refuse(ticket, error):
                    await self._bus.publish(ticket.reply, refusal(error))
                case HandBack(ticket):
                    await self._bus.publish(ticket.reply, b"", headers=NO_RESPONDERS)
                case RaiseDemand(function, held):
                    demand = Demand(function=function, gateway=self._gateway, held=held)
                    await self._bus.publish(subjects.demand(function), encode(demand))
                case Recall(replica, attempt):
                    await self._bus.publish(subjects.cancel(replica), encode(Cancel(INFER_VERSION, attempt)))
        except nats.errors.Error as error:
            logger.warning("%s not sent: %s", type(action).__name__, error)

    def enqueue(self, actions: list[Action]) -> None:
        """Leave actions for `run`; each of the core's requests has a recall and a dispatch at
        most, and at its end `MAX_RECALLS` and one more, so its bound is this one's."""
        for action in actions:
            self._send.send_nowait(action)

    async def run(self) -> None:
        """Carry out enqueued actions until cancelled."""
        async for action in self._receive:
            await self.perform(action)

    async def finish(self) -> None:
        """Carry out what is enqueued by now."""
        while self._receive.statistics().current_buffer_used:
            await self.perform(self._receive.receive_nowait())

    async def _dispatch(self, action: Dispatch) -> None:
        ticket = action.ticket
        work = Work(
            INFER_VERSION,
            action.attempt,
            self._gateway if ticket.notice else None,
            ticket.deadline_us,
            ticket.traceparent,
            memoryview(ticket.payload),
            ticket.objective_us,
        )
        ticket.left_us = unix_us()
        await self._bus.publish(subjects.replica(action.replica), encode(work), ticket.reply)


def refusal(error: ErrorBody) -> bytes:
    """An error as the answer to a request."""
    return encode(InferReply(INFER_VERSION, error=error))
