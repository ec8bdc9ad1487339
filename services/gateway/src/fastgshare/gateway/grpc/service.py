"""The calls of `inference.GRPCInferenceService` and of the health check, each on the ports that HTTP stands on.

`ModelStreamInfer` is in `stream`; `table` has all of them by name.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.json_format import ParseDict

from fastgshare.gateway.core.keys import shown_key
from fastgshare.gateway.core.turned_away import GRPC_DOOR, TurnedAway
from fastgshare.gateway.grpc import codec
from fastgshare.gateway.grpc.calls import DOOR, Context, answered, deadline_us, metadata, trace_of
from fastgshare.gateway.grpc.protos import health_pb2, inference_pb2
from fastgshare.gateway.grpc.settings import GrpcSettings
from fastgshare.gateway.http.body import BodyBudget
from fastgshare.gateway.http.infer import find_function
from fastgshare.gateway.http.models import EXTENSIONS, SERVER_NAME, SERVER_VERSION, known_signature
from fastgshare.gateway.oip import config_document, index_document, metadata_document, stats_document
from fastgshare.gateway.ports import Doorkeeper, Functions, FunctionStats, FunctionView, Invoker, OpenDoor, Scope
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, is_name
from fastgshare.shared.messages import InferRequest
from fastgshare.shared.telemetry.sampling import DEFAULT_RATIO, Sampler

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"


@dataclass(frozen=True)
class Inside:
    """What the door stands before."""

    invoker: Invoker
    functions: Functions
    doorkeeper: Doorkeeper = field(default_factory=OpenDoor)
    settings: GrpcSettings = field(default_factory=GrpcSettings)
    sampler: Sampler = field(default_factory=lambda: Sampler(DEFAULT_RATIO))
    turned_away: TurnedAway = field(default_factory=TurnedAway)
    budget: BodyBudget = field(default_factory=BodyBudget)


class ModelService:
    """What is said of server and models, and the loading of models."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._invoker = inside.invoker

    async def server_live(self, _: inference_pb2.ServerLiveRequest, __: Context) -> inference_pb2.ServerLiveResponse:
        """Whether the process answers: it does."""
        return inference_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, _: inference_pb2.ServerReadyRequest, __: Context) -> inference_pb2.ServerReadyResponse:
        """Whether requests can be taken."""
        return inference_pb2.ServerReadyResponse(ready=self._invoker.is_ready())

    async def health(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """As `server_ready`, in an orchestrator's words."""
        if request.service not in ("", SERVICE, HEALTH):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:100]!r}")
        status = health_pb2.HealthCheckResponse.SERVING
        if not self._invoker.is_ready():
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)

    async def model_ready(
        self, request: inference_pb2.ModelReadyRequest, context: Context
    ) -> inference_pb2.ModelReadyResponse:
        """Whether a model takes requests."""
        async with self._answered(context, "ModelReady"):
            view = self._view(context, request.name, request.version)
        return inference_pb2.ModelReadyResponse(ready=view.is_ready)

    async def server_metadata(
        self, _: inference_pb2.ServerMetadataRequest, context: Context
    ) -> inference_pb2.ServerMetadataResponse:
        """Who answers here."""
        async with self._answered(context, "ServerMetadata"):
            self._admit(context, Scope.READ, None)
        return inference_pb2.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS)

    async def model_metadata(
        self, request: inference_pb2.ModelMetadataRequest, context: Context
    ) -> inference_pb2.ModelMetadataResponse:
        """A model's tensors."""
        response = inference_pb2.ModelMetadataResponse()
        async with self._answered(context, "ModelMetadata"):
            view = self._view(context, request.name, request.version)
            ParseDict(metadata_document(view, known_signature(view)), response)
        return response

    async def model_config(
        self, request: inference_pb2.ModelConfigRequest, context: Context
    ) -> inference_pb2.ModelConfigResponse:
        """A model's configuration as Triton says it."""
        response = inference_pb2.ModelConfigResponse()
        async with self._answered(context, "ModelConfig"):
            view = self._view(context, request.name, request.version)
            ParseDict(config_document(view, known_signature(view)), response.config)
        return response

    async def model_statistics(
        self, request: inference_pb2.ModelStatisticsRequest, context: Context
    ) -> inference_pb2.ModelStatisticsResponse:
        """Counts and times at this gateway, of one model or of all."""
        response = inference_pb2.ModelStatisticsResponse()
        async with self._answered(context, "ModelStatistics"):
            if request.name:
                views = [self._view(context, request.name, request.version)]
            else:
                self._admit(context, Scope.READ, None)
                views = self._invoker.list()
            for view in views:
                stats = self._invoker.stats(view.spec.name) or FunctionStats()
                ParseDict(stats_document(view, stats), response.model_stats.add(), ignore_unknown_fields=True)
        return response

    async def repository_index(
        self, request: inference_pb2.RepositoryIndexRequest, context: Context
    ) -> inference_pb2.RepositoryIndexResponse:
        """Every model and its state."""
        response = inference_pb2.RepositoryIndexResponse()
        async with self._answered(context, "RepositoryIndex"):
            self._admit(context, Scope.READ, None)
            for view in self._invoker.list():
                if view.is_ready or not request.ready:
                    ParseDict(index_document(view), response.models.add())
        return response

    async def load(
        self, request: inference_pb2.RepositoryModelLoadRequest, context: Context
    ) -> inference_pb2.RepositoryModelLoadResponse:
        """Have a function that is scaled to 0 come up; one that has replicas stays as it is."""
        async with self._answered(context, "RepositoryModelLoad"):
            self._admit(context, Scope.MANAGE, FunctionName(request.model_name))
            if request.parameters:
                raise codec.invalid("parameters are given, but a model's configuration is changed by deploying it")
            view = find_function(self._invoker, request.model_name, None)
            if view.spec.replicas == 0 and view.spec.autoscale is None:
                await self._scale(view, 1)
        return inference_pb2.RepositoryModelLoadResponse()

    async def unload(
        self, request: inference_pb2.RepositoryModelUnloadRequest, context: Context
    ) -> inference_pb2.RepositoryModelUnloadResponse:
        """Scale a function to 0. One that scales by itself would lose how: it is refused."""
        async with self._answered(context, "RepositoryModelUnload"):
            self._admit(context, Scope.MANAGE, FunctionName(request.model_name))
            view = find_function(self._invoker, request.model_name, None)
            if view.spec.autoscale is not None:
                message = f"function '{view.spec.name}' scales by itself: give it a number of replicas, or delete it"
                raise RequestRefused(ErrorBody(ErrorCode.CONFLICT, message))
            await self._scale(view, 0)
        return inference_pb2.RepositoryModelUnloadResponse()

    async def _scale(self, view: FunctionView, replicas: int) -> None:
        if await self._inside.functions.scale(view.spec.name, replicas) is None:
            message = f"function '{view.spec.name}' was deleted meanwhile"
            raise RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, message))

    def _view(self, context: Context, name: str, version: str) -> FunctionView:
        self._admit(context, Scope.READ, FunctionName(name))
        return find_function(self._invoker, name, version or None)

    def _answered(self, context: Context, what: str) -> AbstractAsyncContextManager[None]:
        """As `answered`; whatever is refused here counts."""
        turned_away = self._inside.turned_away
        return answered(context, what, lambda error: turned_away.count(GRPC_DOOR, error.code))

    def _admit(self, context: Context, scope: Scope, function: FunctionName | None) -> None:
        admit(self._inside, metadata(context), scope, function)


