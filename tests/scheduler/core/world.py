"""A small world around the core: a bucket that echoes, nodes that load what is placed on them, and time."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from fastgshare.scheduler.core.commands import (
    AnswerWish,
    Command,
    Decision,
    MoveReplica,
    PlaceReplica,
    RemoveReplica,
    Report,
    ResizeReplica,
)
from fastgshare.scheduler.core.events import (
    Device,
    Event,
    FunctionDefined,
    FunctionRemoved,
    LeadershipWon,
    LoadReported,
    NodeSeen,
    PlacementGone,
    PlacementKnown,
    ReplicaGone,
    ReplicaReported,
    SliceWished,
    Ticked,
)
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared import subjects
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Autoscale,
    FunctionLoad,
    FunctionSpec,
    LoanReply,
    LoanWish,
    ModelRef,
    Placement,
    ReplicaState,
    ReplicaStatus,
    Slice,
)

S = 1_000_000
TICK_US = S // 2


def spec(
    name: str = "f",
    generation: int = 1,
    replicas: int | None = 1,
    autoscale: Autoscale | None = None,
    sm: int = 50,
    quota: float = 0.5,
    memory_mib: int = 100,
    model: str = "",
    slo_ms: float = 1000.0,
    max_batch: int = 8,
) -> FunctionSpec:
    """A function; with `autoscale` its number of replicas is not fixed."""
    return FunctionSpec(
        name=FunctionName(name),
        model=ModelRef(digest=Digest(model or f"model-of-{name}"), size_bytes=1),
        generation=generation,
        replicas=None if autoscale else replicas,
        autoscale=autoscale,
        slice=Slice(sm_partition=sm, quota_request=quota, gpu_mem_mib=memory_mib),
        slo_ms=slo_ms,
        max_batch=max_batch,
    )


@dataclass
class FakeNode:
    """A node with its replicas; while it is down it says nothing and forgets nothing."""

    node: NodeId
    devices: list[Device]
    up: bool = True
    incarnation: str = "i1"
    held: dict[ReplicaId, ReplicaStatus] = field(default_factory=dict)
    revived: dict[ReplicaId, bool] = field(default_factory=dict)
    """What had failed before its restart and is tried again."""

    def seen(self) -> NodeSeen:
        """Its heartbeat."""
        return NodeSeen(self.node, self.incarnation, tuple(self.devices))


@dataclass
class World:
    """Time, nodes and buckets around one scheduler. `journal` keeps every event with its time and decision.

    While it is `late`, what follows from commands happens at once and is heard of afterwards, in order: it waits in
    `echoes` until the next tick, or until `hear`.
    """

    settings: Settings = field(default_factory=Settings)
    now_us: int = 1_000 * S
    nodes: dict[NodeId, FakeNode] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    broken: dict[tuple[str, int], bool] = field(default_factory=dict)
    """(function, generation) whose replicas fail; True: transiently."""
    commands: list[Command] = field(default_factory=list)
    journal: list[tuple[int, Event, Decision]] = field(default_factory=list)
    arrived: dict[FunctionName, int] = field(default_factory=dict)
    owed: dict[str, float] = field(default_factory=dict)
    late: bool = False
    echoes: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.settings)

    # What happens

    def lead(self, epoch: int = 10) -> None:
        """This scheduler wins a term."""
        self.tell(LeadershipWon(epoch))

    def add_node(self, name: str, chunks: int = 4, memory_mib: int = 1000, kind: str = "cpu") -> FakeNode:
        """A node with one device comes up."""
        device = Device(DeviceId(f"{name}-{kind}0"), kind, chunks, memory_mib)
        node = self.nodes[NodeId(name)] = FakeNode(NodeId(name), [device])
        self.tell(node.seen())
        return node

    def define(self, wanted: FunctionSpec) -> None:
        """A function is deployed, or changed."""
        self.tell(FunctionDefined(wanted))

    def delete(self, name: str) -> None:
        """A function is deleted."""
        self.tell(FunctionRemoved(FunctionName(name)))

    def load(self, name: str, arrived: int = 0, **now: int) -> None:
        """A gateway reports: `arrived` more requests since the last, and counts of now."""
        function = FunctionName(name)
        self.arrived[function] = self.arrived.get(function, 0) + arrived
        counts = FunctionLoad(arrived=self.arrived[function], **now)
        self.tell(LoadReported(GatewayId("gateway-0"), "g1", {function: counts}))

    def wish(
        self, loan: str, name: str = "f", kind: str = "cpu", sm: int = 50, asked: bool = False, over: bool = False
    ) -> LoanReply:
        """A profiler wishes for a slice, and is answered."""
        wish = LoanWish(loan=loan, function=name, device_kind=kind, sm_partition=sm, asked=asked, over=over)
        answers = [c for c in self.tell(SliceWished(wish, f"inbox.{loan}")) if isinstance(c, AnswerWish)]
        assert [answer.reply_to for answer in answers] == [f"inbox.{loan}"]
        return answers[0].reply

    def tell(self, event: Event) -> list[Command]:
        """Give the core an event, carry out what it decides, and what follows from that."""
        first = len(self.commands)
        pending = [event]
        while pending:
            current = pending.pop(0)
            decision = self.scheduler.step(self.now_us, current)
            self.journal.append((self.now_us, current, decision))
            for command in decision.commands:
                self.commands.append(command)
                (self.echoes if self.late else pending).extend(self._carry_out(command))
        return self.commands[first:]

    def hear(self, count: int | None = None) -> list[Command]:
        """So many of the echoes that wait come in, all of them if not said; the commands given meanwhile."""
        first = len(self.commands)
        waiting = len(self.echoes) if count is None else min(count, len(self.echoes))
        for _ in range(waiting):
            self.tell(self.echoes.pop(0))
        return self.commands[first:]

    def tick(self, ticks: int = 1, up_to_date: bool = True) -> list[Command]:
        """Half a second passes, `ticks` times: nodes beat and work, the scheduler ticks."""
        first = len(self.commands)
        for _ in range(ticks):
            self.now_us += TICK_US
            self.hear()
            for node in self.nodes.values():
                if node.up:
                    self.tell(node.seen())
            if up_to_date:
                self._work()
            self.tell(Ticked())
        return self.commands[first:]

    def run_for(self, seconds: float) -> list[Command]:
        """So many seconds of ticks; the commands given meanwhile."""
        return self.tick(int(seconds * S / TICK_US))

    def restart_node(self, name: str) -> None:
        """A node is back and takes on what stands in the bucket for it."""
        node = self.nodes[NodeId(name)]
        self.hear()
        node.up = True
        node.incarnation += "+"
        self.tell(node.seen())
        wanted = {p.replica: p for p in self.placements.values() if p.node == node.node}
        for replica in [replica for replica in node.held if replica not in wanted]:
            del node.held[replica]
            self.tell(ReplicaGone(node.node, replica))
        for replica, status in node.held.items():
            node.revived[replica] = status.state is ReplicaState.FAILED and not status.transient
        for placement in wanted.values():
            self.tell(self._report(node, placement, ReplicaState.LOADING))

    def serve(self, name: str, seconds: float, rps: float, **now: int) -> list[Command]:
        """Requests arrive evenly at this rate for so long; the commands given meanwhile."""
        first = len(self.commands)
        for _ in range(round(seconds * S / TICK_US)):
            owed = self.owed.get(name, 0.0) + rps * TICK_US / S
            self.owed[name] = owed % 1
            self.load(name, arrived=int(owed), **now)
            self.tick()
        return self.commands[first:]

    # What stands

    def devices_for(self, name: str) -> float:
        """The share of devices that a function is promised."""
        chunks = {node.node: node.devices[0].chunks for node in self.nodes.values()}
        return sum(len(p.chunks) / chunks[p.node] * p.function.slice.quota_request for p in self.of(name))

    def of(self, name: str, generation: int | None = None) -> list[Placement]:
        """The placements of a function, all or of one generation; those on loan are none of them."""
        return [
            p
            for p in self.placements.values()
            if p.function.name == name and generation in (None, p.function.generation) and not p.loan
        ]

    def lent(self) -> list[Placement]:
        """The placements on loan."""
        return [placement for placement in self.placements.values() if placement.loan]

    def ready(self, name: str, generation: int | None = None) -> int:
        """How many replicas of a function can answer now."""
        return sum(
            self.nodes[p.node].up
            and p.replica in self.nodes[p.node].held
            and self.nodes[p.node].held[p.replica].state is ReplicaState.READY
            for p in self.of(name, generation)
        )

    def reports(self, kind: str) -> list[Report]:
        """What people were told."""
        return [c for c in self.commands if isinstance(c, Report) and c.kind == kind]

    # How the world follows

    def _carry_out(self, command: Command) -> list[Event]:
        if isinstance(command, PlaceReplica):
            placement = command.placement
            key = subjects.fleet_key(placement.node, placement.replica)
            assert key not in self.placements, "a replica id was given twice"
            self.placements[key] = placement
            node = self.nodes[placement.node]
            loading = [self._report(node, placement, ReplicaState.LOADING)] if node.up else []
            return [PlacementKnown(placement), *loading]
        if isinstance(command, ResizeReplica | MoveReplica):
            key = subjects.fleet_key(command.placement.node, command.placement.replica)
            assert key in self.placements, "nothing stands there that could change"
            self.placements[key] = command.placement
            return [PlacementKnown(command.placement)]
        if isinstance(command, RemoveReplica):
            self.placements.pop(subjects.fleet_key(command.node, command.replica))
            held = self.nodes[command.node]
            gone: list[Event] = [PlacementGone(command.node, command.replica)]
            if held.up and held.held.pop(command.replica, None) is not None:
                gone.append(ReplicaGone(command.node, command.replica))
            return gone
        return []

    def _work(self) -> None:
        """Every running node gets on with loading."""
        for node in [node for node in self.nodes.values() if node.up]:
            for placement in [p for p in self.placements.values() if p.node == node.node]:
                status = node.held.get(placement.replica)
                if status is not None and status.state is ReplicaState.LOADING:
                    outcome = self._outcome(node, placement)
                    if self.late:
                        self.echoes.append(outcome)
                    else:
                        self.tell(outcome)

    def _outcome(self, node: FakeNode, placement: Placement) -> Event:
        function = placement.function
        transient = self.broken.get((function.name, function.generation))
        if transient is None:
            return self._report(node, placement, ReplicaState.READY)
        report = self._report(node, placement, ReplicaState.FAILED)
        failed = replace(report.status, reason="it is broken", transient=transient)
        node.held[placement.replica] = failed
        return ReplicaReported(failed)

    def _report(self, node: FakeNode, placement: Placement, state: ReplicaState) -> ReplicaReported:
        status = ReplicaStatus(
            replica=placement.replica,
            function=placement.function.name,
            generation=placement.function.generation,
            node=node.node,
            device=placement.device,
            host=HostId("host"),
            incarnation=node.incarnation,
            state=state,
            device_kind=node.devices[0].kind,
            model_digest=placement.function.model.digest,
            chunks=placement.chunks,
            epoch=placement.epoch,
            loan=placement.loan,
        )
        node.held[placement.replica] = status
        return ReplicaReported(status)
