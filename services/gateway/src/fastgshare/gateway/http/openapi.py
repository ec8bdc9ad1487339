"""The description of the HTTP API (OpenAPI 3.1), made from the types that the routes read and write.

`/openapi.json` serves it, `docs/reference/openapi.json` keeps it. Which scope an operation needs, the gate says.
"""

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from inspect import cleandoc
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fastgshare.gateway.http import documents
from fastgshare.gateway.http.functions import Scale
from fastgshare.gateway.http.gate import needed
from fastgshare.gateway.http.jobs import JobDocument
from fastgshare.gateway.http.models import SERVER_VERSION, IndexFilter
from fastgshare.gateway.http.responses import route
from fastgshare.shared.ids import NAME_PATTERN
from fastgshare.shared.messages import FunctionSpec

JSON, BINARY = "application/json", "application/octet-stream"
EVENTS = "text/event-stream"
_PARAMETER = re.compile(r"\{(\w+)\}")
_KEYS = (401, 403, 429)
_LOOK = (404, 503)
_BODY = (400, 408, 413, 503)
_UPLOAD = (*_BODY, 507)
_WRITE = (*_BODY, 404, 409, 415)
_INFER = (*_BODY, 404, 409, 415, 429, 499, 500, 504)
_SAID = {
    499: "The caller withdrew it.",
    401: "An API key is needed, or this one is not known.",
    403: "The API key does not allow it.",
    429: "Too much at once, or a limit of the key is reached.",
    503: "Nothing can take it now.",
    504: "Its deadline passed.",
    507: "There is no room for it where models lie while they come in.",
}


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `answers` are bodies by status, `refusals` the statuses of `Refusal`.

    A body is a type; bytes stand for binary, str for server-sent events.
    """

    method: str
    path: str
    summary: str
    answers: dict[int, Any]
    refusals: tuple[int, ...] = ()
    body: Any = None
    body_is_optional: bool = False
    headers: tuple[str, ...] = ()
    tag: str = "models"


_INFER_HEADERS = ("Fast-Timeout-Ms", "Inference-Header-Content-Length", "traceparent")
_MODEL = "/v2/models/{name}"


def _about_model(base: str, version: str = "") -> list[Operation]:
    infer = {200: (documents.InferAnswer, bytes)}
    job = {202: JobDocument}
    where = f" of one {version}" if version else ""
    return [
        Operation("get", base, f"A model's tensors{where}", {200: documents.ModelMetadata}, _LOOK),
        Operation(
            "get",
            base + "/ready",
            f"Whether requests are taken{where}",
            {200: documents.Ready, 503: documents.Ready},
            (404,),
        ),
        Operation(
            "get", base + "/config", f"The configuration as Triton tells it{where}", {200: dict[str, Any]}, _LOOK
        ),
        Operation("get", base + "/stats", f"Counts and times{where}", {200: documents.ModelStatistics}, _LOOK),
        Operation(
            "post",
            base + "/infer",
            f"Inference{where}",
            infer,
            _INFER,
            documents.InferBody,
            headers=_INFER_HEADERS,
            tag="inference",
        ),
        Operation(
            "post",
            base + "/infer_stream",
            f"Inference answered in parts, as server-sent events{where}",
            {200: str},
            _INFER,
            documents.InferBody,
            headers=_INFER_HEADERS,
            tag="inference",
        ),
        Operation(
            "post",
            base + "/infer_async",
            f"Inference whose answer is fetched later{where}",
            job,
            _INFER,
            documents.InferBody,
            headers=(*_INFER_HEADERS, "Fast-Result-Address"),
            tag="inference",
        ),
    ]


OPERATIONS = (
    Operation("get", "/v2", "Who answers here", {200: documents.Server}, tag="server"),
    Operation("get", "/v2/health/live", "Whether the process answers", {200: documents.Live}, tag="server"),
    Operation(
        "get",
        "/v2/health/ready",
        "Whether requests are taken",
        {200: documents.Ready, 503: documents.Ready},
        tag="server",
    ),
    Operation("get", "/v2/models/stats", "Counts and times of every model", {200: documents.ModelStatistics}),
    Operation(
        "post",
        "/v2/repository/index",
        "Every model and its state",
        {200: list[documents.IndexEntry]},
        _BODY,
        IndexFilter,
        body_is_optional=True,
    ),
    *_about_model(_MODEL),
    *_about_model(_MODEL + "/versions/{version}", "version"),
    Operation("get", "/v1/jobs/{id}", "How far a job is", {200: JobDocument}, _LOOK, tag="jobs"),
    Operation(
        "delete",
        "/v1/jobs/{id}",
        "Cancel a job; of one that has ended, forget a large result",
        {200: JobDocument},
        (*_LOOK, 409),
        tag="jobs",
    ),
    Operation(
        "get",
        "/v1/jobs/{id}/result",
        "A job's answer as `infer` would have given it",
        {200: (documents.InferAnswer, bytes), 202: JobDocument},
        (400, *_LOOK, 409, 413, 499, 500, 504),
        tag="jobs",
    ),
    Operation("get", "/v1/status", "This gateway and its functions", {200: documents.GatewayStatus}, tag="functions"),
    Operation("get", "/v1/functions", "Every function", {200: documents.FunctionList}, tag="functions"),
    Operation(
        "post",
        "/v1/functions",
        "Define or change a function",
        {200: documents.Written, 201: documents.Written},
        _WRITE,
        FunctionSpec,
        tag="functions",
    ),
    Operation(
        "get", "/v1/functions/{name}", "One function", {200: documents.FunctionDescription}, _LOOK, tag="functions"
    ),
    Operation(
        "put",
        "/v1/functions/{name}",
        "Define or change this function",
        {200: documents.Written, 201: documents.Written},
        _WRITE,
        FunctionSpec,
        headers=("If-Match",),
        tag="functions",
    ),
    Operation(
        "delete", "/v1/functions/{name}", "Remove a function", {200: documents.Removed}, (*_LOOK, 409), tag="functions"
    ),
    Operation(
        "post",
        "/v1/functions/{name}/scale",
        "Hold so many replicas",
        {200: documents.Written},
        _WRITE,
        Scale,
        tag="functions",
    ),
    Operation(
        "put",
        "/v1/models",
        "Store a model, or a handler's zip",
        {201: documents.Stored},
        _UPLOAD,
        bytes,
        tag="functions",
    ),
    Operation("get", "/openapi.json", "This description", {200: dict[str, Any]}, tag="server"),
)

_HEADERS = {
    "Fast-Timeout-Ms": (
        "Milliseconds until it must be answered; of a job, until it must have run.",
        {"type": "integer", "minimum": 1},
    ),
    "Inference-Header-Content-Length": (
        "Bytes of JSON, with binary tensors behind it.",
        {"type": "integer", "minimum": 0},
    ),
    "Fast-Result-Address": (
        "Tokens with dots: the outcome is also published to `fast.result.<address>`.",
        {"type": "string"},
    ),
    "If-Match": (
        "The `ETag` that the function was read with: 409 where something else stands by now.",
        {"type": "string"},
    ),
    "traceparent": ("W3C trace context.", {"type": "string"}),
}
_PATHS = {
    "name": ("A function's name.", {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"}),
    "version": ("Its version: the serving generation.", {"type": "string", "minLength": 1}),
    "id": ("A job's id, as `infer_async` gave it.", {"type": "string", "minLength": 1}),
}


@cache
def description() -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(openapi_document())


def openapi_document() -> dict[str, Any]:
    """The document as JSON values."""
    kinds = list(_kinds(OPERATIONS))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FaST-GShare gateway",
            "version": SERVER_VERSION,
            "description": "Inference by the Open Inference Protocol v2, jobs, and the management of functions.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def openapi_route() -> Route:
    """Serves the document."""

    async def serve(_: Request) -> Response:
        return Response(description(), media_type=JSON)

    return route("/openapi.json", GET=serve)


def _kinds(operations: Iterable[Operation]) -> Iterable[Any]:
    found = {repr(documents.Refusal): documents.Refusal}
    for operation in operations:
        for kind in (operation.body, *operation.answers.values()):
            for each in kind if isinstance(kind, tuple) else (kind,):
                if each not in (None, bytes, str):
                    found[repr(each)] = each
    return found.values()


def _described(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    need = needed(operation.method.upper(), operation.path)
    answers = {str(status): _answer(status, kind, schema_of) for status, kind in operation.answers.items()}
    refusals = {*operation.refusals, *(_KEYS if need is not None else ())} - set(operation.answers)
    for status in sorted(refusals):
        answers[str(status)] = _answer(status, documents.Refusal, schema_of)
    described: dict[str, Any] = {
        "operationId": f"{operation.method} {operation.path}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": answers,
        "security": [{}, {"bearer": []}, {"key": []}] if need is not None else [],
    }
    if need is not None:
        described["description"] = f"Where there are API keys, needs the scope `{need[0]}`."
    if operation.body is not None:
        infers = operation.body is documents.InferBody
        content = _content((operation.body, bytes) if infers else operation.body, schema_of)
        described["requestBody"] = {"required": not operation.body_is_optional, "content": content}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in _PARAMETER.findall(operation.path):
        text, schema = _PATHS[name]
        found.append({"name": name, "in": "path", "required": True, "description": text, "schema": schema})
    for name in operation.headers:
        text, schema = _HEADERS[name]
        found.append({"name": name, "in": "header", "required": False, "description": text, "schema": schema})
    return found


def _answer(status: int, kind: Any, schema_of: dict[str, Any]) -> dict[str, Any]:
    said = _SAID.get(status) if kind is documents.Refusal else None
    return {"description": said or HTTPStatus(status).phrase, "content": _content(kind, schema_of)}


def _content(kind: Any, schema_of: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, tuple):
        return {name: content for each in kind for name, content in _content(each, schema_of).items()}
    if kind is bytes:
        return {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    if kind is str:
        return {EVENTS: {"schema": {"type": "string"}}}
    return {JSON: {"schema": schema_of[repr(kind)]}}


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Descriptions as paragraphs, not as they are indented in the code."""
    if "description" in schema:
        schema["description"] = " ".join(cleandoc(schema["description"]).split("\n"))
    return schema
