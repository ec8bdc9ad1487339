"""The profiler's settings, from `FASTGSHARE_<FIELD>`."""

import msgspec

from fastgshare.shared.messages.profile import BudgetMs, Share


class ProfilerConfig(msgspec.Struct, frozen=True):
    """Settings of one profiler.

    A point is measured for `budget_ms` of the device's time in a closed loop (longer by the clock where a quota holds
    it back), to a `precision` of its throughput (half a 95 % confidence interval, relative), and for at least
    `open_ms` with requests that arrive by chance, longer where few would come by then; batches that take longer than
    `slowest_ms` are not measured. A request fails when it had no slice for `ready_wait_s`; what nobody asked for wishes
    for one for `patience_s` at a time. Its metrics are found on `metrics_port` of `metrics_host` (0: nowhere).
    """

    nats_url: str = "nats://127.0.0.1:4222"
    instance: str = "profiler"
    budget_ms: BudgetMs = 600
    open_ms: BudgetMs = 800
    slowest_ms: BudgetMs = 10_000
    precision: Share = 0.03
    ready_wait_s: float = 60.0
    patience_s: float = 5.0
    tick_ms: int = 200
    log_level: str = "INFO"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
