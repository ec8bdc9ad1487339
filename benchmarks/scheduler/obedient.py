"""A fleet around one scheduler whose nodes do at once what they are told; time passes in ticks. Pure.

A node that is `silent` carries out placements and says nothing of them: what a node did not report is not moved.
"""

from dataclasses import dataclass, field

from fastgshare.scheduler.core.commands import Command, MoveReplica, PlaceReplica, RemoveReplica, ResizeReplica
from fastgshare.scheduler.core.events import (
    Device,
    Event,
    FunctionDefined,
    LeadershipWon,
    NodeSeen,
    PlacementGone,
    PlacementKnown,
    ReplicaGone,
    ReplicaReported,
    Ticked,
)
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, ModelRef, Placement, ReplicaState, ReplicaStatus, Slice
from fastgshare.shared.units import US_PER_S

TICK_US = US_PER_S // 2
INCARNATION = "i1"


@dataclass(slots=True)
class Fleet:
    """`devices` nodes with a device each, of `chunks` and `memory_mib`. `commands`: everything decided so far."""

    devices: int
    chunks: int
    memory_mib: int
    settings: Settings = field(default_factory=Settings)
    silent: bool = False
    now_us: int = 1_000 * US_PER_S
    placements: dict[ReplicaId, Placement] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    _core: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self._core = Scheduler(self.settings)
        self._beat()
        self._tell(LeadershipWon(1))

    def define(self, name: str, percent: int, quota: float, memory_mib: int) -> None:
        """A function of one replica with this slice is deployed."""
        held = Slice(sm_partition=percent, quota_request=quota, gpu_mem_mib=memory_mib)
        model = ModelRef(digest=Digest(f"model of {name}"), size_bytes=1)
        self._tell(FunctionDefined(FunctionSpec(name=FunctionName(name), model=model, replicas=1, slice=held)))

    def tick(self) -> list[Command]:
        """Half a second passes; what was decided meanwhile."""
        first = len(self.commands)
        self.now_us += TICK_US
        self._beat()
        self._tell(Ticked())
        return self.commands[first:]

    @property
    def used(self) -> int:
        """Devices on which anything is placed."""
        return len({placement.device for placement in self.placements.values()})

    def _beat(self) -> None:
        for number in range(self.devices):
            node = NodeId(f"n{number:03d}")
            device = Device(DeviceId(f"{node}-gpu0"), "sim", self.chunks, self.memory_mib)
            self._tell(NodeSeen(node, INCARNATION, (device,)))

    def _tell(self, event: Event) -> None:
        due = [event]
        while due:
            decision = self._core.step(self.now_us, due.pop(0))
            self.commands += decision.commands
            for command in decision.commands:
                due += self._carry_out(command)

    def _carry_out(self, command: Command) -> list[Event]:
        if isinstance(command, PlaceReplica | ResizeReplica | MoveReplica):
            self.placements[command.placement.replica] = command.placement
            known = PlacementKnown(command.placement)
            return [known] if self.silent else [known, ReplicaReported(_ready(command.placement))]
        if isinstance(command, RemoveReplica):
            del self.placements[command.replica]
            return [PlacementGone(command.node, command.replica), ReplicaGone(command.node, command.replica)]
        return []


def _ready(placement: Placement) -> ReplicaStatus:
    return ReplicaStatus(
        replica=placement.replica,
        function=placement.function.name,
        generation=placement.function.generation,
        node=placement.node,
        device=placement.device,
        host=HostId("host"),
        incarnation=INCARNATION,
        state=ReplicaState.READY,
        device_kind="sim",
        model_digest=placement.function.model.digest,
        chunks=placement.chunks,
        epoch=placement.epoch,
    )
