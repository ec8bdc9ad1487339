"""The way of an inference over HTTP: bounds, decoding, the invoker, encoding. The one hot route, so bare ASGI.

Routing, validation and dependency machinery cost more than the transport, so nothing stands between the socket
and this module but uvicorn.
"""

import asyncio
import logging
from typing import Any

import anyio.to_thread
import msgspec
from anyio import CapacityLimiter

from fastgshare.gateway.core.turned_away import HTTP_DOOR, TurnedAway
from fastgshare.gateway.http.body import (
    BodyBudget,
    Hold,
    Receive,
    RequestHeaders,
    check_coding,
    deflate,
    inflate,
    number_in,
    read_body,
    read_in_time,
    refuse_announced,
    wished_coding,
)
from fastgshare.gateway.http.connection import Connection, connection_of
from fastgshare.gateway.http.errors import (
    JSON_TYPE,
    CallerGone,
    Headers,
    HttpRefused,
    error_content,
    refusal_headers,
    too_large,
)
from fastgshare.gateway.http.responses import code_of_fault
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.oip import DecodedRequest, EncodedReply, decode_request, encode_reply
from fastgshare.gateway.ports import FunctionView, Invoker
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.telemetry.sampling import Sampler
from fastgshare.shared.tracing import TraceContext
from fastgshare.shared.units import US_PER_MS

HEADER_LENGTH = b"inference-header-content-length"
TIMEOUT_MS = b"fast-timeout-ms"
_BINARY_TYPE = (b"content-type", b"application/octet-stream")
_PREFIX = "/v2/models/"
INFER = "/infer"
INFER_STREAM = "/infer_stream"
_LEAST_COMPRESSED_BYTES = 512
STOPPING = ErrorBody(ErrorCode.UNAVAILABLE, "the gateway is stopping", 1000)

