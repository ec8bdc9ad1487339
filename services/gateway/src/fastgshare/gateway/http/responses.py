"""Responses of the ordinary routes, and how what they raise becomes a response and is counted."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fastgshare.gateway.core.turned_away import HTTP_DOOR, TurnedAway
from fastgshare.gateway.http.errors import CallerGone, HttpRefused, refusal_headers
from fastgshare.gateway.oip import encode_error
from fastgshare.shared.buckets import RevisionConflict, StorageUnavailable
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidSpec, RequestRefused

Endpoint = Callable[[Request], Awaitable[Response]]
OnFault = Callable[[Request, Exception], Awaitable[Response]]

_RETRY_STORAGE_MS = 1000
_CODES = {404: ErrorCode.NOT_FOUND, 413: ErrorCode.TOO_LARGE, 507: ErrorCode.UNAVAILABLE}
_FAULTS = (
    RequestRefused,
    HttpRefused,
    CallerGone,
    InvalidSpec,
    RevisionConflict,
    StorageUnavailable,
    HTTPException,
    Exception,
)
_encoder = msgspec.json.Encoder()


class JsonResponse(Response):
    """A document as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The document's bytes."""
        return _encoder.encode(content)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """`{"error": message}`."""
    return Response(encode_error(message), status, headers, "application/json")


def refusal_response(body: ErrorBody) -> Response:
    """A refusal with the status that says the same."""
    headers = {name.decode(): value.decode() for name, value in refusal_headers(body)}
    return error_response(body.http_status, body.message, headers)


def route(path: str, **endpoints: Endpoint) -> Route:
    """One route for all methods of a path, so that a 405 names every one that is offered."""

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return Route(path, endpoint, methods=list(endpoints))


async def answer_fault(request: Request, fault: Exception) -> Response:
    """What a route raised, as its caller may know it."""
    match fault:
        case RequestRefused():
            return refusal_response(fault.body)
        case HttpRefused():
            headers = {name.decode(): value.decode() for name, value in fault.headers}
            return error_response(fault.status, fault.message, headers)
        case InvalidSpec():
            return JsonResponse({"error": str(fault), "problems": fault.problems}, 400)
        case RevisionConflict():
            return refusal_response(ErrorBody(ErrorCode.CONFLICT, "somebody else changed it; try again"))
        case StorageUnavailable():
            message = f"storage does not answer: {fault.fields.get('reason')}"
            return refusal_response(ErrorBody(ErrorCode.UNAVAILABLE, message, _RETRY_STORAGE_MS))
        case CallerGone():
            return Response(status_code=400)  # nobody reads it
        case HTTPException():
            return _answer_routing(request, fault)
        case _:
            return refusal_response(ErrorBody(ErrorCode.INTERNAL, "internal error"))


def _answer_routing(request: Request, fault: HTTPException) -> Response:
    headers = dict(fault.headers or {})
    if fault.status_code == 404:
        return error_response(404, f"no such path: {request.url.path[:200]}", headers)
    if fault.status_code == 405:
        allowed = headers["Allow"] = ", ".join(sorted(headers.get("Allow", "").split(", ")))
        return error_response(405, f"{request.method} is not offered here, only {allowed}", headers)
    return error_response(fault.status_code, str(fault.detail), headers)


def counting_faults(turned_away: TurnedAway) -> dict[Any, OnFault]:
    """What answers each kind of fault of the ordinary routes, and counts it by its code."""

    async def answer(request: Request, fault: Exception) -> Response:
        if not isinstance(fault, CallerGone):
            turned_away.count(HTTP_DOOR, code_of_fault(fault))
        return await answer_fault(request, fault)

    return dict.fromkeys(_FAULTS, answer)


def code_of_fault(fault: Exception) -> ErrorCode:
    """What a fault is called everywhere; of refusals that only HTTP has, the nearest."""
    match fault:
        case RequestRefused():
            return fault.body.code
        case HttpRefused():
            return _CODES.get(fault.status, ErrorCode.INVALID)
        case HTTPException():
            return _CODES.get(fault.status_code, ErrorCode.INVALID)
        case InvalidSpec():
            return ErrorCode.INVALID
        case RevisionConflict():
            return ErrorCode.CONFLICT
        case StorageUnavailable():
            return ErrorCode.UNAVAILABLE
        case _:
            return ErrorCode.INTERNAL
