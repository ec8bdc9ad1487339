"""Every call that the gRPC door answers, by name, and who may make it.

Whom the doorkeeper would refuse whatever the request is about is refused by the call's metadata: a handler that never
asks for the message has not received it. So for grpc every call is one with many messages in, which come when they are
asked for; on the wire there is no difference.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc

from fastgshare.gateway.core.keys import shown_key
from fastgshare.gateway.core.turned_away import GRPC_DOOR, TurnedAway
from fastgshare.gateway.grpc.calls import Context, texts
from fastgshare.gateway.grpc.incoming import Places, parsed
from fastgshare.gateway.grpc.protos import health_pb2
from fastgshare.gateway.grpc.protos import inference_pb2 as pb
from fastgshare.gateway.grpc.refusals import STATUS, trailers
from fastgshare.gateway.grpc.service import HEALTH, SERVICE, InferService, Inside, ModelService
from fastgshare.gateway.grpc.settings import GrpcSettings
from fastgshare.gateway.grpc.stream import StreamService
from fastgshare.gateway.http.body import Hold
from fastgshare.gateway.ports import Doorkeeper, Scope
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, RequestRefused

Behaviour = Callable[[Any, Any], Awaitable[Any]]
T = TypeVar("T")

_OPEN = ("ServerLive", "ServerReady")
_SCOPES = {
    "ModelInfer": Scope.INVOKE,
    "ModelStreamInfer": Scope.INVOKE,
    "RepositoryModelLoad": Scope.MANAGE,
    "RepositoryModelUnload": Scope.MANAGE,
}


class Guarded(grpc.GenericRpcHandler):
    """Calls behind a doorkeeper. What is not named above needs the scope `read`."""

    def __init__(
        self, calls: "dict[str, grpc.RpcMethodHandler[Any, Any]]", doorkeeper: Doorkeeper, turned_away: TurnedAway
    ) -> None:
        self._calls = {f"/{SERVICE}/{name}": call for name, call in calls.items()}
        self._scopes = {f"/{SERVICE}/{name}": _SCOPES.get(name, Scope.READ) for name in calls if name not in _OPEN}
        self._doorkeeper = doorkeeper
        self._turned_away = turned_away

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Who answers a call, which has not been read yet."""
        method = handler_call_details.method
        scope = self._scopes.get(method)
        if scope is not None:
            key = shown_key(texts(handler_call_details.invocation_metadata).items())
            refused = self._doorkeeper.hear(key, scope, unix_us())
            if refused is not None:
                self._turned_away.count(GRPC_DOOR, refused.code)
                return _refusing(refused)
        return self._calls.get(method)


def _refusing(error: ErrorBody) -> "grpc.RpcMethodHandler[Any, Any]":
    async def refuse(_: AsyncIterator[Any], context: Context) -> None:
        await context.abort(STATUS[error.code], error.message, trailers(error))

    return grpc.stream_stream_rpc_method_handler(refuse)


class Entrance:
    """Where calls come in: each has its message once there was a place for it, or is told why it has none."""

    def __init__(self, inside: Inside, settings: GrpcSettings) -> None:
        self._places = Places(settings)
        self._budget = inside.budget
        self._turned_away = inside.turned_away

    def unary(self, behaviour: Behaviour, request: Any, response: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """A call with one message each way."""

        async def serve(_: AsyncIterator[Any], context: Context) -> Any:
            self._places.enter()
            try:
                with Hold(self._budget) as hold:
                    message = await self._let_in(context, self._places.receive(context, hold))
                    return await behaviour(message, context)
            finally:
                self._places.leave()

        return grpc.stream_unary_rpc_method_handler(
            serve, request_deserializer=parsed(request), response_serializer=response.SerializeToString
        )

    def silent(self, behaviour: Behaviour, request: Any, response: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """A call whose message has nothing in it: nobody reads it, so it is answered however full it is here."""
        nothing = request()

        async def serve(_: AsyncIterator[Any], context: Context) -> Any:
            return await behaviour(nothing, context)

        return grpc.stream_unary_rpc_method_handler(serve, response_serializer=response.SerializeToString)

    def stream(self, service: StreamService, request: Any, response: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """A call with many messages each way."""

        async def serve(messages: AsyncIterator[Any], context: Context) -> None:
            self._places.enter()
            try:
                place = await self._let_in(context, self._places.for_stream())
                try:
                    await service.stream(messages, place, context)
                finally:
                    place.give_back()
            finally:
                self._places.leave()

        return grpc.stream_stream_rpc_method_handler(
            serve, request_deserializer=parsed(request), response_serializer=response.SerializeToString
        )

    async def _let_in(self, context: Context, coming: Awaitable[T]) -> T:
        try:
            return await coming
        except RequestRefused as refused:
            error = refused.body
            self._turned_away.count(GRPC_DOOR, error.code)
            await context.abort(STATUS[error.code], error.message, trailers(error))
        raise AssertionError  # `abort` ends the call


def handlers(inside: Inside) -> "list[grpc.GenericRpcHandler]":
    """Everything that is answered here, by name."""
    models, infer, entrance = ModelService(inside), InferService(inside), Entrance(inside, inside.settings)
    unary, silent = entrance.unary, entrance.silent
    calls: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ServerLive": silent(models.server_live, pb.ServerLiveRequest, pb.ServerLiveResponse),
        "ServerReady": silent(models.server_ready, pb.ServerReadyRequest, pb.ServerReadyResponse),
        "ModelReady": unary(models.model_ready, pb.ModelReadyRequest, pb.ModelReadyResponse),
        "ServerMetadata": silent(models.server_metadata, pb.ServerMetadataRequest, pb.ServerMetadataResponse),
        "ModelMetadata": unary(models.model_metadata, pb.ModelMetadataRequest, pb.ModelMetadataResponse),
        "ModelConfig": unary(models.model_config, pb.ModelConfigRequest, pb.ModelConfigResponse),
        "ModelStatistics": unary(models.model_statistics, pb.ModelStatisticsRequest, pb.ModelStatisticsResponse),
        "RepositoryIndex": unary(models.repository_index, pb.RepositoryIndexRequest, pb.RepositoryIndexResponse),
        "RepositoryModelLoad": unary(models.load, pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse),
        "RepositoryModelUnload": unary(
            models.unload, pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse
        ),
        "ModelInfer": unary(infer.infer, pb.ModelInferRequest, pb.ModelInferResponse),
        "ModelStreamInfer": entrance.stream(StreamService(inside), pb.ModelInferRequest, pb.ModelStreamInferResponse),
    }
    health = Entrance(inside, inside.settings.of_open_calls())  # whoever has no key takes no place from who has one
    check = health.unary(models.health, health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
    return [
        Guarded(calls, inside.doorkeeper, inside.turned_away),
        grpc.method_handlers_generic_handler(HEALTH, {"Check": check}),
    ]
