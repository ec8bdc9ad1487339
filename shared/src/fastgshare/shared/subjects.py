"""The subject, bucket and header table: the only place that spells a name used on the bus."""

import re

from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, NodeId, ReplicaId

# Requests
GATEWAY_QUEUE = "gateway"
INVOKE_ALL = "fast.invoke.*"


def invoke(function: FunctionName) -> str:
    """Client → any gateway."""
    return f"fast.invoke.{function}"


def replica(replica: ReplicaId) -> str:
    """Gateway → device worker, direct."""
    return f"fast.replica.{replica}"


def measure(replica: ReplicaId) -> str:
    """Profiler → device worker: run synthetic batches on this replica's slice."""
    return f"fast.measure.{replica}"


def done(gateway: GatewayId) -> str:
    """Device worker → gateway: batched completions of attempts answered straight to their callers."""
    return f"fast.done.{gateway}"


# Load and status
LOAD_ALL = "fast.load.*"
DEMAND_ALL = "fast.demand.*"
NODE_STATUS_ALL = "fast.node.*.status"


def load(gateway: GatewayId) -> str:
    """Gateway → scheduler."""
    return f"fast.load.{gateway}"


def demand(function: FunctionName) -> str:
    """Gateway → scheduler: requests wait and no replica can take them."""
    return f"fast.demand.{function}"


def node_status(node: NodeId) -> str:
    """Node → all: the heartbeat."""
    return f"fast.node.{node}.status"


WORKER_HELLO_ALL = "fast.hello.*"


def worker_hello(device: DeviceId) -> str:
    """Device worker → gateways: it is (back) on the bus."""
    return f"fast.hello.{device}"


# Profiling
PROFILE_ALL = "fast.profile.*"
PROFILE_QUEUE = "profiler"


def profile(function: FunctionName) -> str:
    """Client → profiler: measure this function's model."""
    return f"fast.profile.{function}"


def profile_progress(function: FunctionName) -> str:
    """Profiler → all: how far it is."""
    return f"fast.progress.{function}"


LOAN = "fast.loan"
"""Profiler → leading scheduler: lend a slice to measure on."""

# Services answer here with `ServiceReady`
PING = "fast.ping"


def ping(service: str) -> str:
    """Anyone → every instance of `service`."""
    return f"fast.ping.{service}"


# Events, kept in a stream
EVENT_STREAM = "events"
EVENT_ALL = "fast.event.>"


def event(kind: str, function: str = "") -> str:
    """Anyone → the events stream."""
    return f"fast.event.{kind}.{function or '_'}"


def function_events(function: FunctionName) -> str:
    """Every event about one function."""
    return f"fast.event.*.{function}"


# Buckets and their keys
FUNCTIONS = "functions"
PROFILES = "profiles"
PLACEMENTS = "placements"
REPLICAS = "replicas"
LEASES = "leases"
MODELS = "models"
LEADER_KEY = "leader"
_NOT_IN_KEYS = re.compile(r"[^-=a-zA-Z0-9]")


def fleet_key(node: NodeId, replica: ReplicaId) -> str:
    """Key of a placement and of the replica it becomes."""
    return f"{node}.{replica}"


def node_keys(node: NodeId) -> str:
    """Every placement or replica of one node."""
    return f"{node}.*"


def profile_key(model_digest: Digest, device_kind: str) -> str:
    """Key of a table; a kind is a device's own name for itself, such as `NVIDIA H200`, so it is made fit."""
    return f"{model_digest}.{_NOT_IN_KEYS.sub('_', device_kind)}"


def profile_digest(profile_key: str) -> Digest:
    """The model of the table of this key."""
    return Digest(profile_key.partition(".")[0])


def profile_keys(model_digest: Digest) -> str:
    """Every table of one model."""
    return f"{model_digest}.*"


def profile_lease(profile_key: str) -> str:
    """Lease on measuring for a table."""
    return f"profile.{profile_key}"


def device_id(node: NodeId, index: int, kind: str) -> DeviceId:
    """A device's name: unique across nodes."""
    return DeviceId(f"{node}-{kind}{index}")


# Headers of a request, for callers that do not pack them (with `traceparent`)
DEADLINE_US = "Fast-Deadline-Us"
REQUEST_ID = "Fast-Request-Id"
