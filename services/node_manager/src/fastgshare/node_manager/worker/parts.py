"""What all replicas of one worker share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastgshare.node_manager.config import WorkerConfig
from fastgshare.node_manager.devices.ports import Device
from fastgshare.node_manager.protocol import FromWorker
from fastgshare.node_manager.worker.answers import Answers
from fastgshare.node_manager.worker.changes import Changes
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.traces import SpanTeller
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile
from fastgshare.shared.objects import Objects


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once by the worker's app, handed to every replica."""

    bus: Bus
    objects: Objects
    device: Device
    gate: TokenGate
    answers: Answers
    config: WorkerConfig
    report: Callable[[FromWorker], None]
    on_fault: Callable[[BaseException], None]
    profile_of: Callable[[Digest], Profile | None]
    spans: SpanTeller
    changes: Changes = field(default_factory=Changes)

    @property
    def cache(self) -> Path:
        """Where fetched objects lie."""
        return Path(self.config.data_dir) / "objects"

    @property
    def workdir(self) -> Path:
        """Where user code is unpacked."""
        return Path(self.config.data_dir) / "handlers" / self.config.device_id