class InferService:
    """One request, one answer."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._invoker = inside.invoker

    async def infer(
        self, request: inference_pb2.ModelInferRequest, context: Context
    ) -> inference_pb2.ModelInferResponse:
        """Answered by the call's deadline, which is the request's."""
        async with answered(context, f"inference of {request.model_name[:100]}"):
            given = metadata(context)
            view = await find_for_request(self._inside, request, given)
            within_us = time_allowed(self._inside, request, context)
            trace = trace_of(self._inside.sampler, given)
            asked = decoded(self._inside, request)
            reply = await self._invoker.invoke(view.spec.name, asked, within_us, trace, DOOR)
            if reply.error is not None:
                raise RequestRefused(reply.error)
            return codec.encode(reply, request, view.version)
        raise AssertionError  # `answered` ends the call where its body does not


async def find_for_request(
    inside: Inside, request: inference_pb2.ModelInferRequest, given: dict[str, str]
) -> FunctionView:
    """The function that a request is for, once its caller may call it. Raises RequestRefused."""
    name = FunctionName(request.model_name)
    with counted(inside):
        admit(inside, given, Scope.INVOKE, name)
        if inside.invoker.describe(name) is None and is_name(name):
            await inside.invoker.wait_for(name)
        return find_function(inside.invoker, name, request.model_version or None)


def decoded(inside: Inside, request: inference_pb2.ModelInferRequest) -> InferRequest:
    """What is asked. Raises RequestRefused."""
    with counted(inside):
        return codec.decode(request)


@contextmanager
def counted(inside: Inside) -> Iterator[None]:
    """A refusal before a request is any function's counts."""
    try:
        yield
    except RequestRefused as refused:
        inside.turned_away.count(GRPC_DOOR, refused.body.code)
        raise


def time_allowed(inside: Inside, request: inference_pb2.ModelInferRequest, context: Context) -> int:
    """The request's deadline in Unix microseconds. Raises RequestRefused."""
    with counted(inside):
        asked_us = codec.timeout_us(request)
    settings = inside.settings
    return deadline_us(context, unix_us(), asked_us, settings.default_timeout_us, settings.max_timeout_us)


def admit(inside: Inside, given: dict[str, str], scope: Scope, function: FunctionName | None) -> None:
    """Raises RequestRefused where the doorkeeper says no."""
    refused = inside.doorkeeper.admit(shown_key(given.items()), scope, function, unix_us())
    if refused is not None:
        raise RequestRefused(refused)
