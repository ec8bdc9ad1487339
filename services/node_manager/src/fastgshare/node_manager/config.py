"""The node manager's settings, from `FASTGSHARE_<FIELD>`; its workers get theirs the same way."""

import msgspec

from fastgshare.shared.config import variable_for
from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.ids import is_name


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
    device_id: str
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


def check_name(setting: str, value: str) -> None:
    """Hold the value of a field that becomes part of subjects and keys to what they allow. Raises InvalidConfig."""
    if not is_name(value):
        expected = "1 to 63 of a-z, 0-9, - and _, the first a letter or digit"
        raise InvalidConfig(setting=variable_for(setting), value=value, expected=expected)
