"""Requests to functions, over the bus: each is answered or refused by its deadline.

The payload goes to any gateway; the answer comes straight from the worker into this client's inbox.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from msgspec.structs import replace
from nats import errors as nats_errors

from fastgshare.client.inbox import Call, Inbox, PartsCall
from fastgshare.client.large import LargeTensors
from fastgshare.client.patience import Patience
from fastgshare.client.spans import current_span
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus, is_no_responders
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, RequestId, is_name
from fastgshare.shared.messages import InferReply, InferRequest
from fastgshare.shared.minting import new_request_id
from fastgshare.shared.parts import PartOrder, whole
from fastgshare.shared.slots import Slot
from fastgshare.shared.tracing import TraceContext
from fastgshare.shared.units import s_to_us, us_to_s

# The server counts headers towards its limit, and gateways add their own to ours.
HEADER_ROOM_BYTES = 1024
RETRY_AFTER_MS = 1000
CUT_PATIENCE_S = 5.0


class Inference:
    """The request path of one client."""

    def __init__(self, bus: Bus, inbox: Inbox, large: LargeTensors) -> None:
        self._bus = bus
        self._inbox = inbox
        self._large = large

    async def invoke(
        self, function: FunctionName, request: InferRequest, timeout_s: float, trace: TraceContext | None
    ) -> InferReply:
        """The answer, its outputs inline. Raises RequestRefused; ValueError for a `timeout_s` that is none."""
        check_call(function, timeout_s)
        deadline_us = monotonic_us() + s_to_us(timeout_s)
        reply = whole(await self._route(function, request, deadline_us, _traceparent(trace)))
        if reply.error is not None:
            raise RequestRefused(reply.error)
        return reply

    async def _route(
        self, function: FunctionName, request: InferRequest, deadline_us: int, traceparent: str
    ) -> InferReply:
        if not self._large.concerns(function, request):
            reply = await self._exchange(function, request, deadline_us, traceparent)
            self._large.saw(function, reply)
            return reply
        left_s = us_to_s(deadline_us - monotonic_us())
        packed = await self._large.into_slot(function, request, left_s / 4)
        if packed is not None:
            reply = await self._exchange_slot(function, *packed, deadline_us, traceparent)
            if reply.error is None or reply.error.code is not ErrorCode.TENSOR_UNREACHABLE:
                return reply
        reply = await self._exchange(function, request, deadline_us, traceparent)
        self._large.saw(function, reply)
        return reply

    async def _exchange_slot(
        self, function: FunctionName, request: InferRequest, slot: Slot, deadline_us: int, traceparent: str
    ) -> InferReply:
        try:
            reply = await self._exchange(function, request, deadline_us, traceparent)
        except BaseException:
            self._large.abandon(slot)
            raise
        reply = self._large.out_of_slot(function, reply, slot)
        self._large.saw(function, reply)
        return reply

    async def _exchange(
        self, function: FunctionName, request: InferRequest, deadline_us: int, traceparent: str
    ) -> InferReply:
        """One request under one id, however often it has to be sent."""
        start_us = monotonic_us()
        request_id = new_request_id()
        payload = self._payload(request, request_id, deadline_us - start_us, traceparent)
        patience = Patience(start_us, deadline_us)
        call = self._inbox.expect(request_id)
        try:
            reply = await self._persist(function, payload, request_id, call, patience)
            if reply.more:  # the first of many parts, and nobody takes the others
                self.withdraw(request_id)
            return reply
        except asyncio.CancelledError:
            self.withdraw(request_id)
            raise
        finally:
            self._inbox.forget(request_id)

    async def _persist(
        self, function: FunctionName, payload: bytes, request_id: RequestId, call: Call, patience: Patience
    ) -> InferReply:
        subject = subjects.invoke(function)
        reply_to = self._inbox.reply_subject(request_id)
        now_us = monotonic_us()
        while not patience.is_over(now_us):
            # While disconnected a request would be kept and sent late; the reconnect wakes this call instead.
            if self._bus.is_connected:
                await self._publish(subject, payload, reply_to)
            patience.sent(now_us)
            msg = await call.wait(us_to_s(patience.wake_us - now_us))
            now_us = monotonic_us()
            while msg is not None:
                if not is_no_responders(msg):
                    return decode(InferReply, msg.data)
                patience.found_nobody(now_us)
                msg = await call.wait(us_to_s(patience.wake_us - now_us))
                now_us = monotonic_us()
        raise RequestRefused(self._why_unanswered(function, patience))

    def _payload(self, request: InferRequest, request_id: RequestId, left_us: int, traceparent: str) -> bytes:
        unix_deadline_us = unix_us() + left_us
        payload = encode(replace(request, deadline_us=unix_deadline_us, request_id=request_id, traceparent=traceparent))
        limit_bytes = self._bus.max_payload_bytes - HEADER_ROOM_BYTES
        if len(payload) > limit_bytes:
            raise refused(
                ErrorCode.TOO_LARGE,
                f"the request has {len(payload)} bytes; the bus takes at most {limit_bytes} in one message",
            )
        return payload

    def withdraw(self, request_id: RequestId, first_part_us: int | None = None) -> None:
        """Tell the platform not to bother any more. Where that cannot be sent, it finds out by the deadline.

        `first_part_us` is how long the first part took to come, of an answer whose caller leaves in the middle.
        """
        headers = {subjects.FIRST_PART_US: str(first_part_us)} if first_part_us is not None else None
        if self._bus.is_connected:
            with suppress(nats_errors.Error):
                self._bus.publish_now(subjects.withdraw(request_id), request_id.encode(), headers=headers)

    async def stream(
        self, function: FunctionName, request: InferRequest, timeout_s: float, trace: TraceContext | None
    ) -> AsyncGenerator[InferReply, None]:
        """The parts of the answer as they come, the last without `more`; tensors travel inline.

        Who leaves before the last withdraws the request. Raises as `invoke`, in the middle too.
        """
        check_call(function, timeout_s)
        start_us = monotonic_us()
        deadline_us = start_us + s_to_us(timeout_s)
        request_id = new_request_id()
        payload = self._payload(request, request_id, deadline_us - start_us, _traceparent(trace))
        patience, order = Patience(start_us, deadline_us), PartOrder()
        call = self._inbox.expect_parts(request_id)
        ended, first_part_us = False, None
        try:
            while (reply := await self._next_part(function, payload, request_id, call, patience, order)) is not None:
                ended = not reply.more and (reply.error is None or reply.attempt is not None)  # by its worker, not here
                if reply.more and first_part_us is None:
                    first_part_us = monotonic_us() - start_us
                if reply.error is not None:
                    raise RequestRefused(reply.error)
                yield reply
                if not reply.more:
                    return
            raise RequestRefused(self._why_unanswered(function, patience))
        finally:
            self._inbox.forget(request_id)
            if not ended:
                self.withdraw(request_id, first_part_us)

    async def _next_part(
        self,
        function: FunctionName,
        payload: bytes,
        request_id: RequestId,
        call: PartsCall,
        patience: Patience,
        order: PartOrder,
    ) -> InferReply | None:
        """The next that counts; None where the deadline passed. What has begun to answer is not sent again.

        After a reconnect the next part tells by its number whether any was lost, and that none comes soon that the rest
        may be: whoever makes parts more slowly is given up too.
        """
        now_us = monotonic_us()
        while True:
            left_s = us_to_s(patience.wake_us - now_us) if patience.was_sent else 0
            may_lack_parts = call.was_cut and order.taken > 0
            msg = await call.wait(min(left_s, CUT_PATIENCE_S) if may_lack_parts else left_s)
            now_us = monotonic_us()
            if msg is None and may_lack_parts and left_s > CUT_PATIENCE_S:
                return order.broken("the connection to the bus was made anew, and nothing came since")
            if msg is None:
                if patience.is_over(now_us):
                    return None
                if not order.taken and self._bus.is_connected:
                    await self._publish(subjects.invoke(function), payload, self._inbox.reply_subject(request_id))
                patience.sent(now_us)
            elif is_no_responders(msg):
                patience.found_nobody(now_us)
            elif (reply := order.take(decode(InferReply, msg.data))) is not None:
                return reply

    async def _publish(self, subject: str, payload: bytes, reply_to: str) -> None:
        try:
            await self._bus.publish(subject, payload, reply_to)
        except nats_errors.OutboundBufferLimitError:
            return  # lost the connection since we looked: as if it had been lost on the way
        except nats_errors.Error as error:
            raise refused(ErrorCode.UNAVAILABLE, f"cannot send: {error}") from error

    def _why_unanswered(self, function: FunctionName, patience: Patience) -> ErrorBody:
        if not patience.was_sent:
            return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, "its deadline passed before it could be sent")
        if not self._bus.is_connected:
            return ErrorBody(ErrorCode.UNAVAILABLE, "the NATS server cannot be reached", RETRY_AFTER_MS)
        if patience.nobody_listened:
            return ErrorBody(ErrorCode.UNAVAILABLE, "no gateway is listening", RETRY_AFTER_MS)
        return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"'{function}' did not answer in time")


def _traceparent(trace: TraceContext | None) -> str:
    """The caller's span as it travels; without one a gateway decides whether to trace."""
    span = trace or current_span()
    return span.header() if span is not None else ""


def check_call(function: FunctionName, timeout_s: float) -> None:
    """Raises RequestRefused: no function is called so; ValueError: there is no time."""
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}, expected above 0")
    if not is_name(function):
        raise refused(ErrorCode.NOT_FOUND, f"'{function}' is not the name of a function")


def refused(code: ErrorCode, message: str) -> RequestRefused:
    """A refusal that this side makes."""
    return RequestRefused(ErrorBody(code, message))
