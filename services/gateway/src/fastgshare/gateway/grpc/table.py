"""Every call that the gRPC door answers, by name, and who may make it.

Whom the doorkeeper would refuse whatever the request is about is refused by the call's metadata: a handler that never
asks for the message has not received it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from fastgshare.gateway.core.keys import shown_key
from fastgshare.gateway.grpc.calls import Context, texts
from fastgshare.gateway.grpc.protos import health_pb2
from fastgshare.gateway.grpc.protos import inference_pb2 as pb
from fastgshare.gateway.grpc.refusals import STATUS, trailers
from fastgshare.gateway.grpc.service import HEALTH, SERVICE, InferService, Inside, ModelService
from fastgshare.gateway.grpc.stream import StreamService
from fastgshare.gateway.ports import Doorkeeper, Scope
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody

Behaviour = Callable[[Any, Any], Awaitable[Any]]


_OPEN = ("ServerLive", "ServerReady")
_SCOPES = {
    "ModelInfer": Scope.INVOKE,
    "ModelStreamInfer": Scope.INVOKE,
    "RepositoryModelLoad": Scope.MANAGE,
    "RepositoryModelUnload": Scope.MANAGE,
}


class Guarded(grpc.GenericRpcHandler):
    """Calls behind a doorkeeper. What is not named above needs the scope `read`."""

    def __init__(self, calls: "dict[str, grpc.RpcMethodHandler[Any, Any]]", doorkeeper: Doorkeeper) -> None:
        self._calls = {f"/{SERVICE}/{name}": call for name, call in calls.items()}
        self._scopes = {f"/{SERVICE}/{name}": _SCOPES.get(name, Scope.READ) for name in calls if name not in _OPEN}
        self._doorkeeper = doorkeeper

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Who answers a call, which has not been read yet."""
        method = handler_call_details.method
        scope = self._scopes.get(method)
        if scope is not None:
            key = shown_key(texts(handler_call_details.invocation_metadata).items())
            refused = self._doorkeeper.hear(key, scope, unix_us())
            if refused is not None:
                return _refusing(refused)
        return self._calls.get(method)


def _refusing(error: ErrorBody) -> "grpc.RpcMethodHandler[Any, Any]":
    async def refuse(_: AsyncIterator[Any], context: Context) -> None:
        await context.abort(STATUS[error.code], error.message, trailers(error))

    return grpc.stream_stream_rpc_method_handler(refuse)


def unary(behaviour: Behaviour, request: Any, response: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """A call with one message each way."""
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )


def handlers(inside: Inside) -> "list[grpc.GenericRpcHandler]":
    """Everything that is answered here, by name."""
    models, infer = ModelService(inside), InferService(inside)
    calls: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ServerLive": unary(models.server_live, pb.ServerLiveRequest, pb.ServerLiveResponse),
        "ServerReady": unary(models.server_ready, pb.ServerReadyRequest, pb.ServerReadyResponse),
        "ModelReady": unary(models.model_ready, pb.ModelReadyRequest, pb.ModelReadyResponse),
        "ServerMetadata": unary(models.server_metadata, pb.ServerMetadataRequest, pb.ServerMetadataResponse),
        "ModelMetadata": unary(models.model_metadata, pb.ModelMetadataRequest, pb.ModelMetadataResponse),
        "ModelConfig": unary(models.model_config, pb.ModelConfigRequest, pb.ModelConfigResponse),
        "ModelStatistics": unary(models.model_statistics, pb.ModelStatisticsRequest, pb.ModelStatisticsResponse),
        "RepositoryIndex": unary(models.repository_index, pb.RepositoryIndexRequest, pb.RepositoryIndexResponse),
        "RepositoryModelLoad": unary(models.load, pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse),
        "RepositoryModelUnload": unary(
            models.unload, pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse
        ),
        "ModelInfer": unary(infer.infer, pb.ModelInferRequest, pb.ModelInferResponse),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            StreamService(inside).stream,
            request_deserializer=pb.ModelInferRequest.FromString,
            response_serializer=pb.ModelStreamInferResponse.SerializeToString,
        ),
    }
    check = unary(models.health, health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
    return [
        Guarded(calls, inside.doorkeeper),
        grpc.method_handlers_generic_handler(HEALTH, {"Check": check}),
    ]
