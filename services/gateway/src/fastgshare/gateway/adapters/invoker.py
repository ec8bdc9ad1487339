"""Requests whose answers come back through this gateway: HTTP callers, and JSON over NATS.

One wildcard inbox, one future a request. Large tensors travel to workers on this host through shared memory.
"""

import asyncio
from collections.abc import AsyncGenerator

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.views import Views
from fastgshare.gateway.adapters.waiting import AnswerInbox, refused
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.tickets import JOB_DOOR, Action, Refuse, Ticket
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import FunctionName, HostId, RequestId
from fastgshare.shared.largeresults import MOST_RESULT_BYTES
from fastgshare.shared.messages import (
    INFER_VERSION,
    Completion,
    InferReply,
    InferRequest,
    Timing,
)
from fastgshare.shared.minting import new_request_id
from fastgshare.shared.slots import SlotPool
from fastgshare.shared.slotted import inline_bytes, into_slot, out_of_slot, wants_slot
from fastgshare.shared.tracing import TraceContext
from fastgshare.shared.units import US_PER_MS, us_to_s

HEADER_ROOM_BYTES = 4096
_NO_SLOT_RETRY_MS = 1000
_RESULT_ROOM_BYTES = MOST_RESULT_BYTES - (1 << 20)  # slots are powers of two, and the request is in there too


