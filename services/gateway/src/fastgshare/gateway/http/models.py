"""What the Open Inference Protocol tells of server and models, and Triton's config, statistics and index."""

from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fastgshare.gateway.http.body import BodyBudget, Hold, read_in_time
from fastgshare.gateway.http.errors import HttpRefused
from fastgshare.gateway.http.infer import find_function
from fastgshare.gateway.http.responses import JsonResponse, route
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.oip import config_document, index_document, metadata_document, stats_document
from fastgshare.gateway.ports import FunctionStats, FunctionView, Invoker
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import Signature
from fastgshare.shared.typed import decode_json

SERVER_NAME = "fastgshare"
SERVER_VERSION = version("fastgshare-gateway")
EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository(index)", "statistics"]

_LOADING_RETRY_MS = 1000


class IndexFilter(msgspec.Struct):
    """The body of a repository index request."""

    ready: bool = False


class ModelRoutes:
    """The read side of `/v2`."""

    def __init__(self, invoker: Invoker, settings: HttpSettings, budget: BodyBudget) -> None:
        self._invoker = invoker
        self._settings = settings
        self._budget = budget

    def routes(self) -> list[Route]:
        """Every route; those about a model exist with and without a version."""
        plain = [
            route("/v2", GET=self.server),
            route("/v2/health/live", GET=self.live),
            route("/v2/health/ready", GET=self.ready),
            route("/v2/models/stats", GET=self.all_stats),
            route("/v2/repository/index", POST=self.index),
        ]
        model = "/v2/models/{name}"
        return plain + [found for path in (model, model + "/versions/{version}") for found in self._about(path)]

    def _about(self, path: str) -> list[Route]:
        return [
            route(path, GET=self.metadata),
            route(path + "/ready", GET=self.model_ready),
            route(path + "/config", GET=self.config),
            route(path + "/stats", GET=self.stats),
            route(path + "/infer", POST=self.metadata),  # answered before it comes here; known for the 405
            route(path + "/infer_stream", POST=self.metadata),  # likewise
        ]

    async def server(self, _: Request) -> Response:
        """Who answers here."""
        return JsonResponse({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        """Whether the process answers: it does."""
        return JsonResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether requests can be taken."""
        is_ready = self._invoker.is_ready()
        return JsonResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def metadata(self, request: Request) -> Response:
        """A model's tensors."""
        view = self._view(request)
        return JsonResponse(metadata_document(view, known_signature(view)))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model takes requests."""
        view = self._view(request)
        content = {"name": view.spec.name, "ready": view.is_ready}
        return JsonResponse(content, 200 if view.is_ready else 503)

    async def config(self, request: Request) -> Response:
        """A model's configuration as Triton says it."""
        view = self._view(request)
        return JsonResponse(config_document(view, known_signature(view)))

    async def stats(self, request: Request) -> Response:
        """One model's counts and times at this gateway."""
        return self._stats_of([self._view(request)])

    async def all_stats(self, _: Request) -> Response:
        """Every model's counts and times at this gateway."""
        return self._stats_of(self._invoker.list())

    async def index(self, request: Request) -> Response:
        """Every model and its state."""
        wanted = await self._read_filter(request)
        views = [view for view in self._invoker.list() if view.is_ready or not wanted.ready]
        return JsonResponse([index_document(view) for view in views])

    async def _read_filter(self, request: Request) -> IndexFilter:
        hold = Hold(self._budget)
        try:
            settings = self._settings
            limit_bytes = settings.max_document_bytes
            body = await read_in_time(request.receive, limit_bytes, hold, settings.body_timeout_s)
            return decode_json(IndexFilter, body) if body else IndexFilter()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HttpRefused(400, f"not an index request: {error}") from None
        finally:
            hold.release()

    def _view(self, request: Request) -> FunctionView:
        parameters = request.path_params
        return find_function(self._invoker, parameters["name"], parameters.get("version"))

    def _stats_of(self, views: list[FunctionView]) -> Response:
        documents: list[dict[str, Any]] = [
            stats_document(view, self._invoker.stats(view.spec.name) or FunctionStats()) for view in views
        ]
        return JsonResponse({"model_stats": documents})


def known_signature(view: FunctionView) -> Signature:
    """Its tensors, once a replica has loaded. Raises RequestRefused."""
    if view.signature is not None:
        return view.signature
    reason = view.reasons[0] if view.reasons else "no replica has loaded yet"
    message = f"the tensors of '{view.spec.name}' are not known: {reason}"
    raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, _LOADING_RETRY_MS))
