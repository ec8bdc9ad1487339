"""Management over HTTP: define, scale and remove functions, store models, and tell how things stand.

Documents are `FunctionSpec` as JSON, read strictly. Writing them needs `Content-Type: application/json`, which a page
in a browser cannot send to another site without asking first.
"""

from functools import partial
from hashlib import sha256
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fastgshare.gateway.http.body import BodyBudget, Hold, read_in_time, refuse_announced
from fastgshare.gateway.http.errors import HttpRefused
from fastgshare.gateway.http.infer import find_function
from fastgshare.gateway.http.models import SERVER_VERSION
from fastgshare.gateway.http.responses import JsonResponse, route
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.http.uploads import Uploads
from fastgshare.gateway.ports import Functions, FunctionView, Invoker
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidSpec, RequestRefused
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.strict import unknown_keys
from fastgshare.shared.typed import convert

D = TypeVar("D", bound=msgspec.Struct)


class Scale(msgspec.Struct):
    """The body of a scale request."""

    replicas: Annotated[int, msgspec.Meta(ge=0)]


class FunctionRoutes:
    """The routes under `/v1`."""

    def __init__(self, invoker: Invoker, functions: Functions, settings: HttpSettings, budget: BodyBudget) -> None:
        self._invoker = invoker
        self._functions = functions
        self._settings = settings
        self._budget = budget
        self._uploads = Uploads(settings)

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            route("/v1/status", GET=self.status),
            route("/v1/functions", GET=self.list_all, POST=self.define),
            route("/v1/functions/{name}", GET=self.show, PUT=self.define, DELETE=self.remove),
            route("/v1/functions/{name}/scale", POST=self.scale),
            route("/v1/models", PUT=self.store),
        ]

    async def status(self, _: Request) -> Response:
        """This gateway, and every function as it sees it."""
        return JsonResponse(
            {
                "gateway": self._settings.gateway,
                "version": SERVER_VERSION,
                "ready": self._invoker.is_ready(),
                "functions": [function_document(view) for view in self._invoker.list()],
            }
        )

    async def list_all(self, _: Request) -> Response:
        """Every function."""
        return JsonResponse({"functions": [function_document(view) for view in self._invoker.list()]})

    async def show(self, request: Request) -> Response:
        """One function."""
        view = find_function(self._invoker, request.path_params["name"], None)
        return JsonResponse(function_document(view), headers={"etag": etag_of(view.spec)})

    async def define(self, request: Request) -> Response:
        """Create or update: POST with the name in the document, PUT with the name in the path."""
        document = await self._read_json(request)
        named = request.path_params.get("name")
        if named is not None and isinstance(document, dict) and document.setdefault("name", named) != named:
            raise InvalidSpec([f"name is {document['name']!r}, but the path says {named!r}"])
        spec = _convert(document, FunctionSpec)
        is_new = self._invoker.describe(spec.name) is None
        expected = request.headers.get("if-match") if named is not None else None
        stands = await self._functions.define(spec, partial(_matches, expected))
        return _written(stands, 201 if is_new else 200)

    async def scale(self, request: Request) -> Response:
        """Set the number of replicas."""
        wanted = _convert(await self._read_json(request), Scale)
        name = request.path_params["name"]
        stands = await self._functions.scale(FunctionName(name), wanted.replicas)
        if stands is None:
            raise _unknown(name)
        return _written(stands, 200)

    async def remove(self, request: Request) -> Response:
        """Delete a function."""
        name = request.path_params["name"]
        if not await self._functions.remove(FunctionName(name)):
            raise _unknown(name)
        return JsonResponse({"name": name, "removed": True})

    async def store(self, request: Request) -> Response:
        """Keep the body under its digest."""
        headers = dict(request.headers.raw)
        refuse_announced(headers, self._settings.max_model_bytes)
        async with self._uploads.receive(request.receive) as (path, size_bytes):
            digest = await self._functions.store(path)
        return JsonResponse({"digest": digest, "size_bytes": size_bytes}, 201)

    async def _read_json(self, request: Request) -> Any:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise HttpRefused(415, f"content-type is {content_type[:80]!r}, expected application/json")
        limit_bytes = self._settings.max_document_bytes
        refuse_announced(dict(request.headers.raw), limit_bytes)
        hold = Hold(self._budget)
        try:
            body = await read_in_time(request.receive, limit_bytes, hold, self._settings.body_timeout_s)
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HttpRefused(400, f"not JSON: {error}") from None
        finally:
            hold.release()


def etag_of(spec: FunctionSpec) -> str:
    """A definition's entity tag: it changes with every change, also with those that keep the generation."""
    return f'"{spec.generation}-{sha256(encode(spec)).hexdigest()[:16]}"'


def _matches(expected: str | None, stands: FunctionSpec | None) -> bool:
    if expected is None:
        return True
    wanted = {tag.strip() for tag in expected.split(",")}
    return stands is not None and ("*" in wanted or etag_of(stands) in wanted)


def _written(stands: FunctionSpec, status: int) -> Response:
    content = {"name": stands.name, "generation": stands.generation, "spec": stands}
    headers = {"location": f"/v1/functions/{stands.name}", "etag": etag_of(stands)}
    return JsonResponse(content, status, headers)


def function_document(view: FunctionView) -> dict[str, Any]:
    """A function as the management routes tell it."""
    signature = view.signature
    return {
        "name": view.spec.name,
        "generation": view.spec.generation,
        "serving_generation": view.generation or None,
        "ready": view.is_ready,
        "ready_replicas": view.ready_replicas,
        "states": view.states,
        "reasons": view.reasons,
        "inputs": [_tensor(spec) for spec in signature.inputs] if signature is not None else None,
        "outputs": [_tensor(spec) for spec in signature.outputs] if signature is not None else None,
        "spec": view.spec,
    }


def _convert(document: Any, kind: type[D]) -> D:
    if unknown := list(unknown_keys(document, kind)):
        raise InvalidSpec(unknown)
    try:
        return convert(kind, document)
    except msgspec.ValidationError as error:
        raise InvalidSpec([str(error)]) from None


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _unknown(name: str) -> RequestRefused:
    return RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, f"no function is called {name[:100]!r}"))
