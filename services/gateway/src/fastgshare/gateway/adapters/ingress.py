"""Requests from the bus: `fast.invoke.<function>`, shared by all gateways through one queue group.

Packed requests (msgpack) are decided on inside the subscription's callback, which waits for nothing but its own
publish; their answers go straight from the worker to the caller. Requests in OIP JSON (first byte `{`) take the way
of HTTP requests, in a task of their own.
"""

import re

import anyio.abc
from nats.aio.msg import Msg

from fastgshare.gateway.adapters.dispatcher import Dispatcher, refusal
from fastgshare.gateway.adapters.invoker import BusInvoker
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.gateway.oip import decode_json_request, encode_json_reply
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName, HostId, RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest
from fastgshare.shared.minting import new_request_id
from fastgshare.shared.tracing import TRACEPARENT, new_trace, parse_traceparent
from fastgshare.shared.units import US_PER_MS

_JSON = b"{"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Ingress:
    """Turns messages into tickets and the core's decisions into publishes."""

    def __init__(
        self,
        bus: Bus,
        gatekeeper: Gatekeeper,
        dispatcher: Dispatcher,
        invoker: BusInvoker,
        config: GatewayConfig,
        work: anyio.abc.TaskGroup,
    ) -> None:
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._dispatcher = dispatcher
        self._invoker = invoker
        self._default_us = config.default_timeout_ms * US_PER_MS
        self._max_us = config.max_timeout_ms * US_PER_MS
        self._work = work
        self._json_left = config.concurrent_json

    async def on_message(self, msg: Msg) -> None:
        """One request; bad ones cost themselves an error and nothing else."""
        if not msg.reply:
            return  # nobody could be answered
        now_us = unix_us()
        headers = msg.headers or {}
        function = FunctionName(msg.subject.rpartition(".")[2])
        deadline_us = self._deadline_us(headers, now_us)
        if deadline_us is None:
            text = f"header {subjects.DEADLINE_US} is {headers[subjects.DEADLINE_US]!r}, expected Unix microseconds"
            await self._bus.publish(msg.reply, refusal(ErrorBody(ErrorCode.INVALID, text)))
            return
        if msg.data[:1] == _JSON:
            await self._start_json(msg, function, deadline_us, headers.get(TRACEPARENT))
            return
        try:
            request = decode(InferRequest, msg.data)
        except PayloadInvalid as error:
            await self._bus.publish(msg.reply, refusal(ErrorBody(ErrorCode.INVALID, str(error))))
            return
        ticket = Ticket(
            request_id=_request_id(headers),
            function=function,
            payload=msg.data,
            reply=msg.reply,
            deadline_us=deadline_us,
            traceparent=(parse_traceparent(headers.get(TRACEPARENT)) or new_trace()).header(),
            arrived_us=now_us,
            host=_host_of(request),
        )
        action = self._gatekeeper.admit(ticket, request, now_us)
        if action is not None:
            await self._dispatcher.perform(action)

    def _deadline_us(self, headers: dict[str, str], now_us: int) -> int | None:
        """The request's deadline, the default where it has none, None where it is no number."""
        text = headers.get(subjects.DEADLINE_US)
        if text is None:
            return now_us + self._default_us
        try:
            return min(int(text), now_us + self._max_us)
        except ValueError:
            return None

    async def _start_json(self, msg: Msg, function: FunctionName, deadline_us: int, traceparent: str | None) -> None:
        if self._json_left == 0:
            error = ErrorBody(ErrorCode.OVERLOADED, "too many JSON requests at once", 100)
            await self._bus.publish(msg.reply, encode_json_reply(InferReply(INFER_VERSION, error=error)))
            return
        self._json_left -= 1
        self._work.start_soon(self._answer_json, msg, function, deadline_us, traceparent)

    async def _answer_json(self, msg: Msg, function: FunctionName, deadline_us: int, traceparent: str | None) -> None:
        try:
            request = decode_json_request(msg.data)
            trace = parse_traceparent(traceparent) or new_trace()
            reply = await self._invoker.invoke(function, request, deadline_us, trace)
        except RequestRefused as refused:
            reply = InferReply(INFER_VERSION, error=refused.body)
        finally:
            self._json_left += 1
        await self._bus.publish(msg.reply, encode_json_reply(reply))


def _request_id(headers: dict[str, str]) -> RequestId:
    """The caller's id when it can ride on in a header, else a new one."""
    given = headers.get(subjects.REQUEST_ID, "")
    return RequestId(given) if _REQUEST_ID.fullmatch(given) else new_request_id()


def _host_of(request: InferRequest) -> HostId | None:
    """The host whose shared memory holds the request's tensors."""
    for tensor in request.inputs:
        if tensor.slot is not None:
            return tensor.slot.host
    return request.reply_slot.host if request.reply_slot is not None else None
