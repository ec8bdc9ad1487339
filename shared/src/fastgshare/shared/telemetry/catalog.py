"""The metric table: every metric that a service tells, by name, kind, unit and labels. Pure.

Names are OpenTelemetry's (dots, the unit apart); what Prometheus calls them follows by OpenTelemetry's own rules: dots
become underscores, the unit a suffix, counters end in `_total`. Labels become attributes `fastgshare.<label>` there.
`docs/reference/metrics.md` is made from this table.
"""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """A counter only grows, a gauge is as it is now, a histogram counts values in buckets."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


SUFFIXES = {"s": "seconds", "By": "bytes", "1": "ratio"}
"""What Prometheus calls the units that it has words for; others, in braces, only say what is counted."""


class Metric(msgspec.Struct, frozen=True):
    """One metric. `prometheus_name` is for those that Prometheus knows by a name of its own."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    prometheus_name: str = ""

    @property
    def prometheus(self) -> str:
        """Its name there, without the endings of a histogram's series."""
        if self.prometheus_name:
            return self.prometheus_name
        parts = [self.name.replace(".", "_")]
        if self.unit in SUFFIXES and not (self.unit == "1" and self.kind is not Kind.GAUGE):
            parts.append(SUFFIXES[self.unit])
        if self.kind is Kind.COUNTER:
            parts.append("total")
        return "_".join(parts)


def _counter(name: str, unit: str, text: str, *labels: str) -> Metric:
    return Metric(f"fastgshare.{name}", Kind.COUNTER, unit, text, labels)


def _gauge(name: str, unit: str, text: str, *labels: str) -> Metric:
    return Metric(f"fastgshare.{name}", Kind.GAUGE, unit, text, labels)


def _histogram(name: str, unit: str, text: str, *labels: str) -> Metric:
    return Metric(f"fastgshare.{name}", Kind.HISTOGRAM, unit, text, labels)


# Every service

BUILD = _gauge(
    "build.info",
    "",
    "Always 1: which service this is, which instance, and its version.",
    *("service", "name", "version"),
)
UP = _gauge("bus.connected", "", "1 while every connection of the service to the NATS server stands.")
RECONNECTS = _counter("bus.reconnects", "{reconnect}", "How often the connection to the NATS server was made anew.")
DROPPED = _counter(
    "telemetry.dropped",
    "{item}",
    "What was let go, by signal: `spans`, `traces` (kept requests or batches), exports of `metrics`.",
    "signal",
)
CPU = Metric("process.cpu.time", Kind.COUNTER, "s", "Processor time of the process.", (), "process_cpu_seconds_total")
MEMORY = Metric("process.memory.usage", Kind.GAUGE, "By", "Resident memory.", (), "process_resident_memory_bytes")
FILES = Metric("process.open_file_descriptor.count", Kind.GAUGE, "{file}", "Open files.", (), "process_open_fds")

# Gateway

ARRIVED = _counter("requests.arrived", "{request}", "Requests that arrived for a deployed function.", "function")
REQUESTS = _counter(
    "requests",
    "{request}",
    "Requests that ended, by outcome: `answered`, or the code of the error.",
    *("function", "outcome"),
)
REFUSALS = _counter(
    "refusals",
    "{request}",
    "Requests that a door (`http`, `grpc`, `nats`, `job`) turned away before they counted as any function's, by the "
    "code of the error: a key that may not, a body too large, too many at once, a function that is not there; those to "
    "management, the console and paths that are not there too. `requests` does not have them.",
    *("door", "code"),
)
RETRIED = _counter(
    "requests.retried", "{request}", "Requests dispatched again because their replica was lost.", "function"
)
OUTSTANDING = _gauge("requests.outstanding", "{request}", "Requests at replicas now.", "function")
HELD = _gauge("requests.held", "{request}", "Requests that wait at the gateway for a replica now.", "function")
OBJECTIVE_REQUESTS = _counter(
    "objective.requests",
    "{request}",
    "Requests by whether they met the objective: `met` or `missed`. What the caller brought about counts as neither. "
    "Goodput is the rate of `met`.",
    *("function", "result"),
)
OBJECTIVE = _gauge("objective.latency", "s", "The function's objective.", "function")
OBJECTIVE_TARGET = _gauge("objective.target", "1", "The share of requests that are to meet it.", "function")
DURATION = _histogram(
    "request.duration", "s", "Arrival to answer, or to its first part, of answered requests.", "function"
)
STAGE = _histogram(
    "request.stage.duration",
    "s",
    "Parts of it: `route` (until dispatch, held time included), `queue`, `token` (waiting for device time), `handler` "
    "(of those that have one), `execute`.",
    *("function", "stage"),
)
BATCH_ROWS = _histogram("batch.rows", "{row}", "Batches that were executed, by rows.", "function")
COLD_START = _histogram(
    "cold_start.duration", "s", "From a request that found no replica to the first answer.", "function"
)
PAYLOADS = _gauge("gateway.payloads", "By", "Payloads of open requests.")
LATENESS = _counter("requests.late", "{request}", "Requests whose deadline passed, answered or not.", "function")

# Node manager