class BusInvoker(Views):
    """The `Invoker` port: invokes functions and tells about them; expected outcomes are values in the reply."""

    def __init__(
        self,
        bus: Bus,
        gatekeeper: Gatekeeper,
        dispatcher: Dispatcher,
        inbox: AnswerInbox,
        newcomers: Newcomers,
        turned_away: TurnedAway,
        host: HostId,
    ) -> None:
        super().__init__(gatekeeper)
        self.wait_for = newcomers.wait_for
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._turned_away = turned_away
        self._slots = SlotPool(host)
        self._reply_room: dict[FunctionName, int] = {}
        self._large_results: set[FunctionName] = set()

    async def invoke(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> InferReply:
        """One request to its answer, refusal or deadline. Never raises for an expected outcome."""
        call = self._invoke_job if door == JOB_DOOR else self._invoke
        return await call(function, request, deadline_us, trace, door)

    async def _invoke(
        self, function: FunctionName, request: InferRequest, deadline_us: int, trace: TraceContext, door: str
    ) -> InferReply:
        if wants_slot(request) and not self._is_elsewhere(function):
            reply = await self._invoke_slotted(function, request, deadline_us, trace, door)
            if reply is not None:
                return reply
            trace = trace.sibling()
        too_large = self._problem_with_size(request, door)
        if too_large is not None:
            return too_large
        return await self._send(function, request, request, deadline_us, trace, door, None)

    async def _invoke_job(
        self, function: FunctionName, request: InferRequest, deadline_us: int, trace: TraceContext, door: str
    ) -> InferReply:
        """One whose result may be as large as is kept: where a message cannot carry it there is shared memory for it.

        Only the first of a function is run twice for that.
        """
        if function not in self._large_results or self._is_elsewhere(function):
            reply = await self._invoke(function, request, deadline_us, trace, door)
            if not _is_too_large(reply) or self._is_elsewhere(function):
                return reply
            self._large_results.add(function)
            trace = trace.sibling()
        slotted = await self._invoke_slotted(function, request, deadline_us, trace, door, _RESULT_ROOM_BYTES)
        if slotted is not None and _is_too_large(slotted):  # all that memory did not help: its others go without first
            self._large_results.discard(function)
        return slotted or refused(ErrorCode.OVERLOADED, "no shared memory is left for the result", _NO_SLOT_RETRY_MS)

    async def invoke_stream(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> AsyncGenerator[InferReply, None]:
        """One request to the end of its parts, its refusal or deadline; tensors travel inline."""
        too_large = self._problem_with_size(request, door)
        if too_large is not None:
            yield too_large
            return
        now_us = unix_us()
        request_id = new_request_id()
        reply_to, parts = self._inbox.expect_parts(request_id)
        ticket = self._ticket(function, request_id, request, reply_to, deadline_us, trace, door, None, now_us)
        left_s = us_to_s(max(deadline_us - now_us, 0))
        timer = asyncio.get_running_loop().call_later(left_s, lambda: parts.put(_too_late(ticket)))
        try:
            action = self._gatekeeper.admit(ticket, request, now_us)
            if isinstance(action, Refuse):
                yield InferReply(INFER_VERSION, error=action.error)
                return
            if action is not None:
                await self._dispatcher.perform(action)
            while True:
                reply = await parts.next()
                if not reply.more:
                    self._count(request_id, reply)
                elif not ticket.first_us:
                    ticket.first_us = unix_us()
                yield reply
                if not reply.more:
                    return
        finally:
            timer.cancel()
            self._leave(request_id)

    def is_ready(self) -> bool:
        """Whether requests can be taken; this exists only once the mirrors are complete."""
        return self._bus.is_connected

    def close(self) -> None:
        """Unlink the shared memory."""
        self._slots.close()

    async def _invoke_slotted(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str,
        least_room_bytes: int = 0,
    ) -> InferReply | None:
        """The answer by way of shared memory; None where that does not work and the tensors have to go inline."""
        room = max(inline_bytes(request), self._reply_room.get(function, 0), least_room_bytes)
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
        if not least_room_bytes:  # what is kept for jobs alone is not for others to leave room for
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
        ticket = self._ticket(function, request_id, sent, reply_to, deadline_us, trace, door, host, now_us)
        try:
            action = self._gatekeeper.admit(ticket, request, now_us)
            if isinstance(action, Refuse):
                return InferReply(INFER_VERSION, error=action.error)
            return await self._await_answer(ticket, action, future)
        finally:
            self._leave(request_id)

    def _ticket(
        self,
        function: FunctionName,
        request_id: RequestId,
        sent: InferRequest,
        reply_to: str,
        deadline_us: int,
        trace: TraceContext,
        door: str,
        host: HostId | None,
        now_us: int,
    ) -> Ticket:
        return Ticket(
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

    def _leave(self, request_id: RequestId) -> None:
        """Nobody waits here any more; what is not answered by now is recalled."""
        self._inbox.forget(request_id)
        self._give_up(request_id, timed_out=False)

    def _give_up(self, request_id: RequestId, timed_out: bool) -> None:
        if left := self._gatekeeper.gave_up(request_id, unix_us(), timed_out):
            self._dispatcher.enqueue(left)

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
        self._count(ticket.request_id, reply)
        return reply

    def _count(self, request_id: RequestId, reply: InferReply) -> None:
        """What the caller is told ends the request: a worker's answer, or the timer's, which no attempt made."""
        code = reply.error.code if reply.error is not None else ""
        if reply.attempt is not None:
            timing = reply.timing or Timing()
            self._gatekeeper.answered(Completion(reply.attempt, not code, timing, code=code), unix_us())
        elif code == ErrorCode.DEADLINE_EXCEEDED:
            self._give_up(request_id, timed_out=True)

    def _problem_with_size(self, request: InferRequest, door: str) -> InferReply | None:
        limit = self._bus.max_payload_bytes - HEADER_ROOM_BYTES
        size_bytes = inline_bytes(request)
        if size_bytes <= limit:
            return None
        self._turned_away.count(door, ErrorCode.TOO_LARGE)
        return refused(ErrorCode.TOO_LARGE, f"{size_bytes} bytes of tensors, the limit between hosts is {limit}")

    def _is_elsewhere(self, function: FunctionName) -> bool:
        """Whether a ready replica does not share our memory; one that is still to come may."""
        return any(target.status.host != self._slots.host for target in self._gatekeeper.fleet.ready(function))


def _run_out(future: "asyncio.Future[InferReply]", ticket: Ticket) -> None:
    if not future.done():
        future.set_result(_too_late(ticket))


def _is_too_large(reply: InferReply) -> bool:
    return reply.error is not None and reply.error.code is ErrorCode.TOO_LARGE


def _too_late(ticket: Ticket) -> InferReply:
    message = f"no answer within {(ticket.deadline_us - ticket.arrived_us) / US_PER_MS:.0f} ms"
    return refused(ErrorCode.DEADLINE_EXCEEDED, message)
