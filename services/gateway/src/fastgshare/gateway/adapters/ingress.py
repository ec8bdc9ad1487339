"""Requests from the bus: `fast.invoke.<function>`, shared by all gateways through one queue group.

Packed requests (msgpack) are decided on inside the subscription's callback, which waits for nothing but its own
publish; their answers go straight from the worker to the caller. Requests in OIP JSON (first byte `{`) take the way
of HTTP requests, in a task of their own.
"""

import asyncio
import logging

import anyio
import anyio.abc
import nats.errors
from nats.aio.msg import Msg

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.invoker import BusInvoker
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.config import GatewayConfig
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.gateway.core.turned_away import NATS_DOOR, TurnedAway
from fastgshare.gateway.oip import decode_json_request, encode_json_reply
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName, HostId, RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest
from fastgshare.shared.minting import new_request_id
from fastgshare.shared.telemetry.sampling import Sampler
from fastgshare.shared.tracing import TRACEPARENT, TraceContext
from fastgshare.shared.units import US_PER_MS

_JSON = b"{"
_ID_LIMIT = 64
_ENVELOPE_BYTES = 1024  # what a gateway adds to a request on its way to a worker is less
_NO_HEADERS: dict[str, str] = {}
_STOPPING = ErrorBody(ErrorCode.UNAVAILABLE, "the gateway is stopping", 1000)
_LAST_WORDS_S = 0.5

logger = logging.getLogger(__name__)