DEVICE_HEALTHY = _gauge("device.healthy", "", "1 while the device serves.", *("device", "kind"))
DEVICE_SMS = _gauge("device.sms", "{sm}", "SMs that replicas share (cores, on a CPU).", "device")
DEVICE_MEMORY_LIMIT = _gauge("device.memory.limit", "By", "Memory that replicas share.", "device")
DEVICE_MEMORY = _gauge("device.memory.usage", "By", "Memory in use.", "device")
DEVICE_PROMISED = _gauge("device.promised", "1", "Share of the SMs' time that is promised to replicas.", "device")
DEVICE_UTILIZATION = _gauge(
    "device.utilization", "1", "Share of time that SMs were at work, as the device itself tells.", "device"
)
DEVICE_OCCUPANCY = _gauge(
    "device.occupancy", "1", "Warps that ran of those that fit, as the device itself tells.", "device"
)
DEVICE_GAUGE = _gauge(
    "device.gauge",
    "",
    "What else a kind of device tells, by its own names; see the node manager's README.",
    *("device", "gauge"),
)
WORKER_RESTARTS = _counter(
    "device.worker.restarts", "{restart}", "How often the device's worker process was started anew.", "device"
)
SM_TIME = _counter(
    "sm.time",
    "s",
    "SMs times seconds that the function's replicas held them: what a bill is made of. `use` is `serving` or "
    "`profiling`.",
    *("function", "device", "use"),
)
SM_PROMISED = _counter(
    "sm.promised", "s", "SMs times seconds that were promised to the function's replicas.", *("function", "device")
)
SERVED = _counter(
    "device.requests",
    "{request}",
    "Requests that the device's worker answered, errors included.",
    *("function", "device"),
)
BATCHES = _counter("device.batches", "{batch}", "Batches that ran on the device.", *("function", "device"))
REPLICAS = _gauge("replicas", "{replica}", "Replicas by state.", *("function", "device", "state"))
RESTARTS = _gauge(
    "replica.restarts",
    "{restart}",
    "How often the replica was brought up anew with its worker.",
    *("function", "device", "replica"),
)
LOAD_TIME = _gauge(
    "replica.load.duration", "s", "How long the replica took to load.", *("function", "device", "replica")
)
QUEUE = _gauge("replica.queue", "{request}", "Requests that wait or run.", *("function", "device", "replica"))
QUOTA_REQUEST = _gauge(
    "replica.quota.request", "1", "Share of its SMs' time that is promised.", *("function", "device", "replica")
)
QUOTA_LIMIT = _gauge(
    "replica.quota.limit", "1", "Share of its SMs' time that it gets at most.", *("function", "device", "replica")
)
TIME_SHARE = _gauge(
    "replica.time_share",
    "1",
    "Share of its SMs' time that it had over the last heartbeats.",
    *("function", "device", "replica"),
)
QUOTA_ERROR = _gauge(
    "replica.quota.error",
    "1",
    "How far that was below its request while it had work all the time, or above its limit; 0 when neither.",
    *("function", "device", "replica"),
)
TOKEN_WAIT = _gauge(
    "replica.token_wait",
    "s",
    "Its longest wait for device time since the heartbeat before.",
    *("function", "device", "replica"),
)
DRIFT = _gauge(
    "replica.drift", "1", "How long recent batches took over what its table says.", *("function", "device", "replica")
)
USAGE_UNSENT = _gauge("usage.unsent", "{record}", "Usage records that the stream has not taken yet.")

# Scheduler

LEADING = _gauge("scheduler.leading", "", "1 while this scheduler leads.")
DECISIONS = _counter("scheduler.decisions", "{decision}", "Decisions by command.", "command")
STEPS = _histogram("scheduler.step.duration", "s", "How long the core took for an event.")
REPORTS = _counter("scheduler.reports", "{report}", "What the scheduler told of, by kind, such as `no_room`.", "kind")
JOURNAL_LOST = _counter("scheduler.journal.gaps", "{gap}", "How often the journal let entries go.")

# Profiler

TABLES = _gauge("profiler.tables", "{table}", "Tables by state.", "state")
POINTS = _gauge("profiler.points", "{point}", "Points that the tables have.")
PROFILED = _counter("profiler.commands", "{command}", "What the profiler did, by command.", "command")
CLAIMS = _gauge("profiler.claims", "{claim}", "Tables that this profiler works on now.")

ANYWHERE = (BUILD, UP, RECONNECTS, DROPPED, CPU, MEMORY, FILES)

CATALOG: dict[str, tuple[Metric, ...]] = {
    "every service": ANYWHERE,
    "gateway": (
        *(ARRIVED, REQUESTS, OBJECTIVE_REQUESTS, OBJECTIVE, OBJECTIVE_TARGET, DURATION, STAGE, BATCH_ROWS, LATENESS),
        *(REFUSALS, RETRIED, OUTSTANDING, HELD, COLD_START, PAYLOADS),
    ),
    "node manager": (
        *(DEVICE_HEALTHY, DEVICE_SMS, DEVICE_MEMORY_LIMIT, DEVICE_MEMORY, DEVICE_PROMISED),
        *(DEVICE_UTILIZATION, DEVICE_OCCUPANCY, DEVICE_GAUGE, WORKER_RESTARTS, SM_TIME, SM_PROMISED, SERVED, BATCHES),
        *(REPLICAS, RESTARTS, LOAD_TIME, QUEUE, QUOTA_REQUEST, QUOTA_LIMIT, TIME_SHARE, QUOTA_ERROR, TOKEN_WAIT),
        *(DRIFT, USAGE_UNSENT),
    ),
    "scheduler": (LEADING, DECISIONS, STEPS, REPORTS, JOURNAL_LOST),
    "profiler": (TABLES, POINTS, PROFILED, CLAIMS),
}
"""Every metric, by who tells it."""