logger = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response as it will be sent."""

    status: int
    headers: Headers
    chunks: list[bytes | memoryview]


def infer_target(path: str, suffix: str = INFER) -> tuple[str, str | None] | None:
    """Function and version (None: any) of a path that ends in `suffix`; None where `path` is another."""
    if not path.startswith(_PREFIX) or not path.endswith(suffix):
        return None
    name, *rest = path[len(_PREFIX) : -len(suffix)].split("/")
    if not rest:
        return name, None
    if len(rest) == 2 and rest[0] == "versions":
        return name, rest[1]
    return None


def find_function(invoker: Invoker, name: str, version: str | None) -> FunctionView:
    """The function, where it is known and has this version. Raises RequestRefused."""
    view = invoker.describe(FunctionName(name))
    if view is None:
        raise RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, f"no function is called {name[:100]!r}"))
    if version is not None and version != view.version:
        message = f"function '{name}' has version {view.version!r}, not {version[:40]!r}"
        raise RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, message))
    return view


class InferRoute:
    """Answers `POST /v2/models/{name}[/versions/{version}]/infer`."""

    def __init__(self, invoker: Invoker, settings: HttpSettings, budget: BodyBudget, turned_away: TurnedAway) -> None:
        self._invoker = invoker
        self._turned_away = turned_away
        self._settings = settings
        self._budget = budget
        self._sampler = Sampler(settings.trace_ratio)
        self._zip_threads = CapacityLimiter(2)

    async def __call__(self, scope: Any, receive: Receive, send_message: Any, name: str, version: str | None) -> None:
        """One request, whatever becomes of it."""
        hold = Hold(self._budget)
        connection = connection_of(scope)
        try:
            answer = await self._answer(scope, receive, connection, hold, name, version)
        except CallerGone:
            return
        except asyncio.CancelledError:
            if connection is not None and connection.is_lost:
                return
            answer = refusal(STOPPING)
        finally:
            hold.release()
        await send(send_message, answer)

    async def _answer(
        self,
        scope: Any,
        receive: Receive,
        connection: Connection | None,
        hold: Hold,
        name: str,
        version: str | None,
    ) -> Answer:
        headers: RequestHeaders = dict(scope["headers"])
        try:
            view, decoded, deadline_us = await self._prepare(headers, receive, connection, hold, name, version)
            encoded = await self._invoke(view, decoded, deadline_us, headers, connection)
            return await self._finish(encoded, headers)
        except RequestRefused as refused:
            return refusal(refused.body)
        except HttpRefused as refused:
            return refused_by_http(refused)
        except CallerGone:
            raise
        except Exception:
            logger.exception("inference of %s failed", name)
            return refusal(ErrorBody(ErrorCode.INTERNAL, "internal error"))

    async def _prepare(
        self,
        headers: RequestHeaders,
        receive: Receive,
        connection: Connection | None,
        hold: Hold,
        name: str,
        version: str | None,
    ) -> tuple[FunctionView, DecodedRequest, int]:
        """The function, what is asked of it, and the deadline. Raises RequestRefused, HttpRefused, CallerGone."""
        arrived_us = unix_us()
        try:
            if self._invoker.describe(FunctionName(name)) is None:
                await self._invoker.wait_for(FunctionName(name))
            view = find_function(self._invoker, name, version)
            body = await self.read(receive, headers, connection, hold)
            decoded = self.decode(body, headers)
            return view, decoded, arrived_us + self._timeout_us(headers, decoded)
        except (RequestRefused, HttpRefused) as refused:
            self._turned_away.count(HTTP_DOOR, code_of_fault(refused))
            raise

    async def read(self, receive: Receive, headers: RequestHeaders, connection: Connection | None, hold: Hold) -> bytes:
        """The body without its coding, held in `hold`. Raises as `read_in_time` and `inflate`."""
        limit_bytes = self._settings.max_body_bytes
        refuse_announced(headers, limit_bytes)
        coding = headers.get(b"content-encoding")
        name = check_coding(coding) if coding is not None else b"identity"
        if connection is not None and connection.has_whole_body:  # all of it is here: no timer needed
            body = await read_body(receive, limit_bytes, hold)
        else:
            body = await read_in_time(receive, limit_bytes, hold, self._settings.body_timeout_s)
        if name == b"identity":
            return body
        plain = await anyio.to_thread.run_sync(inflate, body, name, limit_bytes, limiter=self._zip_threads)
        hold.grow(len(plain))
        return plain

    def decode(self, body: bytes, headers: RequestHeaders) -> DecodedRequest:
        """The request in a body. Raises RequestRefused, HttpRefused."""
        json_bytes = number_in(headers, HEADER_LENGTH)
        limit_bytes = self._settings.max_json_bytes
        if (len(body) if json_bytes is None else json_bytes) > limit_bytes:
            raise too_large(limit_bytes, "the JSON", "; send large tensors as binary data")
        return decode_request(body, json_bytes)

    def _timeout_us(self, headers: RequestHeaders, decoded: DecodedRequest) -> int:
        header_ms = number_in(headers, TIMEOUT_MS)
        if header_ms == 0:
            raise HttpRefused(400, "header fast-timeout-ms is 0, expected at least 1")
        asked_us = header_ms * US_PER_MS if header_ms is not None else decoded.timeout_us
        return min(asked_us or self._settings.default_timeout_us, self._settings.max_timeout_us)

    async def _invoke(
        self,
        view: FunctionView,
        decoded: DecodedRequest,
        deadline_us: int,
        headers: RequestHeaders,
        connection: Connection | None,
    ) -> EncodedReply:
        trace = begun_trace(self._sampler, headers)
        function = view.spec.name
        if connection is not None:
            if connection.is_lost:
                raise CallerGone
            connection.waiting = asyncio.current_task()
        try:
            reply = await self._invoker.invoke(function, decoded.request, deadline_us, trace)
        finally:
            if connection is not None:
                connection.waiting = None
        if reply.error is not None:
            raise RequestRefused(reply.error)
        return encode_reply(reply, function, view.version, decoded)

    async def _finish(self, encoded: EncodedReply, headers: RequestHeaders) -> Answer:
        chunks, size_bytes = encoded.chunks, encoded.size_bytes
        answer: Headers = [JSON_TYPE if encoded.json_bytes is None else _BINARY_TYPE]
        if encoded.json_bytes is not None:
            answer.append((HEADER_LENGTH, b"%d" % encoded.json_bytes))
        coding = wished_coding(headers)
        if coding is not None and size_bytes >= _LEAST_COMPRESSED_BYTES:
            chunks = await anyio.to_thread.run_sync(deflate, chunks, coding, limiter=self._zip_threads)
            size_bytes = sum(len(chunk) for chunk in chunks)
            answer += [(b"content-encoding", coding), (b"vary", b"accept-encoding")]
        answer.append((b"content-length", b"%d" % size_bytes))
        return Answer(200, answer, chunks)


def begun_trace(sampler: Sampler, headers: RequestHeaders) -> TraceContext:
    """This hop's own span: the caller's child where it sent one."""
    caller = headers.get(b"traceparent")
    return sampler.begin(caller.decode("latin-1") if caller is not None else None)


def refusal(body: ErrorBody) -> Answer:
    """A refusal as a response."""
    content, headers = error_content(body.message)
    return Answer(body.http_status, headers + refusal_headers(body), [content])


def refused_by_http(refused: HttpRefused) -> Answer:
    """A refusal that only HTTP has as a response."""
    content, headers = error_content(refused.message)
    return Answer(refused.status, headers + refused.headers, [content])


async def send(send_message: Any, answer: Answer) -> None:
    """Send a response."""
    await send_message({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    *first, last = answer.chunks
    for chunk in first:
        await send_message({"type": "http.response.body", "body": chunk, "more_body": True})
    await send_message({"type": "http.response.body", "body": last})
