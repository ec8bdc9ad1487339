"""The scheduler's settings, from `FASTGSHARE_<FIELD>`."""

from typing import Annotated

import msgspec

from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.functions import FIXED
from fastgshare.shared.units import US_PER_MS, s_to_us


class SchedulerConfig(msgspec.Struct, frozen=True):
    """Settings of one scheduler.

    A node is silent `node_silent_s` after its last heartbeat, or after three intervals of its own if that is more.
    A function that may have no replica loses its last one `idle_s` after its last request; a smaller number must
    have been enough for `scale_down_s`; `headroom` is kept above the measured rate. Deletions in the buckets are
    forgotten every `sweep_s`. What it steps through is kept under `journal_dir` (empty: nowhere), in at most
    `journal_mib` for all runs of this instance. `policy` is what an empty `autoscale.policy` means. Its metrics are
    found on `metrics_port` of `metrics_host` (0: nowhere).
    """

    nats_url: str = "nats://127.0.0.1:4222"
    instance: str = "scheduler"
    tick_ms: int = 500
    node_silent_s: float = 2.0
    idle_s: float = 60.0
    scale_down_s: float = 30.0
    headroom: float = 0.2
    sweep_s: float = 300.0
    policy: str = FIXED
    log_level: str = "INFO"
    journal_dir: str = ""
    journal_mib: Annotated[int, msgspec.Meta(ge=1)] = 64
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0

    def settings(self) -> Settings:
        """What the core needs of these."""
        return Settings(
            tick_us=self.tick_ms * US_PER_MS,
            silent_us=s_to_us(self.node_silent_s),
            idle_us=s_to_us(self.idle_s),
            scale_down_us=s_to_us(self.scale_down_s),
            headroom=self.headroom,
            policy=self.policy,
        )
