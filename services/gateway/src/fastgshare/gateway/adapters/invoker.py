"""Requests whose answers come back through this gateway: HTTP callers, and JSON over NATS.

One wildcard inbox, one future a request. Large tensors travel to workers on this host through shared memory.
"""

import asyncio
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.views import Views
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.tickets import Action, Refuse, Ticket
from fastgshare.shared.bus import Bus, is_no_responders
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid
from fastgshare.shared.ids import FunctionName, HostId, RequestId
from fastgshare.shared.messages import (
    INFER_VERSION,
    Completion,
    InferReply,
    InferRequest,
    Timing,
)
from fastgshare.shared.minting import new_incarnation, new_request_id
from fastgshare.shared.slots import SlotPool
from fastgshare.shared.slotted import inline_bytes, into_slot, out_of_slot, wants_slot
from fastgshare.shared.tracing import TraceContext
from fastgshare.shared.units import US_PER_MS, us_to_s

HEADER_ROOM_BYTES = 4096


class AnswerInbox:
    """Awaits answers by request id on one subscription.

    `on_nobody` is told of a request that the server could deliver to nobody; its answer is still awaited.
    """

    def __init__(self, bus: Bus, on_nobody: Callable[[RequestId], None]) -> None:
        self._bus = bus
        self._on_nobody = on_nobody
        self._prefix = f"_INBOX.gateway-{new_incarnation()}"
        self._waiting: dict[str, asyncio.Future[InferReply]] = {}

    async def open(self) -> Subscription:
        """Subscribe; call once."""
        return await self._bus.subscribe_prompt(f"{self._prefix}.*", self._on_answer)

    def expect(self, request_id: str) -> tuple[str, "asyncio.Future[InferReply]"]:
        """The reply subject for a request, and the future of its answer."""
        future: asyncio.Future[InferReply] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        return f"{self._prefix}.{request_id}", future

    def forget(self, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(request_id, None)

    async def _on_answer(self, msg: Msg) -> None:
        request_id = msg.subject.rpartition(".")[2]
        if is_no_responders(msg):
            self._on_nobody(RequestId(request_id))
            return
        future = self._waiting.pop(request_id, None)
        if future is None or future.done():
            return
        try:
            future.set_result(decode(InferReply, msg.data))
        except PayloadInvalid as error:
            future.set_result(_refused(ErrorCode.INTERNAL, f"unreadable answer: {error}"))


class BusInvoker(Views):
    """The `Invoker` port: invokes functions and tells about them; expected outcomes are values in the reply."""

    def __init__(
        self,
        bus: Bus,
        gatekeeper: Gatekeeper,
        dispatcher: Dispatcher,
        inbox: AnswerInbox,
        newcomers: Newcomers,
        host: HostId,
    ) -> None:
        super().__init__(gatekeeper)
        self.wait_for = newcomers.wait_for
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._slots = SlotPool(host)
        self._reply_room: dict[FunctionName, int] = {}

    async def invoke(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> InferReply:
        """One request to its answer, refusal or deadline. Never raises for an expected outcome."""
        if wants_slot(request) and not self._is_elsewhere(function):
            reply = await self._invoke_slotted(function, request, deadline_us, trace, door)
            if reply is not None:
                return reply
            trace = trace.sibling()
        limit = self._bus.max_payload_bytes - HEADER_ROOM_BYTES
        if inline_bytes(request) > limit:
            message = f"{inline_bytes(request)} bytes of tensors, the limit between hosts is {limit}"
            return _refused(ErrorCode.TOO_LARGE, message)
        return await self._send(function, request, request, deadline_us, trace, door, None)

    def is_ready(self) -> bool:
        """Whether requests can be taken; this exists only once the mirrors are complete."""
        return self._bus.is_connected

    def close(self) -> None:
        """Unlink the shared memory."""
        self._slots.close()

    async def _invoke_slotted(
        self, function: FunctionName, request: InferRequest, deadline_us: int, trace: TraceContext, door: str
    ) -> InferReply | None:
        """The answer by way of shared memory; None where that does not work and the tensors have to go inline."""
        room = max(inline_bytes(request), self._reply_room.get(function, 0))
        placed = into_slot(request, self._slots, room)
        if placed is None:
            return None
        slotted, slot = placed
        answered = False
        try:
            reply = await self._send(function, request, slotted, deadline_us, trace, door, self._slots.host)
            reply = out_of_slot(reply, slot)
            answered = True
        finally:
            (self._slots.give_back if answered else self._slots.abandon)(slot)
        if reply.error is not None and reply.error.code is ErrorCode.TENSOR_UNREACHABLE:
            return None
        reply_bytes = sum(tensor.size_bytes for tensor in reply.outputs)
        self._reply_room[function] = max(reply_bytes, self._reply_room.get(function, 0))
        return reply

    async def _send(
        self,
        function: FunctionName,
        request: InferRequest,
        sent: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str,
        host: HostId | None,
    ) -> InferReply:
        now_us = unix_us()
        request_id = new_request_id()
        reply_to, future = self._inbox.expect(request_id)
        ticket = Ticket(
            request_id=request_id,
            function=function,
            payload=encode(sent),
            reply=reply_to,
            deadline_us=deadline_us,
            traceparent=trace.header(),
            arrived_us=now_us,
            notice=False,
            host=host,
            parent_span=trace.parent_id,
            came_by=door,
        )
        try:
            action = self._gatekeeper.admit(ticket, request, now_us)
            if isinstance(action, Refuse):
                return InferReply(INFER_VERSION, error=action.error)
            return await self._await_answer(ticket, action, future)
        finally:
            self._inbox.forget(request_id)
            self._gatekeeper.gave_up(request_id, unix_us())

    async def _await_answer(
        self, ticket: Ticket, action: Action | None, future: "asyncio.Future[InferReply]"
    ) -> InferReply:
        if action is not None:
            await self._dispatcher.perform(action)
        left_s = us_to_s(max(ticket.deadline_us - unix_us(), 0))
        # A timer that answers in the worker's place: asyncio.timeout costs several times as much.
        timer = asyncio.get_running_loop().call_later(left_s, _run_out, future, ticket)
        try:
            reply = await future
        finally:
            timer.cancel()
        if reply.attempt is not None:
            timing = reply.timing or Timing()
            code = reply.error.code if reply.error is not None else ""
            self._gatekeeper.answered(Completion(reply.attempt, not code, timing, code=code), unix_us())
        return reply

    def _is_elsewhere(self, function: FunctionName) -> bool:
        """Whether a ready replica does not share our memory; one that is still to come may."""
        return any(target.status.host != self._slots.host for target in self._gatekeeper.fleet.ready(function))


def _run_out(future: "asyncio.Future[InferReply]", ticket: Ticket) -> None:
    if not future.done():
        message = f"no answer within {(ticket.deadline_us - ticket.arrived_us) / US_PER_MS:.0f} ms"
        future.set_result(_refused(ErrorCode.DEADLINE_EXCEEDED, message))


def _refused(code: ErrorCode, message: str, retry_after_ms: int = 0) -> InferReply:
    return InferReply(INFER_VERSION, error=ErrorBody(code, message, retry_after_ms))
