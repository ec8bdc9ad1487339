"""Names and times that the examples share."""

from fastgshare.shared.ids import (
    AttemptId,
    DeviceId,
    Digest,
    FunctionName,
    GatewayId,
    HostId,
    JobId,
    KeyId,
    NodeId,
    ReplicaId,
)

AT_US = 1_700_000_000_000_000
ECHO = FunctionName("echo")
REPLICA = ReplicaId("echo-g3-0a1b2c")
NODE = NodeId("node-0")
DEVICE = DeviceId("node-0-cpu0")
HOST = HostId("0a1b2c3d-23")
GATEWAY = GatewayId("node-0-gateway-0")
KEY = KeyId("0a1b2c3d4e5f")
ATTEMPT = AttemptId("0123456789abcdef.2")
MODEL_DIGEST = Digest("ab" * 32)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOAN = "profiler-0a1b2c3d.4"
JOB = JobId("echo." + "0a" * 12)
