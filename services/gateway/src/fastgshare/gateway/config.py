"""The gateway's settings, from `FASTGSHARE_<FIELD>`."""

import msgspec


class GatewayConfig(msgspec.Struct, frozen=True):
    """Settings of one gateway. Times in the unit that their name ends in; a port of 0 takes any, gRPC's of -1 none.

    An empty `instance` is the host's name.

    `upload_dir` is where models lie while they come in, with room for four of them; empty: with other
    temporary files.

    Of gRPC's messages, `grpc_message_mib` each at most, as many may be on their way in at one time as fit into
    `grpc_incoming_mib`; three quarters of them on streams.

    The page of metrics is on the HTTP port for those whose key may look, and on `metrics_port` of `metrics_host` (0:
    nowhere) for everybody who can reach that: a network of your own.

    `trace_ratio` is the share of requests whose trace is kept whatever becomes of them, of those whose caller does not
    say; None: what `OTEL_TRACES_SAMPLER_ARG` says, else 0.01.
    """

    nats_url: str = "nats://127.0.0.1:4222"
    nats_password_file: str = ""
    instance: str = "gateway-0"
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 8081
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    default_timeout_ms: int = 10_000
    max_timeout_ms: int = 600_000
    max_body_mib: int = 64
    grpc_message_mib: int = 16
    grpc_incoming_mib: int = 1024
    held_per_function: int = 256
    rows_per_replica: int = 2048
    max_payloads_mib: int = 512
    concurrent_json: int = 256
    concurrent_jobs: int = 64
    load_interval_ms: int = 500
    tick_interval_ms: int = 50
    drain_s: float = 5.0
    require_keys: bool = False
    log_level: str = "INFO"
    trace_ratio: float | None = None
    upload_dir: str = ""
