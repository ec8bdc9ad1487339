"""The subject, bucket and header table: the only place that spells a name used on the bus."""

import re
from hashlib import sha256

from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, KeyId, NodeId, ReplicaId, RequestId

_TOKEN = re.compile(r"[-_=a-zA-Z0-9]{1,64}|\*")

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


def cancel(replica: ReplicaId) -> str:
    """Gateway → device worker: an attempt whose caller does not want its answer any more."""
    return f"fast.cancel.{replica}"


WITHDRAW_ALL = "fast.withdraw.*"


def withdraw(request: RequestId) -> str:
    """Client → every gateway: the request of this id, the payload, is not wanted any more; who has it lets go of it."""
    return f"fast.withdraw.{token(request)}"


# Load and status
REPORT_ALL = "fast.report.*"
LOAD_ALL = "fast.load.*"
DEMAND_ALL = "fast.demand.*"
NODE_STATUS_ALL = "fast.node.*.status"


def load(gateway: GatewayId) -> str:
    """Gateway → scheduler."""
    return f"fast.load.{gateway}"


def report(gateway: GatewayId) -> str:
    """Gateway → consoles and whoever watches: what became of requests, as counts since it started."""
    return f"fast.report.{gateway}"


PAST = "fast.past"
"""Whoever begins to look → every gateway: what it has seen of late; each answers with `PastTraffic`."""


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


# Traces of requests that were kept, in a bounded stream
TRACE_STREAM = "traces"
TRACE_ALL = "fast.trace.>"


def trace(function: FunctionName, request: RequestId, trace_id: str) -> str:
    """Gateway → the traces stream; `*` stands for any."""
    return f"fast.trace.{function}.{token(request)}.{trace_id}"


# What was used of devices, in a stream
USAGE_STREAM = "usage"
USAGE_ALL = "fast.usage.*"


def usage(node: NodeId) -> str:
    """Node → the usage stream: who had how much of which device over a stretch of time."""
    return f"fast.usage.{node}"


# Asynchronous invocations, in a work queue
JOB_STREAM = "jobs"
JOB_ALL = "fast.job.*"


def job(function: FunctionName) -> str:
    """Gateways and clients → the jobs work queue: a request whose answer is fetched later."""
    return f"fast.job.{function}"


RESULT_ALL = "fast.result.>"


def result(address: str) -> str:
    """Gateway → whoever listens at the address that a job's submitter named: the job's outcome as JSON."""
    return f"fast.result.{address}"


def token(text: str) -> str:
    """`text` as one token of a subject: itself where it fits, else a name for it."""
    if _TOKEN.fullmatch(text):
        return text
    return "h" + sha256(text.encode()).hexdigest()[:31]


# Buckets and their keys
RESULTS = "results"
KEYS = "keys"
KEY_USE = "key_use"
FUNCTIONS = "functions"
PROFILES = "profiles"
PLACEMENTS = "placements"
REPLICAS = "replicas"
LEASES = "leases"
MODELS = "models"
LARGE_RESULTS = "large_results"
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


def key_use(key: KeyId, gateway: GatewayId) -> str:
    """What one gateway let through of a key."""
    return f"{key}.{gateway}"


def key_uses(key: KeyId) -> str:
    """What every gateway let through of a key."""
    return f"{key}.*"


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
FIRST_PART_US = "Fast-First-Part-Us"
"""Of a withdrawal: how long after the request its first part came, which its gateway has not seen."""
DEADLINE_US = "Fast-Deadline-Us"
REQUEST_ID = "Fast-Request-Id"
