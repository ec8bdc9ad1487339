"""The profiler's settings, from `FASTGSHARE_<FIELD>`."""

import msgspec


class ProfilerConfig(msgspec.Struct, frozen=True):
    """Settings of one profiler.

    `budget_ms` is how long one point is measured, `ready_wait_s` how long a request waits for a ready replica.
    """

    nats_url: str = "nats://127.0.0.1:4222"
    instance: str = "profiler"
    budget_ms: int = 1_000
    ready_wait_s: float = 60.0
    tick_ms: int = 200
    log_level: str = "INFO"
