"""Typed identifiers, so that a replica id is never passed where a node id belongs."""

import re
import secrets
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

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def is_name(text: str) -> bool:
    """Whether `text` may name a function, node or device: it becomes a subject token and a bucket key."""
    return NAME_PATTERN.fullmatch(text) is not None


def new_request_id() -> RequestId:
    """64 random bits as 16 hex digits: unique among the requests alive at one time."""
    return RequestId(secrets.token_hex(8))


def new_incarnation() -> str:
    """Tells one life of a process from the next."""
    return secrets.token_hex(4)


def new_replica_id(function: FunctionName, generation: int) -> ReplicaId:
    """A replica id a person can read: function, generation, and enough chance to be unique."""
    return ReplicaId(f"{function}-g{generation}-{secrets.token_hex(3)}")
