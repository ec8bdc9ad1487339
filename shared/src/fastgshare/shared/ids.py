"""Typed identifiers, so that a replica id is never passed where a node id belongs."""

import re
from typing import NewType

FunctionName = NewType("FunctionName", str)
ReplicaId = NewType("ReplicaId", str)
NodeId = NewType("NodeId", str)
DeviceId = NewType("DeviceId", str)
GatewayId = NewType("GatewayId", str)
HostId = NewType("HostId", str)
RequestId = NewType("RequestId", str)
AttemptId = NewType("AttemptId", str)
Digest = NewType("Digest", str)
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def is_name(text: str) -> bool:
    """Whether `text` may name a function, node or device: it becomes a subject token and a bucket key."""
    return NAME_PATTERN.fullmatch(text) is not None