class Ingress:
    """Turns messages into tickets and the core's decisions into publishes."""

    def __init__(
        self,
        bus: Bus,
        gatekeeper: Gatekeeper,
        dispatcher: Dispatcher,
        invoker: BusInvoker,
        newcomers: Newcomers,
        turned_away: TurnedAway,
        sampler: Sampler,
        config: GatewayConfig,
        work: anyio.abc.TaskGroup,
    ) -> None:
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._dispatcher = dispatcher
        self._invoker = invoker
        self._newcomers = newcomers
        self._turned_away = turned_away
        self._sampler = sampler
        self._default_us = config.default_timeout_ms * US_PER_MS
        self._max_us = config.max_timeout_ms * US_PER_MS
        self._work = work
        self._json_left = config.concurrent_json

    async def on_message(self, msg: Msg) -> None:
        """One request; bad ones cost themselves an error and nothing else."""
        if not msg.reply:
            return  # nobody could be answered
        function = FunctionName(msg.subject.rpartition(".")[2])
        if function in self._gatekeeper.functions:
            await self._take(msg, function)
        else:
            self._work.start_soon(self._take_newcomer, msg, function)

    async def _take_newcomer(self, msg: Msg, function: FunctionName) -> None:
        try:
            await self._newcomers.wait_for(function)
        except RequestRefused as refused:
            await self._refuse(msg, refused.body)
        else:
            if function not in self._gatekeeper.functions:
                self._turned_away.count(NATS_DOOR, ErrorCode.NOT_FOUND)
            await self._take(msg, function)

    async def _take(self, msg: Msg, function: FunctionName) -> None:
        now_us = unix_us()
        try:
            if msg.data[:1] == _JSON:
                await self._start_json(msg, function, now_us)
                return
            request = decode(InferRequest, msg.data)
            ticket = self._ticket(msg, function, request, now_us)
        except PayloadInvalid as error:
            await self._refuse(msg, ErrorBody(ErrorCode.INVALID, str(error)))
            return
        except RequestRefused as refused:
            await self._refuse(msg, refused.body)
            return
        action = self._gatekeeper.admit(ticket, request, now_us)
        if action is not None:
            await self._dispatcher.perform(action)

    async def _refuse(self, msg: Msg, error: ErrorBody) -> None:
        self._turned_away.count(NATS_DOOR, error.code)
        await self._answer(msg, InferReply(INFER_VERSION, error=error))

    async def _answer(self, msg: Msg, reply: InferReply) -> None:
        """In the caller's own format. As JSON, an answer may grow beyond what a message takes."""
        pack = encode_json_reply if msg.data[:1] == _JSON else encode
        payload = pack(reply)
        limit = self._bus.max_payload_bytes
        if len(payload) > limit:
            message = f"the answer has {len(payload)} bytes, the limit of one message is {limit}"
            payload = pack(InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.TOO_LARGE, message)))
        try:
            await self._bus.publish(msg.reply, payload)
        except nats.errors.Error as error:
            logger.warning("answer not sent: %s", error)

    def _ticket(self, msg: Msg, function: FunctionName, request: InferRequest, now_us: int) -> Ticket:
        """What the payload says of the request counts; what it leaves open may stand in headers."""
        limit = self._bus.max_payload_bytes - _ENVELOPE_BYTES
        if len(msg.data) > limit:
            message = f"the request has {len(msg.data)} bytes, of which {limit} can be passed on in one message"
            raise RequestRefused(ErrorBody(ErrorCode.TOO_LARGE, message))
        headers = msg.headers or _NO_HEADERS
        request_id = request.request_id or RequestId(headers.get(subjects.REQUEST_ID, ""))
        if not 0 < len(request_id) <= _ID_LIMIT or self._gatekeeper.is_taken(request_id, msg.reply):
            request_id = new_request_id()
        trace = self._sampler.begin(request.traceparent or headers.get(TRACEPARENT))
        return Ticket(
            request_id=request_id,
            function=function,
            payload=msg.data,
            reply=msg.reply,
            deadline_us=self._deadline_us(request.deadline_us, headers, now_us),
            traceparent=trace.header(),
            arrived_us=now_us,
            host=_host_of(request),
            parent_span=trace.parent_id,
        )

    def _deadline_us(self, packed_us: int, headers: dict[str, str], now_us: int) -> int:
        """The request's deadline, bounded; the default where it has none. Raises PayloadInvalid."""
        if packed_us:
            return min(packed_us, now_us + self._max_us)
        text = headers.get(subjects.DEADLINE_US)
        if text is None:
            return now_us + self._default_us
        try:
            return min(int(text), now_us + self._max_us)
        except ValueError:
            raise PayloadInvalid(expected=f"{subjects.DEADLINE_US} in Unix microseconds", reason=repr(text)) from None

    async def _start_json(self, msg: Msg, function: FunctionName, now_us: int) -> None:
        headers = msg.headers or _NO_HEADERS
        deadline_us = self._deadline_us(0, headers, now_us)
        if self._json_left == 0:
            await self._refuse(msg, ErrorBody(ErrorCode.OVERLOADED, "too many JSON requests at once", 100))
            return
        self._json_left -= 1
        trace = self._sampler.begin(headers.get(TRACEPARENT))
        self._work.start_soon(self._answer_json, msg, function, deadline_us, trace)

    async def _answer_json(self, msg: Msg, function: FunctionName, deadline_us: int, trace: TraceContext) -> None:
        try:
            request = decode_json_request(msg.data)
            reply = await self._invoker.invoke(function, request, deadline_us, trace, door=NATS_DOOR)
        except RequestRefused as refused:
            self._turned_away.count(NATS_DOOR, refused.body.code)
            reply = InferReply(INFER_VERSION, error=refused.body)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_WORDS_S):
                await self._answer(msg, InferReply(INFER_VERSION, error=_STOPPING))
            raise
        except Exception:  # one request's trouble must not end the gateway
            logger.exception("JSON request to %s failed", function)
            reply = InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.INTERNAL, "internal error"))
        finally:
            self._json_left += 1
        await self._answer(msg, reply)


def _host_of(request: InferRequest) -> HostId | None:
    """The host whose shared memory holds the request's tensors."""
    for tensor in request.inputs:
        if tensor.slot is not None:
            return tensor.slot.host
    return request.reply_slot.host if request.reply_slot is not None else None
