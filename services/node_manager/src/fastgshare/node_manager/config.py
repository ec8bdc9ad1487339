"""The node manager's settings, from `FASTGSHARE_<FIELD>`; its workers get theirs the same way."""

import msgspec

from fastgshare.shared.config import variable_for
from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.ids import is_name

MIN_WINDOW_MS = 10
MAX_WINDOW_MS = 10_000


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may choose about devices, whatever their kind.

    `cores` 0 means all this process may use; `data_dir` caches models and user code. `sim_gpu` is the GPU that the
    `sim` device emulates, `sim_tables` a directory of measured profiles for it. `mps_compute` is `cuda`, or `cpu` for
    machines without a GPU; `mps_chunks` 0 means as many as the device would have; `mps_context_mib` is what a process
    takes of a GPU before it has a model, until that was measured.
    """

    cores: int = 0
    data_dir: str = ".fastgshare"
    sim_gpu: str = "v100"
    sim_tables: str = ""
    mps_compute: str = "cuda"
    mps_chunks: int = 0
    mps_context_mib: int = 500


class NodeConfig(DeviceSettings, frozen=True, kw_only=True):
    """Settings of one node. Quotas of time are accounted over `window_ms`.

    What was used of its devices is written down every `usage_interval_s`. Its metrics are found on `metrics_port` of
    `metrics_host` (0: nowhere).
    """

    nats_url: str = "nats://127.0.0.1:4222"
    node: str = "node-0"
    device: str = "auto"
    window_ms: int = 100
    status_interval_ms: int = 500
    worker_silent_ms: int = 15_000
    drain_s: float = 5.0
    log_level: str = "INFO"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    usage_interval_s: float = 10.0


class WorkerConfig(DeviceSettings, frozen=True, kw_only=True):
    """Settings of one device worker, given by its manager: which of the host's devices it opens, and how it serves.

    A replica that holds a token for `hung_s`, and twenty times as long as expected, ends the worker: nothing else frees
    its chunks for the others.
    """

    nats_url: str
    device_id: str
    device: str = "cpu"
    device_index: int = 0
    window_ms: int = 100
    backlog: int = 4096
    notice_interval_ms: int = 5
    notice_batch: int = 32
    status_interval_ms: int = 500
    drain_quiet_ms: int = 300
    hung_s: int = 60
    drain_s: float = 10.0
    log_level: str = "INFO"


def check_window(window_ms: int) -> None:
    """Hold the window to what quotas can be kept over. Raises InvalidConfig."""
    if not MIN_WINDOW_MS <= window_ms <= MAX_WINDOW_MS:
        expected = f"{MIN_WINDOW_MS} to {MAX_WINDOW_MS} milliseconds"
        raise InvalidConfig(setting=variable_for("window_ms"), value=window_ms, expected=expected)


def check_name(setting: str, value: str) -> None:
    """Hold the value of a field that becomes part of subjects and keys to what they allow. Raises InvalidConfig."""
    if not is_name(value):
        expected = "1 to 63 of a-z, 0-9, - and _, the first a letter or digit"
        raise InvalidConfig(setting=variable_for(setting), value=value, expected=expected)
