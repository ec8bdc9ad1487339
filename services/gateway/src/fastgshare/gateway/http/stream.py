"""`POST /v2/models/{name}[/versions/{version}]/infer_stream`: an answer in parts, as server-sent events.

Each event's data is an answer as the infer route would say it, in JSON. An event called `end` tells that the stream is
whole, one called `error` that it broke off; what goes wrong before the first part is a plain refusal with its status.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from fastgshare.gateway.http.body import Hold, Receive, RequestHeaders
from fastgshare.gateway.http.connection import Connection, connection_of
from fastgshare.gateway.http.errors import CallerGone, HttpRefused
from fastgshare.gateway.http.infer import STOPPING, Answer, InferRoute, begun_trace, refusal, refused_by_http, send
from fastgshare.gateway.oip import DecodedRequest, encode_reply
from fastgshare.gateway.ports import FunctionView
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import InferReply

DOOR = "http_stream"
_EVENT_STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
_END = b"event: end\ndata: {}\n\n"
_encoder = msgspec.json.Encoder()

logger = logging.getLogger(__name__)


class Events:
    """A response that is an event stream; nothing of it is sent before the first event.

    Whoever does not take an event within `within_s` loses the connection, which cancels what the stream waits for.
    """

    def __init__(self, send_message: Any, connection: Connection | None, within_s: float) -> None:
        self.has_begun = False
        self._send = send_message
        self._connection = connection
        self._within_s = within_s

    async def part(self, reply: InferReply, view: FunctionView, asked: DecodedRequest) -> None:
        """One part. Raises RequestRefused: it cannot be said in JSON."""
        encoded = encode_reply(reply, view.spec.name, view.version, asked)
        await self._event(b"data: " + b"".join(encoded.chunks) + b"\n\n")

    async def end(self) -> None:
        """All parts were sent."""
        await self._event(_END, more=False)

    async def error(self, body: ErrorBody) -> None:
        """It broke off."""
        document = {"error": body.message, "code": body.code, "retry_after_ms": body.retry_after_ms}
        await self._event(b"event: error\ndata: " + _encoder.encode(document) + b"\n\n", more=False)

    async def _event(self, data: bytes, more: bool = True) -> None:
        connection = self._connection
        if connection is None:
            return await self._write(data, more)
        patience = asyncio.get_running_loop().call_later(self._within_s, connection.transport.abort)
        try:
            await self._write(data, more)
        finally:
            patience.cancel()

    async def _write(self, data: bytes, more: bool) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(_EVENT_STREAM)})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


class StreamRoute(InferRoute):
    """As the infer route up to the invoker; binary outputs do not fit an event."""

    async def __call__(self, scope: Any, receive: Receive, send_message: Any, name: str, version: str | None) -> None:
        """One request, whatever becomes of it."""
        hold = Hold(self._budget)
        connection = connection_of(scope)
        events = Events(send_message, connection, self._settings.taken_within_s)
        try:
            refused = await self._stream(scope, receive, connection, hold, events, name, version)
        except CallerGone:
            return None
        except asyncio.CancelledError:
            if connection is not None and connection.is_lost:
                return None
            refused = refusal(STOPPING)
            if events.has_begun:
                return await events.error(STOPPING)
        finally:
            hold.release()
        if refused is not None:
            await send(send_message, refused)
        return None

    async def _stream(
        self,
        scope: Any,
        receive: Receive,
        connection: Connection | None,
        hold: Hold,
        events: Events,
        name: str,
        version: str | None,
    ) -> Answer | None:
        """None: it is said; else what to answer instead of a stream."""
        headers: RequestHeaders = dict(scope["headers"])
        try:
            view, decoded, deadline_us = await self._prepare(headers, receive, connection, hold, name, version)
            trace = begun_trace(self._sampler, headers)
            asked = DecodedRequest(decoded.request, decoded.request_id)
            replies = self._invoker.invoke_stream(view.spec.name, decoded.request, deadline_us, trace, DOOR)
            await self._pass_on(replies, view, asked, events, connection)
        except RequestRefused as refused:
            return await _told(events, refused.body)
        except HttpRefused as refused:
            return refused_by_http(refused)
        except CallerGone:
            raise
        except Exception:
            logger.exception("stream of %s failed", name)
            return await _told(events, ErrorBody(ErrorCode.INTERNAL, "internal error"))
        return None

    async def _pass_on(
        self,
        replies: AsyncGenerator[InferReply, None],
        view: FunctionView,
        asked: DecodedRequest,
        events: Events,
        connection: Connection | None,
    ) -> None:
        if connection is not None:
            if connection.is_lost:
                raise CallerGone
            connection.waiting = asyncio.current_task()
        try:
            async with aclosing(replies):
                async for reply in replies:
                    if reply.error is not None:
                        raise RequestRefused(reply.error)
                    if reply.more or reply.outputs:  # a stream's end has none
                        await events.part(reply, view, asked)
        finally:
            if connection is not None:
                connection.waiting = None
        await events.end()


async def _told(events: Events, body: ErrorBody) -> Answer | None:
    if not events.has_begun:
        return refusal(body)
    await events.error(body)
    return None
