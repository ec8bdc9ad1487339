"""The gRPC front door: Open Inference Protocol v2 with Triton's extensions, on the same inside as HTTP.

It decodes, bounds and encodes; refusals become a status with the words that HTTP would say.
"""

from fastgshare.gateway.grpc.server import GrpcUnavailable, serve_grpc
from fastgshare.gateway.grpc.service import Inside
from fastgshare.gateway.grpc.settings import GrpcSettings

__all__ = ["GrpcSettings", "GrpcUnavailable", "Inside", "serve_grpc"]
