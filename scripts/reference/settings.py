"""The page of settings, from the structs that the environment is loaded into."""

from collections.abc import Iterator

import msgspec

from fastgshare.gateway.config import GatewayConfig
from fastgshare.node_manager.config import MAX_WINDOW_MS, MIN_WINDOW_MS, NodeConfig
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.scheduler.config import SchedulerConfig
from fastgshare.shared.config import variable_for
from fastgshare.shared.provision import ProvisionConfig
from scripts.reference.markdown import code, prose, table
from scripts.reference.types import default_of, kind_of

SERVICES: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewayConfig,
    "scheduler": SchedulerConfig,
    "profiler": ProfilerConfig,
    "node manager": NodeConfig,
    "provision": ProvisionConfig,
}
MEANINGS = {
    "nats_url": "The bus.",
    "nats_password_file": "A file with the password of the user that `NATS_URL` names.",
    "instance": "Its name on the bus; must differ between instances of a service.",
    "drain_s": "How long it finishes what it has when it is told to stop.",
    "log_level": "DEBUG, INFO, WARNING or ERROR.",
    "metrics_host": "Where its page of metrics listens.",
    "metrics_port": "On which port; 0: nowhere.",
    # gateway
    "http_host": "Where it listens for HTTP.",
    "http_port": "On which port; 0: any free one.",
    "grpc_host": "Where it listens for gRPC.",
    "grpc_port": "On which port; 0: any free one, -1: not at all.",
    "trace_ratio": "Share of requests whose trace is kept by chance; unset: `OTEL_TRACES_SAMPLER_ARG`, else 0.01.",
    "require_keys": "Let nobody in without an API key, also where there is none yet.",
    "concurrent_jobs": "Asynchronous calls that one gateway has under way.",
    "default_timeout_ms": "The deadline of requests that name none.",
    "max_timeout_ms": "The longest deadline a request may have.",
    "upload_dir": "Where models lie while they come in, with room for four of them; empty: with other temporary files.",
    "max_body_mib": "Of an HTTP request, decompressed.",
    "grpc_message_mib": "Of a gRPC message.",
    "grpc_incoming_mib": "Of all gRPC messages that may be on their way in at one time.",
    "held_per_function": "Requests that may wait for a function's first replica.",
    "rows_per_replica": "Inputs outstanding on one replica.",
    "max_payloads_mib": "Payloads kept until their requests' last word, in all.",
    "concurrent_json": "JSON requests over NATS in flight.",
    "load_interval_ms": "How often it tells its load.",
    "tick_interval_ms": "How often it looks for what time alone decides.",
    # scheduler and profiler
    "tick_ms": "How often it looks for what time alone decides.",
    "node_silent_s": "A node is silent after this long, or three of its heartbeats if that is longer.",
    "idle_s": "A function that may have none loses its last replica this long after its last request.",
    "scale_down_s": "Fewer replicas must have been enough for this long.",
    "headroom": "Share of the arrival rate kept in reserve; half of it under `objective`.",
    "sweep_s": "How often, and from what age, markers of deletions are swept.",
    "policy": "What an empty `autoscale.policy` means.",
    "journal_dir": "Where the journal is kept; empty: nowhere.",
    "journal_mib": "How much of it, all runs of this instance together.",
    "budget_ms": "Device time that a point's closed loop may take; by the clock it is divided by the quota.",
    "open_ms": "How long a point is measured with requests that arrive by chance, at least; 0: not.",
    "slowest_ms": "Batches that take longer are not measured.",
    "precision": "A point ends sooner once its throughput is known so well: half a 95 % confidence interval, relative.",
    "ready_wait_s": "How long a request to measure waits for a slice.",
    "patience_s": "How long what nobody asked for wishes for a slice at a time.",
    # node manager
    "node": "This node's name; unique on the bus.",
    "device": "`auto` (every CUDA GPU that can be used, or else the cores), `cpu`, `cuda`, `mps` or `sim`.",
    "window_ms": f"Over which quotas of time are accounted, {MIN_WINDOW_MS} to {MAX_WINDOW_MS}.",
    "status_interval_ms": "How often it beats.",
    "worker_silent_ms": "A device worker that is silent for so long is ended and started again.",
    "usage_interval_s": "How often it writes down what was used of its devices.",
    "cores": "Chunks of the `cpu` device; 0: every core this process may use.",
    "data_dir": "Where models and user code are cached.",
    "sim_gpu": "The GPU that `sim` emulates: `v100` or `h200`.",
    "sim_tables": "A directory of measured profiles for ONNX models on `sim`.",
    "mps_compute": "`cuda`, or `cpu` to try `mps` without a GPU.",
    "mps_chunks": "Chunks of the `mps` device; 0: as many as the GPU would have.",
    "mps_context_mib": "What a process takes of a GPU before its model, until that was measured.",
    # provision
    "storage_replicas": "Copies of everything that is kept, at least; what has more keeps them.",
}
MEANINGS_OF = {("provision", "patience_s"): "How long it tries, while the servers of a cluster find each other."}
"""Where a service means something of its own by a name."""
ELSEWHERE = (
    ("FASTGSHARE_DATA_DIR", "`fastgshare`", "State and logs of `up`; where others find a platform that runs here."),
    ("FASTGSHARE_NATS_URL", "`fastgshare`, the Python client", "Which platform, unless `--url` says so."),
    ("FASTGSHARE_NATS_PASSWORD_FILE", "`fastgshare`, the Python client", "As for services."),
    ("FASTGSHARE_WHEEL_CACHE", "`fastgshare deploy`", "Folders with wheels, separated like `PATH`."),
    ("FASTGSHARE_HEALTH_FILE", "every service", "A file that it touches each second while on the bus; unset: none."),
)


def page() -> str:
    """Every service's variables."""
    parts = [
        "# Settings",
        "",
        (
            "Services are configured by environment variables alone. A value that does not fit is refused by name when "
            "the service starts."
        ),
        "",
    ]
    for service, struct in SERVICES.items():
        parts += [f"## {service[0].upper()}{service[1:]}", "", prose(struct), ""]
        parts += [table(("variable", "type", "default", ""), _rows(service, struct))]
    parts += ["## The command, the client and the rest", "", table(("variable", "read by", ""), _elsewhere())]
    return "\n".join(parts)


def without_meaning() -> list[str]:
    """Fields that no meaning is written for."""
    fields = {field.name for struct in SERVICES.values() for field in msgspec.structs.fields(struct)}
    return sorted(fields - MEANINGS.keys())


def _rows(service: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    for field in msgspec.structs.fields(struct):
        meaning = MEANINGS_OF.get((service, field.name)) or MEANINGS.get(field.name, "")
        yield code(variable_for(field.name)), kind_of(field.type), default_of(field), meaning


def _elsewhere() -> Iterator[tuple[str, str, str]]:
    for variable, reader, meaning in ELSEWHERE:
        yield code(variable), reader, meaning
