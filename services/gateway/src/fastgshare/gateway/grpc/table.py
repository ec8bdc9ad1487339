"""Every call that the gRPC door answers, by name."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from fastgshare.gateway.grpc.protos import health_pb2
from fastgshare.gateway.grpc.protos import inference_pb2 as pb
from fastgshare.gateway.grpc.service import HEALTH, SERVICE, InferService, Inside, ModelService
from fastgshare.gateway.grpc.stream import StreamService

Behaviour = Callable[[Any, Any], Awaitable[Any]]


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
        grpc.method_handlers_generic_handler(SERVICE, calls),
        grpc.method_handlers_generic_handler(HEALTH, {"Check": check}),
    ]
