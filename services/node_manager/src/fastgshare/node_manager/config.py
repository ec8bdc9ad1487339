"""The node manager's settings, from `FASTGSHARE_<FIELD>`; its workers get theirs the same way."""

import msgspec


class NodeConfig(msgspec.Struct, frozen=True):
    """Settings of one node. `cores` 0 means all this process may use; `data_dir` caches models and user code."""

    nats_url: str = "nats://127.0.0.1:4222"
    node: str = "node-0"
    device: str = "auto"
    cores: int = 0
    data_dir: str = ".fastgshare"
    status_interval_ms: int = 500
    worker_silent_ms: int = 15_000
    drain_s: float = 5.0
    log_level: str = "INFO"


class WorkerConfig(msgspec.Struct, frozen=True):
    """Settings of one device worker, given by its manager."""

    nats_url: str
    node: str
    device_id: str
    device: str = "cpu"
    cores: int = 0
    data_dir: str = ".fastgshare"
    window_ms: int = 100
    backlog: int = 4096
    notice_interval_ms: int = 5
    notice_batch: int = 32
    status_interval_ms: int = 500
    drain_quiet_ms: int = 300
    drain_s: float = 10.0
    log_level: str = "INFO"
